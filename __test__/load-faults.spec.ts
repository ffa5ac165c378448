// Loads under faults: what arrives, what is told, and that nothing goes behind what was given up.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import test from './helpers/test.ts'

import type { BulkPipeline } from '../index.js'
import { COLUMNS, areDone, clientOf, columns, proxyFor, serverFor, settled } from './helpers/loads.ts'
import { bulkFor, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { startScripted } from './helpers/scripted.ts'

interface Row {
  at: number
  key: string
}

function* rows(count: number): Generator<Row> {
  for (let at = 0; at < count; at++) yield { at, key: `row:${at}` }
}

/** Rows that a source brings in pieces, so that the load has time to be hit. */
async function* slowRows(count: number, each = 2_000): AsyncGenerator<Row> {
  for (const row of rows(count)) {
    if (row.at % each === 0) await delay(1)
    yield row
  }
}

const push = (key: string) => (row: Row, bulk: BulkPipeline) => void bulk.rpush(key, row.at)

function inOrder(list: string[]): boolean {
  return list.every((text, at) => text === String(at))
}

for (const column of columns) {
  test(`fault 9, ${column}: CLIENT KILL in mid-load, again and again`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    const killer = setInterval(() => void client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'), 5)
    t.teardown(() => clearInterval(killer))
    const loads = [bulk.load(slowRows(40_000), column === 'checkpoint' ? push('list') : ('SET {key} {at}' as never))]
    if (column !== 'checkpoint') {
      const stream = bulk.writable<Row>('SET {key} {at}')
      loads.push(pipeline(Readable.from(rows(40_000)), stream).then(() => stream.summary!))
    }
    for (const load of loads) areDone(t, column, await resolution(t, load))
    clearInterval(killer)
    t.true(bulk.stats().reconnects > 0)
    if (column === 'checkpoint') t.true(inOrder(await client.lrange('list', 0, -1)))
    if (column !== 'off') t.is(await client.exists(column === 'checkpoint' ? 'list' : 'row:39999'), 1)
    if (column === 'check' || column === 'collect') t.is(await client.dbsize(), 40_000)
  })
}

test('fault 9: a server that restarts in mid-load', async (t) => {
  const server = await serverFor(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const bulk = bulkFor(t, { port: server.port })
  const loading = bulk.load(slowRows(100_000), 'SET {key} {at}')
  await until(() => settled(bulk) > 20_000)
  await server.kill('SIGKILL')
  await server.restart()
  areDone(t, 'check', await resolution(t, loading))
  t.is(await clientOf(t, server).dbsize(), 100_000)
})

test('fault 11: a server that stops for a while, in mid-load', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, { port: server.port, maxBufferedBytes: 1_000_000 })
  let taken = 0
  function* counted(): Generator<Row> {
    for (const row of rows(100_000)) {
      taken++
      yield row
    }
  }
  const loading = bulk.load(counted(), push('list'))
  await until(() => settled(bulk) > 20_000)
  await server.kill('SIGSTOP')
  // Back-pressure: the source waits, too.
  await until(async () => {
    const before = taken
    await delay(200)
    return taken === before
  })
  t.true(taken < 50_000, `${taken} rows`)
  await server.kill('SIGCONT')
  areDone(t, 'check', await resolution(t, loading))
  t.true(inOrder(await clientOf(t, server).lrange('list', 0, -1)))
})

// Given up

const hopeless = { retry: { attempts: 2, minDelayMs: 1, maxDelayMs: 5 } }

test('retry used up: the load rejects, its source is closed, and nothing went behind what was lost', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, ...hopeless })
  let closed = 0
  function* endless(): Generator<Row> {
    try {
      yield* rows(1e9)
    } finally {
      closed++
    }
  }
  proxy.resetAfter(500_000)
  const loading = bulk.load(endless(), push('list'))
  loading.catch(() => {})
  await until(() => proxy.bytes.up >= 500_000)
  proxy.blockNew()
  const { outcome } = await rejection(t, loading, 'RESPIPE_CONNECT')
  t.is(closed, 1)
  await proxy.allowNew()
  // What was appended and not executed is forgotten: it would come behind a gap.
  t.like(await bulk.sync(), { commands: outcome.commands })
  const list = await client.lrange('list', 0, -1)
  t.true(inOrder(list))
  t.true(outcome.succeeded <= list.length && list.length <= outcome.succeeded + outcome.unknown)
  t.like(await bulk.set('after', 1).exec(), { succeeded: 1 })
})

function waiting(): Readable {
  const source = new Readable({ objectMode: true, read() {} })
  for (const row of rows(10)) source.push(row)
  return source
}

test('retry used up while the source has nothing: the load rejects all the same', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, ...hopeless })
  await bulk.set('before', 1).exec()
  proxy.swallowReplies()
  const sources = [waiting(), waiting()]
  const stream = bulk.writable('SET {key} 1')
  const loads = [bulk.load(sources[0]!, 'SET {key} 1'), pipeline(sources[1]!, stream)]
  const rejections = loads.map((load) => rejection(t, load, 'RESPIPE_CONNECT'))
  await until(() => bulk.stats().inFlightBytes > 0)
  await delay(150)
  proxy.blockNew()
  proxy.resetAll()
  for (const { outcome } of await Promise.all(rejections)) t.is(outcome.succeeded, 0)
  t.true(sources.every(({ destroyed }) => destroyed))
})

