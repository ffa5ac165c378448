// importFile() against servers, files and ends of processes that are not kind to it.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, readFileSync, readdirSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import test from './helpers/test.ts'

import type { LoadProgress } from '../index.js'
import { fileFor } from './helpers/files.ts'
import { clientOf, proxyFor, serverFor, watchedFor } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Where there is /proc. */
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

function users(count: number): string {
  return `id,name\n${Array.from({ length: count }, (_, at) => `${at},name ${at}\n`).join('')}`
}

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

test.serial('a server that is stopped for three seconds is waited for', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port, maxBufferedBytes: 1 << 20 })
  const importing = bulk.importFile(fileFor(t, 'a.csv', users(200_000)), 'SET stopped:{id} {name}')
  await until(() => bulk.stats().succeeded > 0)
  await server.kill('SIGSTOP')
  const began = performance.now()
  let turns = 0
  while (performance.now() - began < 3_000) {
    await delay(10)
    turns++
  }
  // Meanwhile the event loop had its turns.
  t.true(turns > 100, `${turns} turns`)
  await server.kill('SIGCONT')
  t.like(await resolution(t, importing), { commands: 200_000, succeeded: 200_000, resent: 0 })
  t.is(await client.dbsize(), 200_000)
})

for (const [title, template, exact] of [
  ['what may be repeated arrives', 'HSET killed:{id} name {name}', true],
  ['what may not is unknown at worst', 'INCR killed:{id}', false],
] as const) {
  test.serial(`a server that is killed and started again in mid-import: ${title}`, async (t) => {
    // What it was told is there again.
    const { server, client, port } = await watchedFor(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    const bulk = bulkFor(t, { port, maxBufferedBytes: 1 << 20 })
    const importing = bulk.importFile(fileFor(t, 'a.csv', users(100_000)), template)
    await until(() => bulk.stats().succeeded > 0)
    await server.kill('SIGKILL')
    await delay(100)
    await server.restart()
    const { succeeded, unknown, failed, reconnects } = await resolution(t, importing)
    t.is(failed, 0)
    t.is(succeeded + unknown, 100_000)
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
  const importing = bulk.importFile(fileFor(t, 'a.csv', users(100_000)), ['SET cut:{id} {name}', 'SADD cut {id}'])
  for (const bytes of [1_000, 50_001, 200_003, 300_000, 70_000]) {
    const seen = proxy.connections
    proxy.resetAfter(bytes)
    await until(() => proxy.connections > seen)
  }
  const summary = await resolution(t, importing)
  t.like(summary, { commands: 200_000, succeeded: 200_000 })
  t.true(summary.reconnects > 1)
  t.is(await client.scard('cut'), 100_000)
})

onLinux('retries that are used up reject at once, and the file is closed', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', users(500_000))
  const bulk = bulkFor(t, { port: server.port, maxBufferedBytes: 1 << 20, retry: { attempts: 2 } })
  const files = openFiles()
  const importing = bulk.importFile(path, 'SET used:{id} {name}')
  await until(() => bulk.stats().succeeded > 0)
  await server.kill('SIGKILL')
  const { outcome } = await rejection(t, importing, /RESPIPE_(CONNECT|CONNECTION_LOST)/)
  t.true(outcome.commands < 500_000)
  await until(() => openFiles() <= files && readers() === 0)
})

test.serial('nobody there: the first connection is tried, and no row is lost from the account', async (t) => {
  const bulk = bulkFor(t, { port: 1, retry: { firstConnect: 1 } })
  const { outcome } = await rejection(
    t,
    bulk.importFile(fileFor(t, 'a.csv', users(10)), 'SET {id} {name}'),
    'RESPIPE_CONNECT',
  )
  t.like(outcome, { commands: 10, succeeded: 0, unknown: 0, failed: 10 })
})

test.serial('a signal ends an import at once, whatever the server does', async (t) => {
  const server = await serverFor(t)
  for (const whenFull of ['throw', 'block'] as const) {
    const abort = new AbortController()
    const bulk = bulkFor(t, { port: server.port, maxBufferedBytes: 100_000, whenFull })
    const path = fileFor(t, 'a.csv', users(100_000))
    const importing = bulk.importFile(path, 'SET held:{id} {name}', { signal: abort.signal })
    await until(() => bulk.stats().succeeded > 0)
    await server.kill('SIGSTOP')
    await delay(300)
    abort.abort()
    // What is on its way is waited for; `destroy` would not.
    setTimeout(() => void server.kill('SIGCONT'), 300)
    const { outcome } = await rejection(t, importing, 'RESPIPE_ABORTED')
    t.is(outcome.succeeded, outcome.commands)
  }
})

onLinux('an import ends at once where there are no rows, and its thread too', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, { port: server.port })
  // A thousand times as much: 4 GB of empty lines.
  const blank = gzipSync(Buffer.alloc(1 << 28, '\n'), { level: 1 })
  const path = fileFor(
    t,
    'bomb.csv.gz',
    Buffer.concat([gzipSync('a\n1\n'), ...Array.from({ length: 16 }, () => blank)]),
  )
  // Connected.
  await bulk.set('bomb', 0).exec()
  const files = openFiles()
  const began = performance.now()
  const importing = bulk.importFile(path, 'SET bomb {a}', { signal: AbortSignal.timeout(200) })
  const { outcome } = await rejection(t, importing, 'RESPIPE_ABORTED')
  t.like(outcome, { commands: 1, succeeded: 1 })
  t.true(performance.now() - began < 2_000)
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

  // Of a thousand holes none costs more than the first.
  const rows = `{${members('a')},"o":{${members('b')}}}\n`.repeat(300)
  const began = performance.now()
  t.like(await run('f.ndjson', rows, `HSET holes ${holes('a')} ${holes('o.b')}`), { succeeded: 300 })
  t.is(await client.hget('holes', '999'), '999')
  t.true(performance.now() - began < 5_000)
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

onLinux('memory stays flat, however many rows there are and however slow the server is', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'rows.csv')
  t.is(spawnSync('mkfifo', [path]).status, 0)
  const rows = 3_000_000
  const generator = spawn(
    'awk',
    [`BEGIN { print "id,name,city"; for (i = 0; i < ${rows}; i++) print i % 1000 ",name " i ",somewhere or other" }`],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  )
  generator.stdout.pipe(createWriteStream(path))
  t.teardown(() => generator.kill('SIGKILL'))
  const source = `
    import { readFileSync } from 'node:fs'
    import { bulkPipeline } from './index.js'
    const peak = () => Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]) / 1024
    const bulk = bulkPipeline({ port: ${server.port} })
    let early = 0
    const onProgress = ({ rows }) => { if (rows > 100_000 && early === 0) early = peak() }
    const { succeeded } = await bulk.importFile(${JSON.stringify(path)}, 'HSET flat:{id} {*}', { progressIntervalMs: 10, onProgress })
    await bulk.close()
    console.log(JSON.stringify({ succeeded, early, late: peak() }))
  `
  // It is slow: stopped every now and then.
  const slow = setInterval(() => {
    void server.kill('SIGSTOP')
    setTimeout(() => void server.kill('SIGCONT'), 60)
  }, 400)
  t.teardown(() => clearInterval(slow))
  const { code, stdout, stderr } = await runScript({ source })
  t.is(code, 0, stderr)
  const { succeeded, early, late } = JSON.parse(stdout) as { succeeded: number; early: number; late: number }
  t.log(`${early.toFixed(1)} MB after 100,000 rows, ${late.toFixed(1)} MB in the end`)
  t.is(succeeded, rows)
  t.true(late < early + 32, `${early} MB, then ${late} MB`)
})

