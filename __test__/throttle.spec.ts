// A throttled pipeline never sends more than its limits allow by then. A test that is late sees all the less of that, so
// nothing here depends on anybody's speed. That it is no less either, that it goes out evenly, and what a stall and `retry`
// make of the time it takes, is for `cargo test throttle` and `cargo test pace` to say, which have a clock of their own.
import test, { type ExecutionContext } from './helpers/test.ts'

import type { BulkPipeline, BulkPipelineOptions } from '../index.js'
import { proxyFor } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { encoded } from './helpers/pipelines.ts'
import type { FaultProxy, Position } from './helpers/proxy.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

/** What a limit leaves unused is made up for that much later; a millisecond for the clocks. */
const BURST_MS = 20 + 1

/** So many commands or bytes may have been sent by now. */
function permitted(perSecond: number, start: number): number {
  return 1 + (perSecond * (performance.now() - start + BURST_MS)) / 1_000
}

/** Places at which it is looked whether it is too early for them. */
const LOOKS = 20

/**
 * Looks on from now on, as commands of one name or bytes pass: none of `total` earlier than the limit allows. The end is
 * to be called once all of it is done.
 */
function watch(t: ExecutionContext, proxy: FaultProxy, what: string, total: number, perSecond: number): () => void {
  const start = performance.now()
  const looks = Array.from({ length: LOOKS }, (_, i) => {
    const count = Math.floor((total * (i + 1)) / LOOKS)
    const position: Position = what === 'bytes' ? { bytes: count } : { command: what, nth: count }
    return proxy.at(position, () => {
      const most = permitted(perSecond, start)
      t.true(
        count <= most,
        `${count} of ${what} where ${most} are allowed, ${performance.now() - start} ms after the start`,
      )
    })
  })
  return () => {
    for (const look of looks) t.true(look.hasHappened)
  }
}

/** Behind a proxy, and connected, so that the login does not count. */
async function watchedFor(t: ExecutionContext, options: BulkPipelineOptions) {
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, ...options })
  await bulk.set('warm', 'up').exec()
  return { proxy, bulk }
}

/** Commands of the same size: `HSET tnnnnnn f vvv…`. */
function append(bulk: BulkPipeline, count: number, valueBytes = 8): void {
  const value = 'v'.repeat(valueBytes)
  for (let i = 0; i < count; i++) bulk.hset(`t${String(i % 1000).padStart(6, '0')}`, 'f', value)
}

for (const [perSecond, count] of [
  [1_000, 400],
  [50_000, 20_000],
] as const) {
  test(`${perSecond} commands a second`, async (t) => {
    const { proxy, bulk } = await watchedFor(t, { throttle: { commandsPerSecond: perSecond } })
    const end = watch(t, proxy, 'HSET', count, perSecond)
    append(bulk, count)
    t.is((await resolution(t, bulk.exec())).succeeded, count)
    end()
  })
}

test('1 MB a second, of commands of any size', async (t) => {
  const { proxy, bulk } = await watchedFor(t, { throttle: { bytesPerSecond: 1_000_000 } })
  const sizes = Array.from({ length: 40 }, (_, i) => (i * 7_919) % 20_000)
  const bytes = sizes.reduce((sum, size) => sum + size, 0)
  const end = watch(t, proxy, 'bytes', bytes, 1_000_000)
  for (const [i, size] of sizes.entries()) bulk.set(`key:${i % 10}`, 'x'.repeat(size))
  const outcome = await resolution(t, bulk.exec())
  t.is(outcome.succeeded, 40)
  t.true(outcome.bytes > bytes)
  end()
})

test('both limits hold, each where it is the lower one', async (t) => {
  const { proxy, bulk } = await watchedFor(t, { throttle: { commandsPerSecond: 5_000, bytesPerSecond: 1_000_000 } })
  const ends = [watch(t, proxy, 'HSET', 1_200, 5_000), watch(t, proxy, 'bytes', 240_000, 1_000_000)]
  append(bulk, 1_000)
  append(bulk, 200, 1_000)
  t.is((await resolution(t, bulk.exec())).succeeded, 1_200)
  for (const end of ends) end()
})

test('batches that come one by one keep the rate together', async (t) => {
  const { proxy, bulk } = await watchedFor(t, { throttle: { commandsPerSecond: 2_000 } })
  const end = watch(t, proxy, 'HSET', 600, 2_000)
  for (let i = 0; i < 60; i++) {
    append(bulk, 10)
    await bulk.exec()
  }
  end()
})

const MODES: BulkPipelineOptions[] = [
  { transaction: true },
  { checkpoint: 'throttle:checkpoint' },
  { replies: 'collect' },
  { replies: 'off' },
  { replies: 'off', transaction: true },
  { reconnectEvery: 1 },
  { reconnectEvery: 3, transaction: true },
  { maxInFlightBytes: 100 },
]

