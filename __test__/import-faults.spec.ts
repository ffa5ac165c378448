// importFile() against servers, files and ends of processes that are not kind to it.

import { readFileSync, readdirSync } from 'node:fs'
import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

import test from './helpers/test.ts'

import type { LoadProgress } from '../index.js'
import { spawnKept } from './helpers/children.ts'
import { fifoFor, fileFor, wordsOf } from './helpers/files.ts'
import { endOfImport, endedWorkers } from './helpers/imports.ts'
import { clientOf, proxyFor, serverFor, watchedFor } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { csvOf, inOrder } from './helpers/rows.ts'

/** Where there is /proc. */
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

/** Files that this process has open. */
function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}

/** Threads of this process that read files. */
function readers(): number {
  const names = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'latin1')
    } catch {
      // It has ended meanwhile.
      return ''
    }
  })
  return names.filter((name) => name.startsWith('respipe-import')).length
}

test.serial('a server that stops in mid-import is waited for', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 1 << 20 })
  const stopped = proxy.at({ command: 'SET', nth: 5_000 }, () => server.kill('SIGSTOP'))
  const importing = bulk.importFile(fileFor(t, 'a.csv', csvOf(100_000)), 'SET stopped:{id} {name}')
  await stopped.happened
  // Meanwhile the event loop has its turns, and the file is read no further than the buffer allows.
  for (let turns = 0; turns < 1_000; turns++) await turn()
  t.true(bulk.stats().commands < 50_000)
  await server.kill('SIGCONT')
  t.like(await resolution(t, importing), { commands: 100_000, succeeded: 100_000, resent: 0 })
  t.is(await client.dbsize(), 100_000)
})

for (const [title, template, exact] of [
  ['what may be repeated arrives', 'HSET killed:{id} name {name}', true],
  ['what may not is unknown at worst', 'INCR killed:{id}', false],
] as const) {
  test.serial(`a server that is killed and started again in mid-import: ${title}`, async (t) => {
    // What it was told is there again.
    const { server, client } = await watchedFor(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 1 << 20 })
    const restarted = proxy.at({ replyTo: template.split(' ')[0]!, nth: 2_000 }, async () => {
      await server.kill('SIGKILL')
      await server.restart()
    })
    const importing = bulk.importFile(fileFor(t, 'a.csv', csvOf(50_000)), template)
    const { succeeded, unknown, failed, reconnects } = await resolution(t, importing)
    t.true(restarted.hasHappened)
    t.is(failed, 0)
    t.is(succeeded + unknown, 50_000)
    t.true(reconnects >= 1)
    if (exact) t.is(unknown, 0)
    const present = await client.dbsize()
    t.true(succeeded <= present && present <= succeeded + unknown, `${succeeded} of ${present}, ${unknown} unknown`)
    if (!exact) t.is(await client.get('killed:0'), '1')
  })
}

test.serial('connections that are cut again and again lose nothing', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 1 << 20 })
  // More than a piece of what the proxy reads apart, so that each cut has its connection.
  const cuts = [1_000, 150_001, 350_003, 650_000, 900_000].map((bytes) => proxy.resetAfter(bytes))
  const importing = bulk.importFile(fileFor(t, 'a.csv', csvOf(20_000)), ['SET cut:{id} {name}', 'SADD cut {id}'])
  const summary = await resolution(t, importing)
  t.true(cuts.every(({ hasHappened }) => hasHappened))
  t.like(summary, { commands: 40_000, succeeded: 40_000 })
  t.true(summary.reconnects > 1)
  t.is(await client.scard('cut'), 20_000)
})

onLinux('retries that are used up reject at once, and the file is closed', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const path = fileFor(t, 'a.csv', csvOf(100_000))
  const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 1 << 20, retry: { attempts: 2 } })
  const files = openFiles()
  const killed = proxy.at({ command: 'SET', nth: 5_000 }, async () => {
    proxy.blockNew()
    await server.kill('SIGKILL')
  })
  const { outcome } = await rejection(t, bulk.importFile(path, 'SET used:{id} {name}'), 'RESPIPE_CONNECT')
  t.true(killed.hasHappened)
  t.true(outcome.commands < 100_000)
  await until(() => openFiles() <= files && readers() === 0)
})

test.serial('nobody there: the first connection is tried, and no row is lost from the account', async (t) => {
  const bulk = bulkFor(t, { port: 1, retry: { firstConnect: 1 } })
  const { outcome } = await rejection(
    t,
    bulk.importFile(fileFor(t, 'a.csv', csvOf(10)), 'SET {id} {name}'),
    'RESPIPE_CONNECT',
  )
  t.like(outcome, { commands: 10, succeeded: 0, unknown: 0, failed: 10 })
})

