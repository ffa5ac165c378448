import test, { type ExecutionContext } from './helpers/test.ts'
import type { Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { inspect } from 'node:util'
import { type BulkPipelineOptions, RespipeError, type Stats, bulkPipeline } from '../index.js'
import { proxyFor } from './helpers/loads.ts'
import { bulkFor, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'
import { workersThatLoad } from './helpers/workers.ts'

// How a pipeline ends, and what it leaves behind: promises, sockets, threads, the process. Memory: long/lifecycle.spec.ts.

const { server, client } = await sharedServer()

function open(t: ExecutionContext, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port: server.port, ...options })
}

/** A server that takes a login, and answers no SET. */
async function startMute(t: ExecutionContext) {
  let heard = 0
  const scripted = await scriptedFor(t, ([name]) => {
    if (name === 'SET') heard++
    return heard > 0 && name !== 'PING' ? null : undefined
  })
  return {
    scripted,
    port: scripted.port,
    async hears(count: number) {
      await until(() => heard >= count)
    },
  }
}

const closed = { instanceOf: RespipeError, code: 'RESPIPE_CLOSED' }
const aborted = { instanceOf: RespipeError, code: 'RESPIPE_ABORTED' }

// sync and close

test('sync tells what became of everything', async (t) => {
  const bulk = open(t)
  void bulk.set('sync', 'x').exec()
  void bulk.lpush('sync', 1).exec()
  const { elapsedMs, bytes, failures, ...summary } = await bulk.set('sync', 'y').sync()
  t.true(elapsedMs > 0 && bytes > 0)
  t.deepEqual(
    failures.map(({ index, code }) => [index, code]),
    [[0, 'WRONGTYPE']],
  )
  const counts = { commands: 3, succeeded: 2, failed: 1, unknown: 0 }
  t.deepEqual(summary, { ...counts, errors: { WRONGTYPE: 1 }, batches: 3, reconnects: 0, resent: 0 })
})

test('close executes what is appended, waits, and disconnects', async (t) => {
  const scripted = await scriptedFor(t, {})
  const bulk = open(t, { port: scripted.port })
  await bulk.query('PING')
  void bulk.set('a', 1).exec()
  const first = bulk.set('b', 2).close()
  const second = bulk.close()
  t.is((await first).commands, 2)
  t.is(await second, await first)
  t.is(await bulk.close(), await first)
  t.false(bulk.stats().connected)
  await until(() => scripted.sockets.size === 0)
  t.is(scripted.connections, 2)
})

test('close disconnects also where it rejects', async (t) => {
  const wrong = await scriptedFor(t, ([name]) => (name === 'SET' ? '?\r\n' : undefined))
  const bulk = open(t, { port: wrong.port })
  await bulk.query('PING')
  const error = await t.throwsAsync<RespipeError>(bulk.set('a', 1).close(), { code: 'RESPIPE_PROTOCOL' })
  t.is(error.outcome?.unknown, 1)
  await t.throwsAsync(bulk.close(), { is: error })
  await t.throwsAsync(bulk.exec(), closed)
  t.is(wrong.connections, 2)
  await until(() => wrong.sockets.size === 0)
})

test('await using closes', async (t) => {
  const bulk = open(t)
  bulk.set('using', 1)
  t.is(await bulk[Symbol.asyncDispose](), undefined)
  t.is(await client.get('using'), '1')
  t.is((await bulk.close()).commands, 1)
  await t.notThrowsAsync(bulk[Symbol.asyncDispose]())
})

for (const [how, end] of Object.entries({ close: 'close', destroy: 'destroy' } as const)) {
  test(`after ${how} nothing goes in any more, and one can still look`, async (t) => {
    const bulk = open(t)
    await bulk.set('after', 1).exec()
    bulk.set('after', 2)
    await bulk[end]()
    t.throws(() => bulk.set('after', 3), closed)
    t.throws(() => bulk.hset('after', { field: 1 }), closed)
    t.throws(() => bulk.call('SET', 'after', '3'), closed)
    for (const method of ['exec', 'sync', 'drain'] as const) await t.throwsAsync(bulk[method](), closed)
    await t.throwsAsync(bulk.query('PING'), closed)
    t.is(bulk.length, 0)
    t.is(bulk.discard(), 0)
    t.false(bulk.needsDrain)
    const { commands, bufferedBytes, inFlightBytes } = bulk.stats()
    t.deepEqual([commands, bufferedBytes, inFlightBytes], [how === 'close' ? 2 : 1, 0, 0])
    bulk.destroy()
    bulk.destroy()
    t.is((await bulk.close()).commands, commands)
    t.false(bulk.stats().connected)
  })
}

