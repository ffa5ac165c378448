// What code of the user's can do while its arguments are read, and inputs at the limits of the encoder's buffers.

import test from './helpers/test.ts'

import { RespipeError } from '../index.js'
import { encoded, pipelineFor, type Loose } from './helpers/pipelines.ts'
import { until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'
import { module, workersThatAppend } from './helpers/workers.ts'

const { server, client } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'
let keys = 0
const nextKey = () => `key:${++keys}`

/** An object, a Proxy of an array and an array, each of which runs `intrude` while its elements are read. */
function intruders(intrude: () => unknown): object[] {
  return [
    {
      get f() {
        intrude()
        return 'v'
      },
    },
    new Proxy(['f', 'v'], { get: (array, name) => (intrude(), Reflect.get(array, name)) }),
    Object.defineProperty(['f', 'v'], 1, { get: () => (intrude(), 'v') }),
    new Proxy({ f: 'v' }, { ownKeys: (object) => (intrude(), Reflect.ownKeys(object)) }),
  ]
}

test('an append inside a getter fails and the outer one goes on, if the getter lets it', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const inner = { instanceOf: RespipeError, code: INVALID, message: /while the arguments of another are read/ }
  let intrusions = 0
  const expected = intruders(() => {
    intrusions++
    const appends = [() => bulk.set('k', 'v'), () => bulk.hset('k', { a: 1 }), () => bulk.call('SET', 'k', 'v')]
    for (const append of [...appends, () => bulk.sadd('k', ['a'])]) t.throws(append, inner)
  }).map((object) => {
    const key = nextKey()
    bulk.hset(key, object)
    return key
  })
  t.true(intrusions >= 4)
  t.is((await bulk.exec()).succeeded, 4)
  for (const key of expected) t.deepEqual(await client.hgetall(key), { f: 'v' })
})

test('exec, discard, drain, sync, query and stats inside a getter see what was appended before', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  const work: Promise<unknown>[] = []
  for (const object of intruders(() =>
    work.push(bulk.exec(), bulk.drain(), bulk.sync(), bulk.query('PING', []), bulk.stats() as never),
  ))
    bulk.rpush(`${key}:before`, 'x').hset(key, object)
  t.is(bulk.length, 1)
  await Promise.all([...work, bulk.exec()])
  t.is(bulk.stats().succeeded, 8)
  t.is(await client.llen(`${key}:before`), 4)
  t.deepEqual(await client.hgetall(key), { f: 'v' })

  const discarded: number[] = []
  for (const object of intruders(() => discarded.push(bulk.discard()))) bulk.set(key, 'discarded').hset(key, object)
  t.is(discarded.filter((count) => count > 0).length, 4)
  t.is(bulk.length, 1)
  t.is((await bulk.exec()).succeeded, 1)
})

for (const [name, code, end] of [
  ['close', 'RESPIPE_CLOSED', (bulk: Loose) => void bulk.close()],
  ['destroy', 'RESPIPE_CLOSED', (bulk: Loose) => bulk.destroy()],
  ['an abort', 'RESPIPE_ABORTED', (_: Loose, controller: AbortController) => controller.abort()],
] as const) {
  test(`${name} inside a getter refuses the command around it`, async (t) => {
    for (let which = 0; which < 4; which++) {
      const controller = new AbortController()
      const bulk = pipelineFor(t, { port: server.port, signal: controller.signal })
      const key = nextKey()
      bulk.set(`${key}:before`, 'v')
      await bulk.exec()
      const object = intruders(() => end(bulk, controller))[which]
      t.throws(() => bulk.hset(key, object), { instanceOf: RespipeError, code })
      await bulk.close().catch(() => {})
      t.is(await client.exists(key), 0)
    }
  })
}

test('getters of two pipelines that append to each other', async (t) => {
  const [one, other] = [pipelineFor(t, { port: server.port }), pipelineFor(t, { port: server.port })]
  const own = [nextKey(), nextKey(), nextKey()] as const
  one.hset(own[0], {
    get f() {
      other.hset(own[1], {
        get f() {
          t.throws(() => one.set(own[2], 'v'), { code: INVALID })
          return 1
        },
      })
      other.set(own[2], 'v')
      return 1
    },
  })
  t.deepEqual([one.length, other.length], [1, 2])
  await Promise.all([one.exec(), other.exec()])
  t.is(await client.exists(...own), 3)
})