/** Runs an ES module, which begins to import a file into this server, and tells how it ended. */
async function end(port: number, path: string, source: string) {
  const script = `
    import { Worker } from 'node:worker_threads'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: ${port}, maxBufferedBytes: 1 << 20 })
    const path = ${JSON.stringify(path)}
    ${source}
  `
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [[code, signal], stdout, stderr] = await Promise.all([
    once(child, 'close'),
    text(child.stdout),
    text(child.stderr),
  ])
  return { code, signal, stdout, stderr }
}

test.serial('the process ends by itself behind an import, and at once where it is told to', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', users(300_000))
  const awaited = await end(
    server.port,
    path,
    "console.log((await bulk.importFile(path, 'SET {id} {name}')).succeeded)",
  )
  t.deepEqual(awaited, { code: 0, signal: null, stdout: '300000\n', stderr: '' })
  const alone = await end(
    server.port,
    path,
    "void bulk.importFile(path, 'SET alone:{id} {name}').then(({ succeeded }) => console.log(succeeded))",
  )
  t.deepEqual(alone, { code: 0, signal: null, stdout: '300000\n', stderr: '' })
  const told = await end(
    server.port,
    path,
    "void bulk.importFile(path, 'SET told:{id} {name}'); setTimeout(() => process.exit(7), 20)",
  )
  t.deepEqual(told, { code: 7, signal: null, stdout: '', stderr: '' })
})

test.serial('a worker thread imports, and one that is ended in mid-import stops reading', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', users(3_000_000))
  const result = await end(
    server.port,
    path,
    `
    const source = \`
      const { workerData, parentPort } = require('node:worker_threads')
      const { bulkPipeline } = require(process.cwd())
      const bulk = bulkPipeline({ port: workerData.port, maxBufferedBytes: 1 << 20 })
      const onProgress = ({ succeeded }) => parentPort.postMessage(succeeded)
      bulk.importFile(workerData.path, 'SET worker:{id} {name}', { onProgress, progressIntervalMs: 5 })
    \`
    const { readdirSync, readFileSync } = await import('node:fs')
    for (let round = 0; round < 10; round++) {
      const worker = new Worker(source, { eval: true, execArgv: [], workerData: { port: ${server.port}, path } })
      await new Promise((resolve) => worker.on('message', (succeeded) => succeeded > 0 && resolve()))
      await worker.terminate()
    }
    const isReader = (task) => {
      try {
        return readFileSync('/proc/self/task/' + task + '/comm', 'latin1').startsWith('respipe-import')
      } catch {
        return false
      }
    }
    const deadline = performance.now() + 10_000
    let readers = process.platform === 'linux' ? 1 : 0
    while (readers > 0 && performance.now() < deadline) {
      readers = readdirSync('/proc/self/task').filter(isReader).length
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    console.log(readers, (await bulk.set('worker:after', 1).exec()).succeeded)
    `,
  )
  t.deepEqual(result, { code: 0, signal: null, stdout: '0 1\n', stderr: '' })
})

test.serial('many imports at once, one after the other, leave nothing behind', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port })
  const path = fileFor(t, 'a.csv', users(100))
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