// destroy and abort

test('destroy rejects what is pending, and tells what is unknown', async (t) => {
  const mute = await startMute(t)
  const bulk = open(t, { port: mute.port, maxBufferedBytes: 10_000, maxInFlightBytes: 1_000 })
  const exec = bulk.set('a', 'x'.repeat(700)).set('b', 2).exec()
  const empty = bulk.exec()
  const drain = bulk.drain()
  await mute.hears(2)
  // The window is full.
  const later = bulk.set('c', 'x'.repeat(500)).exec()
  const sync = bulk.sync()
  const query = bulk.query('GET', 'key')
  const close = bulk.close()
  bulk.destroy()
  t.like((await t.throwsAsync<RespipeError>(exec, closed)).outcome, { commands: 2, unknown: 2, failed: 0 })
  t.like((await t.throwsAsync<RespipeError>(empty, closed)).outcome, { commands: 0 })
  t.like((await t.throwsAsync<RespipeError>(later, closed)).outcome, { commands: 1, unknown: 0, failed: 1 })
  for (const promise of [sync, close]) {
    const { outcome } = await t.throwsAsync<RespipeError>(promise, closed)
    t.like(outcome, { commands: 3, unknown: 2, failed: 1 })
  }
  await t.throwsAsync(drain, closed)
  await t.throwsAsync(query, closed)
  await t.throwsAsync(bulk.close(), closed)
  await until(() => mute.scripted.sockets.size === 0)
})

test('close after destroy waits until all is told, and throws what nobody handled', async (t) => {
  for (const handles of [true, false]) {
    const mute = await startMute(t)
    const bulk = open(t, { port: mute.port })
    const exec = bulk.set('a', 1).exec()
    await mute.hears(1)
    if (handles) exec.catch(() => {})
    bulk.destroy()
    const close = bulk.close()
    if (handles) t.like(await close, { commands: 1, unknown: 1 })
    else t.like((await t.throwsAsync<RespipeError>(close, closed)).outcome, { commands: 1, unknown: 1 })
  }
})

test('a signal that is aborted already lets nothing in', async (t) => {
  const scripted = await scriptedFor(t, {})
  const bulk = open(t, { port: scripted.port, signal: AbortSignal.abort() })
  t.throws(() => bulk.set('a', 1), aborted)
  for (const method of ['exec', 'sync', 'drain'] as const) await t.throwsAsync(bulk[method](), aborted)
  await t.throwsAsync(bulk.query('PING'), aborted)
  t.is((await bulk.close()).commands, 0)
  t.is(scripted.connections, 0)
})

test('a signal ends what is under way', async (t) => {
  const mute = await startMute(t)
  const controller = new AbortController()
  const bulk = open(t, { port: mute.port, signal: controller.signal })
  const exec = bulk.set('a', 1).set('b', 2).exec()
  const sync = bulk.sync()
  await mute.hears(2)
  bulk.set('c', 3)
  controller.abort()
  t.like((await t.throwsAsync<RespipeError>(exec, aborted)).outcome, { commands: 2, unknown: 2 })
  await t.throwsAsync(sync, aborted)
  t.throws(() => bulk.set('d', 4), aborted)
  await t.throwsAsync(bulk.exec(), aborted)
  t.like(await bulk.close(), { commands: 2, unknown: 2 })
  bulk.destroy()
  t.like(await bulk.close(), { commands: 2, unknown: 2 })
})