test.serial('a signal ends an import at once, whatever the server does', async (t) => {
  const server = await serverFor(t)
  for (const whenFull of ['throw', 'block'] as const) {
    const proxy = await proxyFor(t, server)
    const abort = new AbortController()
    const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 100_000, whenFull })
    const stopped = proxy.at({ command: 'SET', nth: 1_000 }, () => server.kill('SIGSTOP'))
    const path = fileFor(t, 'a.csv', csvOf(100_000))
    const importing = bulk.importFile(path, 'SET held:{id} {name}', { signal: abort.signal })
    await stopped.happened
    abort.abort()
    // What is on its way is waited for; `destroy` would not.
    await server.kill('SIGCONT')
    const { outcome } = await rejection(t, importing, 'RESPIPE_ABORTED')
    t.true(outcome.commands < 100_000)
    t.is(outcome.succeeded, outcome.commands)
  }
})

onLinux('an import ends where there are no rows, and its thread too', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, { port: server.port })
  // Empty lines without an end, of which a thousand times as much is unpacked as is read.
  const path = fifoFor(t, 'bomb.csv.gz')
  const bomb = spawnKept('sh', ['-c', '{ printf "a\\n1\\n"; exec yes ""; } | gzip -1 > "$0"', path], {
    stdio: 'ignore',
  })
  t.teardown(() => bomb.kill())
  // Connected.
  await bulk.set('bomb', 0).exec()
  const files = openFiles()
  const abort = new AbortController()
  const importing = bulk.importFile(path, 'SET bomb {a}', { signal: abort.signal })
  await until(() => bulk.stats().succeeded === 2)
  abort.abort()
  const { outcome } = await rejection(t, importing, 'RESPIPE_ABORTED')
  t.like(outcome, { commands: 1, succeeded: 1 })
  await until(() => readers() === 0 && openFiles() <= files)
})

for (const [title, name, content, template, reason] of [
  [
    'a bomb of zeros',
    'a.csv.gz',
    () => gzipSync(Buffer.alloc(1 << 27), { level: 1 }),
    'SET a {b}',
    'line 1 is longer than 64 MiB',
  ],
  [
    'a bomb of zeros for commands',
    'a.redis.gz',
    () => gzipSync(Buffer.alloc(1 << 27), { level: 1 }),
    null,
    'row 0, line 1: a command of more than maxBufferedBytes (1048576 bytes)',
  ],
  [
    'a length that nothing follows',
    'a.resp',
    () => '*2\r\n$3\r\nGET\r\n$536870912\r\nx',
    null,
    'row 0, at byte 0: a command of more than maxBufferedBytes (1048576 bytes)',
  ],
] as const) {
  test.serial(`memory has a bound: ${title}`, async (t) => {
    const bulk = bulkFor(t, { port: 1, maxBufferedBytes: 1 << 20 })
    const path = fileFor(t, name, content())
    const { message } = await rejection(t, bulk.importFile(path, template), 'RESPIPE_IO')
    t.is(message, `cannot read ${path}: ${reason}`)
  })
}

test.serial('memory has a bound: many columns, members, levels and holes', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port })
  const run = (name: string, content: string, template: string) => bulk.importFile(fileFor(t, name, content), template)
  const many = Array.from({ length: 100_000 }, (_, at) => `c${at}`)
  t.like(await run('a.csv', `${many.join()}\n${many.join()}\n`, 'HSET wide {*}'), { succeeded: 1 })
  t.is(await client.hlen('wide'), 100_000)
  t.is(await client.hget('wide', 'c99999'), 'c99999')

  const refusals = [
    await run('b.csv', `a\n${','.repeat(1 << 20)}\n1\n`, 'SET bound:1 {a}'),
    await run('b.ndjson', `{${'"a":1,'.repeat(1 << 20)}"b":2}\n{"a":1}\n`, 'HSET bound:2 {*}'),
    await run('c.ndjson', `{"a":${'['.repeat(1 << 20)}${']'.repeat(1 << 20)}}\n{"a":1}\n`, 'SET bound:3 {*|json}'),
    await run('d.ndjson', `${'{"a":0,"a":'.repeat(10_000)}1${'}'.repeat(10_000)}\n{"a":1}\n`, 'SET bound:4 {*|json}'),
    await run(
      'e.ndjson',
      `{${Array.from({ length: 600_000 }, (_, at) => `"m${at}":${at}`).join()}}\n{"a":1}\n`,
      'HSET bound:5 {*}',
    ),
  ].map(({ succeeded, failures: [{ message } = { message: '' }] }) => [succeeded, message.replace(/^.*:\d+: /, '')])
  t.deepEqual(refusals, [
    [1, 'it has more than 1048576 fields'],
    [1, 'it has more than 1048576 members'],
    [1, 'the row of set is nested more than 1048576 levels deep'],
    [1, 'the row of set has names that repeat on too many levels'],
    [1, 'hset has 1200001 arguments, of which a server takes at most 1048575: split them'],
  ])
})

