import test, { type ExecutionContext } from './helpers/test.ts'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { type BulkPipeline, type BulkPipelineOptions, RespipeError } from '../index.js'
import { proxyFor } from './helpers/loads.ts'
import { bulkFor, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

// Promises that note whether anyone handles them: what nobody heard of is thrown once, by the next promise.

const { server } = await sharedServer()
/** Where nothing listens, and nothing ever will: whatever is executed there is given up at once. */
const nowhere = { port: 1, retry: { attempts: 0 } }

function open(t: ExecutionContext, options: BulkPipelineOptions = nowhere) {
  return bulkFor(t, options)
}

/** Waits until a promise is settled, by a look that is no handler. */
async function settled(promise: Promise<unknown>): Promise<void> {
  await until(() => !inspect(promise).includes('<pending>'))
}

/** Waits until work was given up of which no promise tells. */
async function givenUp(bulk: BulkPipeline): Promise<void> {
  await new Promise((resolve) => bulk.once('error', resolve))
}

/** What `drain` throws: unlike the others it does not wait for what was given up to be told. */
async function thrownByDrain(bulk: BulkPipeline): Promise<RespipeError> {
  let thrown: RespipeError | undefined
  await until(async () => {
    thrown = await bulk.drain().then(
      () => undefined,
      (error: RespipeError) => error,
    )
    return thrown !== undefined
  })
  return thrown as RespipeError
}

const connect = { instanceOf: RespipeError, code: 'RESPIPE_CONNECT' }

test('a rejection that nobody handles does not end the process', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { inspect } from 'node:util'
    import { bulkPipeline } from './index.js'
    process.on('unhandledRejection', () => console.log('unhandled'))
    process.on('uncaughtException', () => console.log('uncaught'))
    process.on('warning', ({ message }) => console.log(message))
    const bulk = bulkPipeline({ port: Number(process.argv[1]), retry: { attempts: 0, firstConnect: 0 }, autoExec: { commands: 2 } })
    // A look that is no handler.
    const settled = async (promise) => {
      while (inspect(promise).includes('<pending>')) await delay(1)
    }
    for (const work of ['exec', 'sync']) {
      bulk.set('key', 1)
      await settled(bulk[work]())
      await settled(bulk.drain())
    }
    bulk.set('a', 1).set('b', 2)
    while (bulk.stats().failed < 4) await delay(1)
    bulk.set('key', 1)
    void bulk.exec()
    await settled(bulk.close())
    await settled(bulk.exec())
    setTimeout(() => console.log('alive'), 10)
  `
  for (const nodeArgs of [['--unhandled-rejections=strict'], []]) {
    const result = await runScript({ source }, { args: [String(nowhere.port)], nodeArgs })
    t.deepEqual([result.stdout, result.stderr, result.code], ['alive\n', '', 0])
  }
})

for (const next of ['exec', 'drain', 'sync', 'close'] as const) {
  test(`the first rejection that nobody handled is thrown once, by ${next}`, async (t) => {
    const bulk = open(t)
    for (const commands of [1, 2]) {
      for (let index = 0; index < commands; index++) bulk.set('key', index)
      await settled(bulk.exec())
    }
    const error = await t.throwsAsync<RespipeError>(bulk[next](), connect)
    t.is(error.outcome?.commands, 1)
    if (next === 'close') await t.throwsAsync(bulk.exec(), { code: 'RESPIPE_CLOSED' })
    else for (const method of ['exec', 'drain', 'sync', 'close'] as const) await t.notThrowsAsync(bulk[method]())
  })
}

test('a batch is executed even where its promise throws what came before', async (t) => {
  const proxy = await proxyFor(t, server)
  const fault = proxy.at({ bytes: 0 }, 'reset')
  const bulk = open(t, { port: proxy.port, retry: { attempts: 0, firstConnect: 0 } })
  await settled(bulk.set('early', 1).exec())
  t.true(fault.hasHappened)
  await t.throwsAsync(bulk.set('late', 1).exec(), connect)
  const { succeeded, failed } = await bulk.sync()
  t.deepEqual({ succeeded, failed }, { succeeded: 1, failed: 1 })
})

test('a rejection that comes while the next promise waits is thrown by that', async (t) => {
  const held: Socket[] = []
  const scripted = await scriptedFor(t, { onConnection: (socket) => held.push(socket) })
  const retry = { attempts: 0, firstConnect: 0 }
  const bulk = open(t, { port: scripted.port, retry, maxBufferedBytes: 1_000, connectTimeoutMs: 600_000 })
  void bulk.set('key', 'x'.repeat(500)).exec()
  const drained = bulk.drain()
  await until(() => held.length === 1)
  held[0]?.end()
  await t.throwsAsync(drained, connect)
  await bulk.close()
})

test('a rejection goes from promise to promise until somebody handles one of them', async (t) => {
  const bulk = open(t)
  await settled(bulk.set('key', 1).exec())
  const promises = []
  for (const method of ['drain', 'exec', 'sync'] as const) {
    const promise = bulk[method]()
    promises.push(promise)
    await settled(promise)
  }
  await t.throwsAsync(bulk.exec(), connect)
  for (const promise of promises) await t.throwsAsync<Error>(promise, connect)
  await t.notThrowsAsync(bulk.close())
})

const ways: [string, (promise: Promise<unknown>) => Promise<unknown>][] = [
  [
    'await',
    async (promise) => {
      try {
        await promise
      } catch {}
    },
  ],
  ['then', (promise) => promise.then(null, () => {})],
  ['catch', (promise) => promise.catch(() => {})],
  ['finally', (promise) => promise.finally(() => {}).catch(() => {})],
  ['Promise.all', (promise) => Promise.all([promise, 1]).catch(() => {})],
  ['Promise.race', (promise) => Promise.race([promise, delay(10_000, 1, { ref: false })]).catch(() => {})],
  ['Promise.allSettled', (promise) => Promise.allSettled([promise, 1])],
  ['an async function', (promise) => (async () => promise)().catch(() => {})],
]

for (const [way, handled] of ways) {
  test(`what ${way} handles does not come back`, async (t) => {
    const bulk = open(t)
    await handled(bulk.set('key', 1).exec())
    await handled(bulk.set('key', 1).sync())
    await t.notThrowsAsync(bulk.drain())

    // Late, when it was rejected long ago.
    const late = bulk.set('key', 1).exec()
    await settled(late)
    await handled(late)
    await t.notThrowsAsync(bulk.exec())
    await t.notThrowsAsync(bulk.close())
  })
}

test('an automatic batch that is given up is thrown once too, and told whole by exec', async (t) => {
  for (const next of ['exec', 'drain', 'sync', 'close'] as const) {
    const bulk = open(t, { ...nowhere, autoExec: { commands: 2 } })
    const given = givenUp(bulk)
    bulk.set('a', 1).set('b', 2)
    await given
    bulk.set('c', 3)
    const error =
      next === 'drain' ? await thrownByDrain(bulk) : await t.throwsAsync<RespipeError>(bulk[next](), connect)
    t.is(error.code, connect.code)
    const { commands, failed } = error.outcome ?? t.fail()
    t.deepEqual({ commands, failed }, next === 'drain' ? { commands: 2, failed: 2 } : { commands: 3, failed: 3 })
    if (next === 'close') continue
    if (next === 'drain') {
      // It was thrown already: what is left of it is data.
      const later = await Promise.allSettled([bulk.exec()])
      t.is(later[0]?.status === 'rejected' ? later[0].reason.outcome.commands : 0, 3)
    }
    await t.notThrowsAsync(bulk.close())
  }
})

test('an automatic batch that drain has thrown is data for the next exec', async (t) => {
  const bulk = open(t, { ...nowhere, autoExec: { commands: 2 } })
  bulk.set('a', 1).set('b', 2)
  t.is((await thrownByDrain(bulk)).code, connect.code)
  t.like(await bulk.exec(), { commands: 2, failed: 2 })
  t.like(await bulk.exec(), { commands: 0 })
})

test('methods that return promises never throw at once', async (t) => {
  const bulk = open(t)
  const symbol = Symbol('no argument') as never
  const calls: [string, () => Promise<unknown>][] = [
    ['RESPIPE_INVALID_ARGUMENT', () => (bulk.query as () => Promise<unknown>)()],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query(symbol)],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query('GET', symbol)],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query('GET', ['ok', symbol])],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query('GET', '\ud800')],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query('GET', {} as never)],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.query('no name\r\n')],
    ['RESPIPE_FORBIDDEN_COMMAND', () => bulk.query('SUBSCRIBE', 'channel')],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.load(symbol, symbol)],
    ['RESPIPE_INVALID_ARGUMENT', () => bulk.importFile(symbol, symbol)],
    ['RESPIPE_INVALID_OPTION', () => bulk.lastCheckpoint()],
    ['RESPIPE_CONNECT', () => open(t, { ...nowhere, checkpoint: 'key' }).lastCheckpoint()],
  ]
  for (const [code, call] of calls) {
    const promise = call()
    await t.throwsAsync(promise, { instanceOf: RespipeError, code })
  }
  for (const method of ['exec', 'sync', 'drain', 'close'] as const) {
    await t.notThrowsAsync((bulk[method] as (extra: unknown) => Promise<unknown>)(symbol))
  }
  for (const method of ['exec', 'sync', 'drain'] as const) {
    const promise = bulk[method]()
    await t.throwsAsync(promise, { instanceOf: RespipeError, code: 'RESPIPE_CLOSED' })
  }
})

test('what then, catch and finally return is a plain promise', async (t) => {
  const bulk = open(t, { port: server.port })
  const promise = bulk.exec()
  t.true(promise instanceof Promise)
  for (const derived of [promise.then((result) => result), promise.catch(() => {}), promise.finally(() => {})]) {
    t.is(Object.getPrototypeOf(derived), Promise.prototype)
    await derived
  }
})

test('an unhandled rejection of a promise that is derived is the ordinary kind', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { inspect } from 'node:util'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]), retry: { attempts: 0, firstConnect: 0 } })
    const promise = bulk.set('key', 1).exec()
    promise.then(() => {})
    // A look that is no handler. In the turn behind the rejection there is nobody left to go on.
    while (inspect(promise).includes('<pending>')) await delay(1)
    await delay(1)
    console.log('alive')
  `
  const { code, stdout, stderr } = await runScript({ source }, { args: [String(nowhere.port)] })
  t.deepEqual([code, stdout], [1, ''])
  t.regex(stderr, /RESPIPE_CONNECT/)
})