test('an array that grows with every look has an end', (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const endless = new Proxy(['x'], {
    get: (array, name) => {
      if (name !== 'length') array.push('x')
      return Reflect.get(array, name)
    },
  })
  bulk.rpush('k', endless)
  t.is(bulk.length, 1)
  const boundless = new Proxy(['x'], { get: (_, name) => (name === 'length' ? 2 ** 32 : 'x') })
  t.throws(() => bulk.rpush('k', boundless), { code: INVALID, message: /argument 2 of rpush has 4294967296 elements/ })
  t.is(bulk.length, 1)
})

test('200,000 fields in an array', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  const fields = Array.from({ length: 200_000 }, (_, at) => [`f${at}`, at]).flat()
  bulk.hset(key, fields)
  bulk.hset(`${key}:map`, new Map(Array.from({ length: 200_000 }, (_, at) => [at, at])))
  t.is((await bulk.exec()).succeeded, 2)
  t.deepEqual([await client.hlen(key), await client.hlen(`${key}:map`)], [200_000, 200_000])
  t.is(await client.hget(key, 'f199999'), '199999')
})

test('as many arguments in one array as a server takes', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const most = 1024 * 1024 - 1
  bulk.call('DEL', Array(most).fill('x'))
  t.throws(() => bulk.call('DEL', Array(most).fill('x'), 'x'), { code: INVALID, message: /del has 1048576 arguments/ })
  const { commands, succeeded } = await bulk.exec()
  t.deepEqual({ commands, succeeded }, { commands: 1, succeeded: 1 })
})

// The engine's own limit for a spread is near 120,000, where its stack ends.
for (const count of [3, 4, 5, 14, 15, 16, 17, 1_000, 30_000, 50_000]) {
  test(`a spread of ${count} arguments`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const key = nextKey()
    const values = Array.from({ length: count }, (_, at) => `value ${at}`)
    bulk.rpush(key, ...values).call('rpush', `${key}:call`, ...values)
    t.is((await bulk.exec()).succeeded, 2)
    t.deepEqual(await client.lrange(key, 0, -1), values)
    t.is(await client.llen(`${key}:call`), count)
  })
}

test('a spread of 100,000 arguments', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  bulk.rpush(key, ...Array(100_000).fill('x'))
  t.is((await bulk.exec()).succeeded, 1)
  t.is(await client.llen(key), 100_000)
})

test('a spread that the stack has no room for appends nothing', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  bulk.set(key, 'before')
  t.throws(() => bulk.rpush('k', ...Array(1_000_000).fill('x')), { instanceOf: RangeError })
  t.is(bulk.length, 1)
  t.is((await bulk.exec()).succeeded, 1)
})

// 4,096 UTF-16 units are read with one call; what is longer, or perhaps is, goes another way.
const EDGES = [4090, 4092, 4093, 4094, 4095, 4096, 4097, 4098, 8191, 8192, 65_535, 65_536, 69_632]
const TAILS = ['', 'a', 'é', '€', '😀', '\0', '😀a']
test('text around the limits of what is read at once', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const expected = new Map<string, string>()
  for (const edge of EDGES) {
    for (const tail of TAILS) {
      for (const body of ['x', 'é', '€']) {
        // The tail ends at the edge, stands across it, and begins there.
        for (const before of [edge - tail.length, edge - 1, edge]) {
          const value = body.repeat(before) + tail + (tail === '😀a' ? 'z'.repeat(10) : '')
          const key = nextKey()
          expected.set(key, value)
          bulk.set(key, value)
        }
      }
    }
    await bulk.exec()
  }
  const { failed } = await bulk.sync()
  t.is(failed, 0)
  const stored = await client.mgetBuffer([...expected.keys()])
  for (const [at, [, value]] of [...expected].entries()) {
    if (!stored[at]!.equals(Buffer.from(value))) t.fail(`${value.length} units, ${JSON.stringify(value.slice(-6))}`)
  }
  t.true(expected.size > 800)
})