test.serial('a row is gone through once, however many holes there are', async (t) => {
  // Once for each of the holes would take longer than a test may.
  const filler = Array.from({ length: 100_000 }, (_, at) => `"f${at}":${at}`).join()
  const row = gzipSync(`{${members('a')},${filler},"o":{${members('b')},${filler}}}\n`, { level: 1 })
  const path = fileFor(t, 'a.ndjson.gz', Buffer.concat(Array.from({ length: 40 }, () => row)))
  const bulk = bulkFor(t, { port: 1 })
  const { commands, sample } = await bulk.checkFile(path, `HSET holes ${holes('a')} ${holes('o.b')}`)
  t.is(commands, 40)
  t.is(wordsOf(sample[0]!).at(-1), '999')
})

function members(prefix: string): string {
  return Array.from({ length: 1_000 }, (_, at) => `"${prefix}${at}":${at}`).join()
}

function holes(prefix: string): string {
  return Array.from({ length: 1_000 }, (_, at) => `${at} {${prefix}${at}}`).join(' ')
}

test.serial('names that are special in JavaScript are names like any other', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port })
  for (const [name, content] of [
    ['a.csv', '__proto__,constructor,x\n1,2,3\n'],
    ['a.ndjson', '{"__proto__":1,"constructor":2,"x":3}\n'],
  ] as const) {
    await client.del('proto')
    t.like(await bulk.importFile(fileFor(t, name, content), 'HSET proto a {__proto__} b {constructor} {*}'), {
      succeeded: 1,
    })
    const fields = await client.call('HGETALL', 'proto') as string[] // prettier-ignore
    t.deepEqual(fields.join(' '), 'a 1 b 2 __proto__ 1 constructor 2 x 3')
  }
  const missing = await bulk.importFile(fileFor(t, 'b.ndjson', '{}\n'), 'SET {toString} {hasOwnProperty}')
  t.like(missing, { failed: 1 })
})

test.serial('rows of a FIFO arrive in order, while the server stops again and again', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxBufferedBytes: 100_000 })
  const path = fifoFor(t, 'rows.csv')
  const rows = `BEGIN { print "id"; for (i = 0; i < 30000; i++) print i }`
  const generator = spawnKept('sh', ['-c', 'exec awk "$1" > "$0"', path, rows], { stdio: 'ignore' })
  t.teardown(() => generator.kill())
  const stops = [5_000, 15_000, 25_000].map((nth) =>
    proxy.at({ command: 'RPUSH', nth }, async () => {
      await server.kill('SIGSTOP')
      for (let turns = 0; turns < 100; turns++) await turn()
      await server.kill('SIGCONT')
    }),
  )
  t.like(await resolution(t, bulk.importFile(path, 'RPUSH list {id}')), { commands: 30_000, succeeded: 30_000 })
  t.true(stops.every(({ hasHappened }) => hasHappened))
  t.true(inOrder(await client.lrange('list', 0, -1)))
})

test.serial('the process ends by itself behind an import, and at once where it is told to', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', csvOf(50_000))
  const awaited = await endOfImport(
    server.port,
    path,
    "console.log((await connect().importFile(path, 'SET {id} {name}')).succeeded)",
  )
  t.deepEqual(awaited, { code: 0, signal: null, stdout: '50000\n', stderr: '' })
  const alone = await endOfImport(
    server.port,
    path,
    "void connect().importFile(path, 'SET alone:{id} {name}').then(({ succeeded }) => console.log(succeeded))",
  )
  t.deepEqual(alone, { code: 0, signal: null, stdout: '50000\n', stderr: '' })
  // At this pace it would go on for minutes.
  const told = await endOfImport(
    server.port,
    path,
    `
    const bulk = connect({ maxBufferedBytes: 20_000, throttle: { commandsPerSecond: 200 } })
    const onProgress = ({ succeeded }) => succeeded > 0 && process.exit(7)
    void bulk.importFile(path, 'SET told:{id} {name}', { onProgress, progressIntervalMs: 1 })
    `,
  )
  t.deepEqual(told, { code: 7, signal: null, stdout: '', stderr: '' })
})

test.serial('a worker thread imports, and one that is ended in mid-import stops reading', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', csvOf(200_000))
  t.deepEqual(await endOfImport(server.port, path, endedWorkers(4)), {
    code: 0,
    signal: null,
    stdout: '1\n',
    stderr: '',
  })
})

test.serial('many imports at once, one after the other, leave nothing behind', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port })
  const path = fileFor(t, 'a.csv', csvOf(100))
  // Connected, both.
  await bulk.set('many', await client.ping()).exec()
  const files = process.platform === 'linux' ? openFiles() : 0
  for (let round = 0; round < 10; round++) {
    const told: LoadProgress[] = []
    const imports = Array.from({ length: 20 }, (_, at) =>
      bulk.importFile(path, `RPUSH many:${at} {id}`, { onProgress: (progress) => told.push(progress) }),
    )
    for (const importing of imports) t.like(await importing, { commands: 100, succeeded: 100 })
    t.true(told.length >= 20)
  }
  t.is(await client.llen('many:19'), 1_000)
  if (process.platform === 'linux') await until(() => readers() === 0 && openFiles() <= files)
})