for (const options of MODES) {
  const how = JSON.stringify(options)
  test(`the limit holds with ${how}`, async (t) => {
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, throttle: { commandsPerSecond: 1_000 }, ...options })
    const end = watch(t, proxy, 'INCR', 400, 1_000)
    for (let batch = 0; batch < 10; batch++) {
      for (let i = 0; i < 40; i++) bulk.incr(`counter of ${how}`)
      void bulk.exec()
    }
    const summary = await resolution(t, bulk.close())
    end()
    t.is(summary.commands, 400)
    t.is(options.replies === 'off' ? summary.unknown : summary.succeeded, 400)
    t.is(await client.get(`counter of ${how}`), '400')
    if (options.reconnectEvery !== undefined) t.true(summary.reconnects >= 2, String(summary.reconnects))
  })
}

test('what is sent again counts again', async (t) => {
  const { proxy, bulk } = await watchedFor(t, { throttle: { commandsPerSecond: 1_000 } })
  const start = performance.now()
  proxy.swallowReplies()
  const fault = proxy.at({ command: 'HSET', nth: 200 }, async (link) => {
    link.cut('reset')
    await proxy.heal()
  })
  append(bulk, 300)
  const outcome = await resolution(t, bulk.exec())
  t.true(fault.hasHappened)
  t.is(outcome.succeeded, 300)
  const { resent } = bulk.stats()
  t.true(resent >= 200, String(resent))
  t.true(300 + resent <= permitted(1_000, start), `${performance.now() - start} ms, ${resent} sent again`)
})

test('a server that does not answer is stalled all the same', async (t) => {
  const { port } = await scriptedFor(t, ([name]) => (name === 'SET' ? null : undefined))
  const throttle = { commandsPerSecond: 100 }
  const bulk = bulkFor(t, { port, throttle, stallTimeoutMs: 150, retry: { attempts: 0 }, maxInFlightBytes: 60 })
  for (let i = 0; i < 50; i++) bulk.set('key', 'value')
  await rejection(t, bulk.exec(), 'RESPIPE_STALLED')
})

test('destroy, a signal and a query do not wait for the throttle', async (t) => {
  // Which would take hours.
  const commands = 10_000
  const controller = new AbortController()
  const options = { port: server.port, throttle: { commandsPerSecond: 1 } }
  const start = performance.now()
  const destroyed = bulkFor(t, options)
  const aborted = bulkFor(t, { ...options, signal: controller.signal })
  const pending = [destroyed, aborted].map((bulk) => {
    append(bulk, commands)
    return bulk.exec()
  })
  t.is(await destroyed.query('PING'), 'PONG')
  await until(() => [destroyed, aborted].every((bulk) => bulk.stats().succeeded > 0))
  destroyed.destroy()
  controller.abort()
  const [closed, cut] = [
    await rejection(t, pending[0]!, 'RESPIPE_CLOSED'),
    await rejection(t, pending[1]!, 'RESPIPE_ABORTED'),
  ]
  for (const { outcome } of [closed, cut]) {
    t.true(outcome.succeeded >= 1 && outcome.succeeded + outcome.unknown <= permitted(1, start))
    t.is(outcome.failed + outcome.unknown, commands - outcome.succeeded)
  }
  await Promise.all([destroyed.close(), aborted.close()])
})

/** Appends until there is no room; tells how many bytes that were. */
function fill(t: ExecutionContext, bulk: BulkPipeline): number {
  for (let commands = 0; ; commands++) {
    try {
      append(bulk, 1)
    } catch (error) {
      t.like(error, { code: 'RESPIPE_BUFFER_FULL' })
      return commands * encoded('HSET', 't000000', 'f', 'vvvvvvvv').length
    }
  }
}

test('appending goes on up to the ceiling', (t) => {
  const bulk = bulkFor(t, {
    port: server.port,
    autoExec: { bytes: 1_000 },
    maxBufferedBytes: 100_000,
    throttle: { bytesPerSecond: 1 },
  })
  fill(t, bulk)
  t.true(bulk.needsDrain)
  t.true(bulk.stats().bufferedBytes > 80_000)
})

test('drain tells when there is room, and not before', async (t) => {
  const start = performance.now()
  const bulk = bulkFor(t, {
    port: server.port,
    autoExec: { bytes: 1_000 },
    maxBufferedBytes: 50_000,
    throttle: { bytesPerSecond: 100_000 },
  })
  const bytes = fill(t, bulk)
  await bulk.drain()
  t.false(bulk.needsDrain)
  const { bufferedBytes } = bulk.stats()
  t.true(bufferedBytes <= 25_000, String(bufferedBytes))
  t.true(bytes - bufferedBytes <= permitted(100_000, start), `${bytes} bytes, ${bufferedBytes} of them left`)
})

test('a load keeps the rate, and the ceiling', async (t) => {
  const { proxy, bulk } = await watchedFor(t, { maxBufferedBytes: 10_000, throttle: { commandsPerSecond: 4_000 } })
  const end = watch(t, proxy, 'SET', 1_600, 4_000)
  let most = 0
  function* rows() {
    for (let id = 0; id < 1_600; id++) {
      yield { id }
      most = Math.max(most, bulk.stats().bufferedBytes)
    }
  }
  const summary = await resolution(t, bulk.load(rows(), 'SET row:{id} {id}'))
  t.is(summary.succeeded, 1_600)
  t.true(most <= 10_000, String(most))
  end()
})