test('commands that end at, before and behind the end of a segment', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const segment = 68 * 1024
  const expected = new Map<string, string>()
  let bytes = 0
  for (const window of [64 * 1024, segment]) {
    for (let shift = -70; shift <= 70; shift++) {
      // One command up to the edge but for `shift`, then small ones across it.
      for (const length of [window + shift - 40, 10, 0, 33]) {
        const [key, value] = [nextKey(), 'v'.repeat(length)]
        expected.set(key, value)
        bulk.set(key, value)
        bytes += encoded('SET', key, value).length
      }
    }
  }
  const outcome = await bulk.exec()
  t.deepEqual([outcome.succeeded, outcome.bytes], [expected.size, bytes])
  const stored = await client.mget([...expected.keys()])
  t.deepEqual(
    [...expected.values()].findIndex((value, at) => value !== stored[at]),
    -1,
  )
})

test('commands larger than a segment, refused and taken in turn', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, maxInFlightBytes: 10_000 })
  const key = nextKey()
  const large = Buffer.alloc(1_000_000, 'x')
  for (let round = 0; round < 5; round++) {
    t.throws(() => bulk.rpush(key, large, '\ud800'), { code: INVALID })
    t.throws(() => bulk.rpush(key, 'x', large, large, Number.NaN), { code: INVALID })
    bulk.rpush(key, `small ${round}`)
    t.throws(() => bulk.rpush(key, large, '\ud800'), { code: INVALID })
    bulk.rpush(key, large)
    if (round % 2 === 0) t.is((await bulk.exec()).failed, 0)
  }
  await bulk.exec()
  const stored = await client.lrangeBuffer(key, 0, -1)
  t.is(stored.length, 10)
  stored.forEach((value, at) => t.true(value.equals(at % 2 === 0 ? Buffer.from(`small ${at / 2}`) : large)))
})

test('a large command that was refused leaves the window as it was', async (t) => {
  // Takes commands, and answers none of them.
  let bytes = 0
  const silent = await scriptedFor(t, ([name, ...words]) => {
    if (name !== 'SET') return undefined
    bytes += encoded('SET', ...words).length
    return null
  })
  const bulk = pipelineFor(t, { port: silent.port, maxInFlightBytes: 10_000, stallTimeoutMs: 600_000 })
  t.throws(() => bulk.rpush('k', Buffer.alloc(1_000_000), '\ud800'), { code: INVALID })
  t.is(bulk.discard(), 0)
  for (let at = 0; at < 10_000; at++) bulk.set(`k${at}`, 'v')
  const gone = t.throwsAsync(bulk.exec(), { code: 'RESPIPE_CLOSED' })
  // It is written in pieces, of which the next would not fit.
  await until(() => bytes > 5_000)
  t.is(await pipelineFor(t, { port: silent.port }).query('PING'), 'PONG')
  t.true(bulk.stats().inFlightBytes <= 10_000, String(bulk.stats().inFlightBytes))
  t.true(bytes <= 10_000, String(bytes))
  bulk.destroy()
  await gone
})

test('methods of the pipeline itself do not work on what is none', (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  for (const receiver of [undefined, null, {}, 1, [], Object.create(bulk), new Proxy(bulk, {})]) {
    for (const name of ['discard', 'stats', 'destroy'])
      t.throws(() => Reflect.apply(bulk[name]!, receiver, []), { any: true })
  }
  t.is(bulk.length, 0)
})

test('workers append, execute and are terminated meanwhile', async (t) => {
  const scale = { rounds: 2, workers: 4, rows: 500 }
  const { code, signal, stdout, stderr } = await workersThatAppend(server.port, scale)
  t.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})

test('a worker that is terminated while a getter runs leaves nothing behind', async (t) => {
  const source = `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const work = \`
      import { parentPort } from 'node:worker_threads'
      const { bulkPipeline } = await import('${module}')
      const bulk = bulkPipeline({ port: ${server.port} })
      bulk.set('k', 'v').exec()
      bulk.hset('k', { get f() { parentPort.postMessage(1); for (;;); } })
    \`
    const worker = new Worker(work, { eval: true })
    await once(worker, 'message')
    await worker.terminate()
  `
  const { code, signal, stderr } = await runScript({ source })
  t.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
})