test('no server at all: an endless load rejects', async (t) => {
  const bulk = bulkFor(t, { port: 1, retry: { firstConnect: 1 } })
  const { outcome } = await rejection(t, bulk.load(rows(1e9), 'SET {key} 1'), 'RESPIPE_CONNECT')
  t.is(outcome.failed, outcome.commands)
})

test('fault 33: a connection that stalls for good', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const options = { stallTimeoutMs: 500, connectTimeoutMs: 2_000, retry: { attempts: 1 } }
  const bulk = bulkFor(t, { port: proxy.port, ...options })
  const loading = bulk.load(slowRows(1e9), push('list'))
  await until(() => settled(bulk) > 5_000)
  proxy.stall()
  const { outcome } = await rejection(t, loading, /^RESPIPE_(STALLED|CONNECT)$/)
  proxy.resume()
  await delay(50)
  const list = await clientOf(t, server).lrange('list', 0, -1)
  t.true(inOrder(list))
  t.true(outcome.succeeded <= list.length && list.length <= outcome.succeeded + outcome.unknown)
})

test('fault 32: the pipeline is ended in mid-load', async (t) => {
  const server = await serverFor(t)
  for (const [code, end] of [
    ['RESPIPE_CLOSED', 'destroy'],
    ['RESPIPE_CLOSED', 'close'],
    ['RESPIPE_ABORTED', 'abort'],
  ] as const) {
    const abort = new AbortController()
    const bulk = bulkFor(t, { port: server.port, signal: abort.signal })
    const source = Readable.from(slowRows(1e9))
    const stream = bulk.writable('SET {key} 1')
    const loads = [bulk.load(slowRows(1e9), 'SET {key} 1'), pipeline(source, stream)]
    const rejections = loads.map((load) => rejection(t, load, code))
    await until(() => settled(bulk) > 10_000)
    if (end === 'abort') abort.abort()
    else void bulk[end]()
    const outcomes = (await Promise.all(rejections)).map(({ outcome }) => outcome)
    t.is(outcomes[0]!.commands + outcomes[1]!.commands, bulk.stats().commands)
    // What was executed before a close is waited for.
    if (end === 'close') t.true(outcomes.every(({ commands, succeeded }) => commands === succeeded))
    t.true(source.destroyed)
  }
})

test('rejections that nobody handles come back once, and do not end the process', async (t) => {
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: 1, retry: { firstConnect: 0 } })
    bulk.load([1], () => bulk.set('a', 1))
    await new Promise((resolve) => setTimeout(resolve, 100))
    const codes = []
    for (let round = 0; round < 2; round++) await bulk.exec().catch(({ code }) => codes.push(code))
    console.log(codes.join())
  `
  const { stdout, stderr, code } = await runScript({ source })
  t.deepEqual([stdout, stderr, code], ['RESPIPE_CONNECT\n', '', 0])
})

// Several at once

/** Each tenth row is refused. */
function broken({ at }: Row, bulk: BulkPipeline): void {
  if (at % 10 === 0) bulk.hset('string', 'field', at)
  else bulk.set(`broken:${at}`, at)
}

test('loads and batches between them, over connections that are lost: each has its own account', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.set('string', 'x')
  const bulk = bulkFor(t, { port: server.port })
  const told: [number, number | undefined][] = []
  const loads = [
    bulk.load(slowRows(20_000, 500), 'SET {key} {at}'),
    bulk.load(slowRows(20_000, 500), broken, { onFailure: ({ index, row }) => told.push([index, row]) }),
  ]
  const work = { isOver: false }
  const ended = Promise.all(loads).finally(() => (work.isOver = true))
  let own = 0
  while (!work.isOver) {
    const { commands, succeeded } = await bulk.set(`own:${own++}`, 1).exec()
    t.deepEqual([commands, succeeded], [1, 1])
    if (own % 3 === 0) await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  }
  const [whole, partly] = await ended
  t.like(whole, { commands: 20_000, succeeded: 20_000 })
  // What was sent again and refused then may have been done before.
  t.like(partly, { commands: 20_000, succeeded: 18_000, failed: told.length, errors: { WRONGTYPE: told.length } })
  // One command a row, so that its place is that of its row.
  t.true(told.length > 0 && told.every(([index, row]) => index === row && index % 10 === 0))
  t.is(new Set(told.map(([index]) => index)).size, told.length)
  t.is(await client.dbsize(), 20_000 + 18_000 + own + 1)
})

// Processes

test('fault 24: killed ten times at random, and resumed: every row exactly once', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const count = 40_000
  const script = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]), checkpoint: 'progress' })
    async function* rows() {
      for (let at = 0; at < ${count}; at++) {
        if (at % 100 === 0) await new Promise(setImmediate)
        yield { at }
      }
    }
    process.stdout.write('.')
    console.log((await bulk.load(rows(), 'RPUSH list {at}', { resume: true })).commands)
    await bulk.close()
  `
  const random = randomNumbers(24)
  const start = () =>
    spawn(process.execPath, ['--input-type=module', '--eval', script, '--', String(server.port)], {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  for (let round = 0; round < 10; round++) {
    const child = start()
    const ended = once(child, 'exit')
    const before = await client.llen('list')
    await once(child.stdout, 'data')
    const at = before + random(count / 10)
    // Not all of them in the middle of a load that has begun.
    const patience = Date.now() + 50 + random(200)
    while ((await client.llen('list')) <= at && Date.now() < patience) await delay(0)
    child.kill('SIGKILL')
    await ended
    t.true(inOrder(await client.lrange('list', 0, -1)), `round ${round}`)
  }
  const last = start()
  t.deepEqual(await once(last, 'exit'), [0, null])
  const list = await client.lrange('list', 0, -1)
  t.is(list.length, count)
  t.true(inOrder(list))
})