test('a signal ends a wait for a server', async (t) => {
  const hangsUp = await scriptedFor(t, { onConnection: (socket) => socket.end() })
  const controller = new AbortController()
  // The second attempt comes after the test's own limit.
  const retry = { firstConnect: 1, minDelayMs: 600_000, maxDelayMs: 600_000 }
  const bulk = open(t, { port: hangsUp.port, retry, signal: controller.signal })
  const exec = bulk.set('a', 1).exec()
  await until(() => hangsUp.connections === 1)
  controller.abort()
  t.like((await t.throwsAsync<RespipeError>(exec, aborted)).outcome, { commands: 1, failed: 1, unknown: 0 })
})

test('many pipelines may have one signal, whose end does no harm to those that are closed', async (t) => {
  const warnings: string[] = []
  const warn = ({ name, message }: Error) => name === 'MaxListenersExceededWarning' && warnings.push(message)
  process.on('warning', warn)
  t.teardown(() => process.off('warning', warn))
  const controller = new AbortController()
  const many = Array.from({ length: 30 }, () => open(t, { signal: controller.signal }))
  await many[0]?.close()
  controller.abort()
  for (const bulk of many.slice(1)) t.throws(() => bulk.set('a', 1), aborted)
  t.throws(() => many[0]?.set('a', 1), closed)
  // Warnings are told in the next turn.
  await turn()
  t.deepEqual(warnings, [])
})

// What one sees of it

test('no password is shown', async (t) => {
  const secret = 'hunter2%3A'
  for (const options of [
    { port: 1, password: secret, username: 'user' },
    { url: `redis://user:${secret}@127.0.0.1:1/3` },
  ]) {
    const bulk = bulkPipeline({ ...options, retry: { attempts: 0 } })
    const error = await t.throwsAsync(bulk.set('a', 1).exec())
    for (const depth of [undefined, 0, -1, 10, null, Infinity]) {
      for (const what of [bulk, error, [[bulk]]]) {
        const shown = inspect(what, { depth, showHidden: true, getters: true })
        t.notRegex(shown + JSON.stringify(what) + String(bulk), /hunter2/)
      }
    }
    bulk.destroy()
  }
})

test('inspect shows the server and the state', async (t) => {
  const bulk = open(t, { replies: 'collect' })
  t.regex(inspect(bulk), new RegExp(`^BulkPipeline \\{[^]*'127.0.0.1:${server.port}'[^]*'idle'`))
  await bulk.set('shown', 1).exec()
  bulk.set('shown', 2)
  t.regex(inspect(bulk), /'connected'[^]*length: 1/)
  await bulk.close()
  t.regex(inspect(bulk), /'closed'[^]*succeeded: 2/)
  t.is(typeof inspect(bulk, { depth: -1, compact: false, colors: true }), 'string')
  t.is(typeof inspect(Object.getPrototypeOf(bulk)), 'string')
})

test('stats add up at any time', async (t) => {
  const proxy = await proxyFor(t, server)
  const bulk = open(t, { port: proxy.port, maxInFlightBytes: 10_000 })
  const wrong: Stats[] = []
  for (let batch = 0; batch < 20; batch++) {
    for (let index = 0; index < 500; index++) bulk.set(`stats:${index}`, index)
    void bulk.exec()
  }
  const sync = bulk.sync()
  await until(() => {
    const stats = bulk.stats()
    if (stats.commands !== stats.succeeded + stats.failed + stats.unknown) wrong.push(stats)
    return stats.commands === 10_000
  })
  t.is((await sync).commands, 10_000)
  t.is(wrong.length, 0, inspect(wrong[0]))
})

test('a pipeline is made by bulkPipeline, and used on itself alone', async (t) => {
  const bulk = open(t)
  const Pipeline = bulk.constructor as new () => object
  t.throws(() => new Pipeline(), { instanceOf: RespipeError, code: 'RESPIPE_INVALID_ARGUMENT' })
  t.throws(() => new (class extends Pipeline {})(), { instanceOf: RespipeError, code: 'RESPIPE_INVALID_ARGUMENT' })
  t.throws(() => (Pipeline as unknown as () => void)(), { instanceOf: TypeError })
  const refused = {
    instanceOf: RespipeError,
    code: 'RESPIPE_INVALID_ARGUMENT',
    message: /must be called on a pipeline/,
  }
  for (const receiver of [undefined, {}, new Proxy(bulk, {}), Object.create(bulk)]) {
    t.throws(() => Reflect.apply(bulk.set, receiver, ['a', 'b']), refused)
    for (const method of ['exec', 'sync', 'drain', 'close', 'query'] as const) {
      const promise: Promise<unknown> = Reflect.apply(bulk[method], receiver, [])
      await t.throwsAsync(promise, refused)
    }
  }
  let cloned = true
  try {
    structuredClone(bulk)
  } catch {
    cloned = false
  }
  t.false(cloned)
})

