// Loads under faults: what arrives, what is told, and that nothing goes behind what was given up.

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as turn } from 'node:timers/promises'

import test from './helpers/test.ts'

import type { BulkPipeline } from '../index.js'
import { killOthers, loadsOfKinds, resumesAfterKills } from './helpers/kills.ts'
import { COLUMNS, areDone, clientOf, columns, proxyFor, serverFor, settled } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { type Row, inOrder, push, rows, slowRows } from './helpers/rows.ts'
import { runScript } from './helpers/rss.ts'
import { startScripted } from './helpers/scripted.ts'

for (const column of columns) {
  test(`fault 9, ${column}: CLIENT KILL in mid-load, again and again`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    const command = column === 'checkpoint' ? 'RPUSH' : 'SET'
    const kills = [1, 1_000, 3_001, 7_000, 9_999].map((nth) => proxy.at({ command, nth }, () => killOthers(client)))
    const loads = [bulk.load(slowRows(10_000), column === 'checkpoint' ? push('list') : ('SET {key} {at}' as never))]
    if (column !== 'checkpoint') {
      const stream = bulk.writable<Row>('SET {key} {at}')
      loads.push(pipeline(Readable.from(rows(10_000)), stream).then(() => stream.summary!))
    }
    for (const load of loads) areDone(t, column, await resolution(t, load))
    t.true(kills.every(({ hasHappened }) => hasHappened))
    t.true(bulk.stats().reconnects > 0)
    if (column === 'checkpoint') t.true(inOrder(await client.lrange('list', 0, -1)))
    if (column !== 'off') t.is(await client.exists(column === 'checkpoint' ? 'list' : 'row:9999'), 1)
    if (column === 'check' || column === 'collect') t.is(await client.dbsize(), 10_000)
  })
}

test('fault 9: a server that restarts in mid-load', async (t) => {
  const server = await serverFor(t, '--appendonly', 'yes', '--appendfsync', 'always')
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port })
  const restarted = proxy.at({ command: 'SET', nth: 5_000 }, async () => {
    await server.kill('SIGKILL')
    await server.restart()
  })
  areDone(t, 'check', await resolution(t, bulk.load(slowRows(20_000), 'SET {key} {at}')))
  t.true(restarted.hasHappened)
  t.is(await clientOf(t, server).dbsize(), 20_000)
})

test('fault 11: a server that stops for a while, in mid-load', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 200_000 })
  let taken = 0
  function* counted(): Generator<Row> {
    for (const row of rows(50_000)) {
      taken++
      yield row
    }
  }
  const stopped = proxy.at({ command: 'RPUSH', nth: 5_000 }, () => server.kill('SIGSTOP'))
  const loading = bulk.load(counted(), push('list'))
  await stopped.happened
  // Back-pressure: the source waits, too. A load that did not would have taken all of it in these turns.
  for (let turns = 0; turns < 5_000; turns++) await turn()
  t.true(taken < 20_000, `${taken} rows`)
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
  proxy.at({ bytes: 500_000 }, (link) => {
    proxy.blockNew()
    link.cut('reset')
  })
  const { outcome } = await rejection(t, bulk.load(endless(), push('list')), 'RESPIPE_CONNECT')
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
  // All that the sources have is written by then.
  proxy.at({ command: 'SET', nth: 20 }, (link) => {
    proxy.blockNew()
    link.cut('reset')
  })
  const sources = [waiting(), waiting()]
  const stream = bulk.writable('SET {key} 1')
  const loads = [bulk.load(sources[0]!, 'SET {key} 1'), pipeline(sources[1]!, stream)]
  for (const { outcome } of await Promise.all(loads.map((load) => rejection(t, load, 'RESPIPE_CONNECT')))) {
    t.is(outcome.succeeded, 0)
  }
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
  const bulk = bulkFor(t, { port: proxy.port, stallTimeoutMs: 500, retry: { attempts: 1 } })
  const stalled = proxy.at({ command: 'RPUSH', nth: 5_000 }, () => {
    proxy.stall()
    proxy.blockNew()
  })
  const { outcome } = await rejection(t, bulk.load(slowRows(1e9), push('list')), 'RESPIPE_CONNECT')
  t.true(stalled.hasHappened)
  proxy.resume()
  // The server has read what was still on its way.
  await until(() => proxy.open === 0)
  const list = await clientOf(t, server).lrange('list', 0, -1)
  // On a machine that stands for half a second there may be gaps, of what is unknown.
  t.true(list.every((text, at) => at === 0 || Number(list[at - 1]) < Number(text)))
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
    import { inspect } from 'node:util'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: 1, retry: { firstConnect: 0 } })
    const loading = bulk.load([1], () => bulk.set('a', 1))
    while (inspect(loading).includes('pending')) await new Promise(setImmediate)
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
  const proxy = await proxyFor(t, server)
  // Little is in doubt at a time: some 300 commands.
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 10_000 })
  const kills = [1, 500, 3_000, 6_000, 9_000].map((nth) => proxy.at({ command: 'SET', nth }, () => killOthers(client)))
  const told: [number, number | undefined][] = []
  const loads = [
    bulk.load(slowRows(5_000, 100), 'SET {key} {at}'),
    bulk.load(slowRows(5_000, 100), broken, { onFailure: ({ index, row }) => told.push([index, row]) }),
  ]
  const work = { isOver: false }
  const ended = Promise.all(loads).finally(() => (work.isOver = true))
  let own = 0
  while (!work.isOver) {
    const { commands, succeeded } = await bulk.set(`own:${own++}`, 1).exec()
    t.deepEqual([commands, succeeded], [1, 1])
  }
  const [whole, partly] = await ended
  t.true(kills.every(({ hasHappened }) => hasHappened))
  t.like(whole, { commands: 5_000, succeeded: 5_000 })
  // What was sent again and refused then may have been done before.
  t.like(partly, { commands: 5_000, succeeded: 4_500, failed: told.length, errors: { WRONGTYPE: told.length } })
  // One command a row, so that its place is that of its row.
  t.true(told.length > 100 && told.every(([index, row]) => index === row && index % 10 === 0))
  t.is(new Set(told.map(([index]) => index)).size, told.length)
  t.is(await client.dbsize(), 5_000 + 4_500 + own + 1)
})

// Processes

test('fault 24: killed at random, and resumed: every row exactly once', (t) =>
  resumesAfterKills(t, { rounds: 4, count: 20_000, seed: 24 }))

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

// Whatever the source

test('rows of each kind of source are accounted for, and those that fail', async (t) => {
  const server = await serverFor(t)
  const { stdout, stderr } = await runScript({ source: loadsOfKinds(2_000, 1) }, { args: [String(server.port)] })
  t.is(stderr, '')
  const [all, none] = [
    { succeeded: 2_000, failed: 0 },
    { succeeded: 0, failed: 2_000 },
  ]
  t.like(JSON.parse(stdout), { sync: all, async: all, written: all, broken: none, refused: none })
})