test('refused commands are no rejection', async (t) => {
  const bulk = open(t, { port: server.port })
  const { failed } = await bulk.set('text', 'x').lpush('text', 1).exec()
  t.is(failed, 1)
  await t.notThrowsAsync(bulk.close())
})

test('of many promises each tells of its own batch', async (t) => {
  const scripted = await scriptedFor(t, ([name, key = '']) =>
    name === 'SET' && key > '4' ? resp.error(key) : undefined,
  )
  const bulk = open(t, { port: scripted.port })
  const batches = Array.from({ length: 10 }, (_, key) => bulk.set(String(key), '').exec())
  const outcomes = await Promise.all(batches)
  t.deepEqual(
    outcomes.map(({ failures }) => failures.map(({ index, code }) => [index, code]).flat()),
    outcomes.map((_, key) => (key > 4 ? [0, String(key)] : [])),
  )
})

test('a rejection that is handled in the turn in which it comes does not come back through a drain', async (t) => {
  const bulk = open(t, { ...nowhere, maxBufferedBytes: 10_000 })
  const fill = () => {
    for (let index = 0; index < 30; index++) bulk.set('key', 'v'.repeat(50))
    return bulk.exec()
  }
  const first = fill()
  const second = fill()
  const drained = bulk.drain()
  await t.throwsAsync(first, { code: 'RESPIPE_CONNECT' })
  await t.throwsAsync(second, { code: 'RESPIPE_CONNECT' })
  await t.notThrowsAsync(drained)
  await t.notThrowsAsync(bulk.close())
})

test('queries and what is not there yet reject without ending the process', async (t) => {
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]), retry: { attempts: 0, firstConnect: 0 } })
    bulk.query('PING')
    bulk.query('SELECT', 1)
    bulk.load([], () => {})
    bulk.importFile('file', null)
    bulk.lastCheckpoint()
    setTimeout(() => console.log('alive'), 300)
  `
  const { code, stdout } = await runScript({ source }, { args: [String(nowhere.port)] })
  t.deepEqual([code, stdout], [0, 'alive\n'])
})