// The process

/** Runs a script with `bulk`, a pipeline, in a process of its own. */
function run(source: string, options: Parameters<typeof runScript>[1] = {}) {
  const head = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1])
  `
  return runScript({ source: head + source }, { args: [server.url], ...options })
}

test('an idle pipeline does not keep the process alive', async (t) => {
  const { code, stdout } = await run(`
    bulk.on('failure', () => {}).on('error', () => {}).on('reconnect', () => {})
    await bulk.set('idle', 1).exec()
    await bulk.query('PING')
    bulk.set('idle', 'appended, and never executed')
    // It ends by itself, and with the connection still open.
    process.on('exit', () => console.log(bulk.stats().connected))
  `)
  t.deepEqual({ code, stdout }, { code: 0, stdout: 'true\n' })
})

test('an exec that nobody awaits is finished before the process ends', async (t) => {
  const { code, stdout } = await run(`
    for (let batch = 0; batch < 20; batch++) {
      for (let index = 0; index < 1_000; index++) bulk.rpush('outstanding', index)
      bulk.exec()
    }
    process.on('exit', () => console.log(bulk.stats().succeeded))
  `)
  t.deepEqual({ code, stdout }, { code: 0, stdout: '20000\n' })
  t.is(await client.llen('outstanding'), 20_000)
})

test('automatic batches are finished before the process ends', async (t) => {
  let isLate = false
  const slow = await scriptedFor(t, ([name, key = ''], socket) => {
    isLate ||= key === 'late'
    if (!isLate) return undefined
    // Time enough for a process that would end too early.
    setTimeout(() => socket.write(name === 'SET' ? resp.ok : resp.bulk(key)), 200)
    return null
  })
  // The second batch goes out when the answer to the first is there, and JavaScript has not heard of it.
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { autoExec: { commands: 1, ms: 10 } })
    bulk.set('early', 1)
    while (bulk.stats().succeeded === 0 || bulk.stats().inFlightBytes > 0);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    bulk.set('late', 1)
    process.on('exit', () => console.log(bulk.stats().succeeded))
  `
  t.is((await runScript({ source }, { args: [slow.url] })).stdout, '2\n')
  const timed = source.replace('commands: 1,', '').replace(/while.*|Atomics.*/g, '')
  t.is((await runScript({ source: timed }, { args: [server.url] })).stdout, '2\n')
})

for (const [how, source, code, signal] of [
  ['process.exit', `process.exit(7)`, 7, null],
  ['process.exit in a listener', `bulk.on('failure', () => process.exit(7)).call('NO.SUCH').exec()`, 7, null],
  ['an exception', `throw new Error('mine')`, 1, null],
  ['SIGTERM', `process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1_000)`, null, 'SIGTERM'],
] as const) {
  test(`${how} in the middle of a load ends the process as ever`, async (t) => {
    const result = await run(`
      const load = () => {
        for (let index = 0; index < 5_000; index++) bulk.set('middle', 'x'.repeat(100))
        bulk.exec().catch(() => {})
      }
      load()
      await bulk.drain()
      load()
      load()
      ${source}
    `)
    t.deepEqual([result.code, result.signal], [code, signal])
    t.is(/mine/.test(result.stderr), how === 'an exception')
  })
}

test('workers load, end and are ended, with the addon in none but them', async (t) => {
  const result = await workersThatLoad(server.url, { rounds: 2, workers: 4 })
  t.deepEqual([result.stderr, result.code, result.signal], ['', 0, null])
  t.is(result.stdout, 'Set(1) { 2000 }\n'.repeat(2))
})