test('workers and processes that end in mid-load', async (t) => {
  const server = await serverFor(t)
  const worker = `
    const { parentPort, workerData } = require('node:worker_threads')
    const { bulkPipeline } = require('./index.js')
    const bulk = bulkPipeline({ port: workerData.port })
    function* rows() { for (let at = 0; ; at++) yield { at } }
    const stream = bulk.writable('SET worker:b {at}')
    stream.write({ at: 1 })
    let told = false
    const onProgress = ({ succeeded }) => {
      if (succeeded === 0 || told) return
      told = true
      parentPort.postMessage('loading')
      if (workerData.exits) setTimeout(() => process.exit(0), 5)
    }
    bulk.load(rows(), 'SET worker:a {at}', { onProgress, progressIntervalMs: 1 })
  `
  const source = `
    import { once } from 'node:events'
    import { Worker } from 'node:worker_threads'
    const [port, worker] = process.argv.slice(1)
    const workers = Array.from({ length: 6 }, (_, at) =>
      new Worker(worker, { eval: true, execArgv: [], workerData: { port: Number(port), exits: at % 2 === 0 } }))
    await Promise.all(workers.map(async (worker, at) => {
      const exit = once(worker, 'exit')
      await once(worker, 'message')
      if (at % 2) await worker.terminate()
      await exit
    }))
    // Here as well: the process ends with a load under way.
    const { bulkPipeline } = await import('./index.js')
    const bulk = bulkPipeline({ port: Number(port) })
    async function* rows() { for (let at = 0; ; at++) yield { at } }
    const onProgress = ({ succeeded }) => succeeded > 1_000 && process.exit(7)
    await bulk.load(rows(), 'SET main {at}', { onProgress, progressIntervalMs: 1 })
  `
  const { stderr, code, signal } = await runScript({ source }, { args: [String(server.port), worker] })
  t.deepEqual([stderr, code, signal], ['', 7, null])
})

test('a source that holds nothing does not keep the process alive, and what is executed does', async (t) => {
  const scripted = await startScripted()
  t.teardown(() => scripted.stop())
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]) })
    async function* rows() { yield { a: 1 }; await new Promise(() => {}) }
    bulk.load(rows(), 'SET {a} 1', { onProgress() {} })
    bulk.writable('SET {a} 1').end({ a: 2 })
  `
  const { code, stderr } = await runScript({ source }, { args: [String(scripted.port)] })
  t.deepEqual([code, stderr], [0, ''])
  t.true(scripted.commands.some(([name, key]) => name === 'SET' && key === '2'))
})

// Memory

test('memory is flat, whatever the source, and however many rows fail', async (t) => {
  const server = await serverFor(t)
  const source = `
    import { Readable } from 'node:stream'
    import { pipeline } from 'node:stream/promises'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]) })
    function* rows(count) { for (let at = 0; at < count; at++) yield { at, key: 'key:' + (at % 100), value: 'value ' + at } }
    async function* later(count) { yield* rows(count) }
    const kinds = {
      sync: (count) => bulk.load(rows(count), 'SET {key} {value}'),
      async: (count) => bulk.load(later(count), (row) => void bulk.set(row.key, row.value)),
      writable: (count) => pipeline(Readable.from(rows(count)), bulk.writable('SET {key} {value}')),
      none: (count) => bulk.load(rows(count / 10), 'SET {none} {value}', { onFailure() {} }),
      refused: (count) => bulk.load(rows(count / 10), (row) => void bulk.lpush(row.key, row.value), { onFailure() {} }),
    }
    const told = {}
    for (const [name, load] of Object.entries(kinds)) {
      await load(200_000)
      const before = process.memoryUsage().rss
      await load(600_000)
      told[name] = Math.round((process.memoryUsage().rss - before) / 2 ** 20)
    }
    console.log(JSON.stringify(told))
    await bulk.close()
  `
  const { stdout, stderr } = await runScript({ source }, { args: [String(server.port)] })
  t.is(stderr, '')
  // MiB. In bytes the rows of one such load are 26 MiB on the wire, and several times that as objects.
  for (const [name, grown] of Object.entries<number>(JSON.parse(stdout))) t.true(grown < 24, `${name}: ${grown} MiB`)
})