// Garbage

test('pipelines that nobody holds are collected, and their sockets closed', async (t) => {
  const mute = new Set<Socket>()
  let isReleased = false
  const scripted = await scriptedFor(t, ([name, key], socket) => {
    if (name === 'DBSIZE') return resp.integer(scripted.sockets.size)
    if (name === 'GET') mute.add(socket)
    isReleased ||= key === 'release'
    if (isReleased) for (const each of mute) each.destroy()
    return mute.has(socket) ? null : undefined
  })
  const { stdout, stderr } = await runScript(
    {
      source: `
        import { setTimeout as delay } from 'node:timers/promises'
        import { bulkPipeline } from './index.js'
        const control = bulkPipeline(process.argv[1])
        const references = []
        const controller = new AbortController()
        async function make(method) {
          const bulk = bulkPipeline(process.argv[1], { signal: controller.signal }).on('failure', () => {})
          references.push(new WeakRef(bulk))
          await bulk.set('key', 1).exec()
          await bulk.query('PING')
          if (method) await bulk[method]()
          else bulk.set('key', 'never executed')
        }
        const left = () => references.filter((reference) => reference.deref()).length
        // A look at a reference holds its object until the end of the turn.
        async function collect() {
          await delay(5)
          gc()
          await delay(5)
        }
        for (let index = 0; index < 10; index++) for (const method of [undefined, 'close', 'destroy']) await make(method)
        while (left() > 0) await collect()
        // One is that of the question itself.
        while ((await control.query('DBSIZE')) > 1) await delay(5)
        console.log('collected')

        // What is pending is held.
        let pending = 0
        function leave() {
          const bulk = bulkPipeline(process.argv[1], { retry: { attempts: 0, firstConnect: 0 } })
          references.push(new WeakRef(bulk))
          bulk.get('never answered').exec().catch(() => pending--)
          pending++
        }
        for (let index = 0; index < 5; index++) leave()
        for (let round = 0; round < 10; round++) await collect()
        console.log(left(), pending)
        await control.query('SET', 'release', 1)
        while (pending > 0) await delay(5)
        while (left() > 0) await collect()
        while ((await control.query('DBSIZE')) > 1) await delay(5)
        console.log('collected')
      `,
    },
    { args: [scripted.url], nodeArgs: ['--expose-gc'] },
  )
  t.deepEqual([stdout, stderr], ['collected\n5 5\ncollected\n', ''])
})

const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('pipelines come and go without leaving sockets or threads behind', async (t) => {
  const { stdout, stderr } = await runScript(
    {
      source: `
        import { readdirSync, readlinkSync } from 'node:fs'
        import { setTimeout as delay } from 'node:timers/promises'
        import { bulkPipeline } from './index.js'
        const isSocket = (fd) => {
          try {
            return readlinkSync('/proc/self/fd/' + fd).startsWith('socket:')
          } catch {
            // The one that the folder was read through.
            return false
          }
        }
        const sockets = () => readdirSync('/proc/self/fd').filter(isSocket).length
        const threads = () => readdirSync('/proc/self/task').length
        async function round() {
          await Promise.all(Array.from({ length: 20 }, async (_, at) => {
            const bulk = bulkPipeline(process.argv[1])
            const executed = bulk.set('come', 'and go').exec()
            if (at % 4 > 0) await executed
            if (at % 3 === 0) await bulk.close()
            else if (at % 3 === 1) bulk.destroy()
            // The others are forgotten.
          }))
        }
        const [socketsBefore, threadsBefore] = [sockets(), threads()]
        await round()
        const threadsOfOne = threads()
        for (let at = 0; at < 4; at++) await round()
        // What the system has closed is the state to come to, soon or late.
        while (sockets() > socketsBefore || threads() > threadsOfOne) {
          await delay(5)
          gc()
        }
        console.log(threadsOfOne - threadsBefore)
      `,
    },
    { args: [server.url], nodeArgs: ['--expose-gc'] },
  )
  t.is(stderr, '')
  t.true(Number(stdout) <= 3, `${stdout} threads`)
})
