// What a throttled pipeline sends in a second, and how evenly. One test at a time: they are about time.
import test, { type ExecutionContext } from './helpers/test.ts'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

import type { BulkPipeline, BulkPipelineOptions } from '../index.js'
import { bulkFor, rejection, resolution } from './helpers/outcomes.ts'
import { startProxy } from './helpers/proxy.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

/** Notes when what goes to the server arrives, between a pipeline and the server. */
class Meter {
  port = 0
  /** Bytes that came, each with the time in milliseconds. */
  arrivals: { at: number; bytes: number }[] = []
  /** When this thread itself was late, and for how long: what it noted then had waited. */
  lags: { at: number; ms: number }[] = []

  async start(t: ExecutionContext): Promise<this> {
    const proxy = createServer({ noDelay: true }, (socket) => {
      const upstream = connect({ port: server.port, host: server.host, noDelay: true })
      socket.on('data', (chunk) => this.arrivals.push({ at: performance.now(), bytes: chunk.length }))
      socket.pipe(upstream).pipe(socket)
      for (const end of [socket, upstream]) end.on('error', () => {})
    })
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    this.port = (proxy.address() as AddressInfo).port
    let last = performance.now()
    const clock = setInterval(() => {
      const now = performance.now()
      if (now - last > 15) this.lags.push({ at: now, ms: now - last })
      last = now
    }, 5)
    t.teardown(() => {
      clearInterval(clock)
      proxy.close()
    })
    return this
  }

  restart(): void {
    this.arrivals = []
    this.lags = []
  }

  /** From the first arrival to the last, in seconds. */
  get seconds(): number {
    return (this.arrivals.at(-1)!.at - this.arrivals[0]!.at) / 1000
  }

  get lostSeconds(): number {
    return this.lags.reduce((sum, { ms }) => sum + ms, 0) / 1000
  }

  /** The most bytes of any 100 ms, but for those in which this thread was late. */
  get most(): number {
    let most = 0
    for (const { at: start } of this.arrivals) {
      if (this.lags.some(({ at, ms }) => at > start && at - ms < start + 100)) continue
      const within = this.arrivals.filter(({ at }) => at >= start && at < start + 100)
      most = Math.max(
        most,
        within.reduce((sum, { bytes }) => sum + bytes, 0),
      )
    }
    return most
  }
}

/** Connected, and nothing of the login counts. */
async function meteredFor(t: ExecutionContext, options: BulkPipelineOptions) {
  const meter = await new Meter().start(t)
  const bulk = bulkFor(t, { port: meter.port, ...options })
  await bulk.set('warm', 'up').exec()
  await delay(50)
  meter.restart()
  return { meter, bulk }
}

/** Commands of the same size: `HSET tnnnnnn f vvv…`. */
function append(bulk: BulkPipeline, count: number, valueBytes = 8): void {
  const value = 'v'.repeat(valueBytes)
  for (let i = 0; i < count; i++) bulk.hset(`t${String(i % 1000).padStart(6, '0')}`, 'f', value)
}

/** At most 5 % more than the limit, and at least 5 % less but for the time that the machine took. */
function holds(t: ExecutionContext, meter: Meter, seconds: number): void {
  const took = `${meter.seconds} s in place of ${seconds}, ${meter.lostSeconds} lost`
  t.true(meter.seconds > seconds * 0.95, took)
  t.true(meter.seconds < seconds * 1.05 + meter.lostSeconds, took)
}

for (const perSecond of [1_000, 50_000]) {
  test.serial(`${perSecond} commands a second`, async (t) => {
    const { meter, bulk } = await meteredFor(t, { throttle: { commandsPerSecond: perSecond } })
    append(bulk, perSecond * 3)
    const outcome = await resolution(t, bulk.exec())
    t.is(outcome.succeeded, perSecond * 3)
    holds(t, meter, 3)
    const size = outcome.bytes / outcome.commands
    t.true(meter.most / size < perSecond * 0.15, `${meter.most / size} in 100 ms`)
  })
}

test.serial('1 MB a second, of commands of any size', async (t) => {
  const { meter, bulk } = await meteredFor(t, { throttle: { bytesPerSecond: 1_000_000 } })
  for (let i = 0; i < 300; i++) bulk.set(`key:${i % 10}`, 'x'.repeat((i * 7_919) % 20_000))
  const outcome = await resolution(t, bulk.exec())
  t.is(outcome.succeeded, 300)
  holds(t, meter, outcome.bytes / 1_000_000)
  t.true(meter.most < 150_000, `${meter.most} bytes in 100 ms`)
})

test.serial('both limits hold, each where it is the lower one', async (t) => {
  const { meter, bulk } = await meteredFor(t, { throttle: { commandsPerSecond: 5_000, bytesPerSecond: 1_000_000 } })
  append(bulk, 7_500)
  append(bulk, 1_500, 1_000)
  const outcome = await resolution(t, bulk.exec())
  t.is(outcome.succeeded, 9_000)
  const small = (outcome.bytes - 1_500 * 995) / 9_000
  holds(t, meter, 1.5 + (1_500 * (small + 995)) / 1_000_000)
  t.true(meter.most < 150_000, `${meter.most} bytes in 100 ms`)
})

test.serial('batches that come one by one keep the rate together', async (t) => {
  const { meter, bulk } = await meteredFor(t, { throttle: { commandsPerSecond: 2_000 } })
  for (let i = 0; i < 100; i++) {
    append(bulk, 20)
    await bulk.exec()
  }
  holds(t, meter, 1)
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
  test.serial(`the limit holds with ${JSON.stringify(options)}`, async (t) => {
    await client.del('counter')
    const bulk = bulkFor(t, { port: server.port, throttle: { commandsPerSecond: 2_000 }, ...options })
    await bulk.exec()
    const start = performance.now()
    for (let batch = 0; batch < 10; batch++) {
      for (let i = 0; i < 100; i++) bulk.incr('counter')
      void bulk.exec()
    }
    const summary = await resolution(t, bulk.close())
    const took = performance.now() - start
    // A burst of 20 ms is free.
    t.true(took > 470, `${took} ms`)
    t.is(summary.commands, 1_000)
    t.is(options.replies === 'off' ? summary.unknown : summary.succeeded, 1_000)
    t.is(await client.get('counter'), '1000')
    if (options.reconnectEvery !== undefined) t.true(summary.reconnects >= 2, String(summary.reconnects))
  })
}

test.serial('what is sent again counts again', async (t) => {
  const proxy = await startProxy({ port: server.port })
  t.teardown(() => proxy.stop())
  const bulk = bulkFor(t, { port: proxy.port, throttle: { commandsPerSecond: 1_000 } })
  await bulk.set('warm', 'up').exec()
  proxy.swallowReplies()
  const start = performance.now()
  append(bulk, 600)
  const done = bulk.exec()
  await delay(400)
  proxy.resetAll()
  await proxy.heal()
  const outcome = await resolution(t, done)
  const took = performance.now() - start
  t.is(outcome.succeeded, 600)
  const { resent } = bulk.stats()
  t.true(resent > 200, String(resent))
  t.true(took > 600 + resent - 80, `${took} ms, ${resent} sent again`)
})

test.serial('who is held back by the throttle is not stalled', async (t) => {
  const options = { port: server.port, stallTimeoutMs: 60 }
  const slow = bulkFor(t, { ...options, throttle: { commandsPerSecond: 4 } })
  append(slow, 4)
  t.is((await resolution(t, slow.close())).reconnects, 0)

  const large = bulkFor(t, { ...options, throttle: { bytesPerSecond: 100_000 } })
  const start = performance.now()
  t.is((await resolution(t, large.set('large', 'x'.repeat(60_000)).close())).reconnects, 0)
  t.true(performance.now() - start > 550)

  const inch = bulkFor(t, { ...options, throttle: { bytesPerSecond: 10 } })
  const begun = inch.set('k', '1').exec()
  await delay(500)
  t.deepEqual([inch.stats().connected, inch.stats().reconnects], [true, 0])
  inch.destroy()
  await rejection(t, begun, 'RESPIPE_CLOSED')

  const silent = bulkFor(t, { ...options, throttle: { commandsPerSecond: 5 }, replies: 'off' })
  append(silent, 3)
  t.is((await resolution(t, silent.close())).reconnects, 0)
})

test.serial('the time that the throttle takes does not use up retry', async (t) => {
  const proxy = await startProxy({ port: server.port })
  t.teardown(() => proxy.stop())
  const retry = { maxElapsedMs: 250 }
  const bulk = bulkFor(t, { port: proxy.port, retry, transaction: true, throttle: { commandsPerSecond: 100 } })
  append(bulk, 60)
  const done = bulk.exec()
  await delay(450)
  proxy.resetAll()
  t.is((await resolution(t, done)).succeeded, 60)
  t.is(bulk.stats().reconnects, 1)
})

test.serial('a server that does not answer is stalled all the same', async (t) => {
  const { port } = await scriptedFor(t, ([name]) => (name === 'SET' ? null : undefined))
  const throttle = { commandsPerSecond: 100 }
  const bulk = bulkFor(t, { port, throttle, stallTimeoutMs: 150, retry: { attempts: 0 }, maxInFlightBytes: 60 })
  for (let i = 0; i < 50; i++) bulk.set('key', 'value')
  await rejection(t, bulk.exec(), 'RESPIPE_STALLED')
})

test.serial('destroy, a signal and a query do not wait for the throttle', async (t) => {
  const controller = new AbortController()
  const options = { port: server.port, throttle: { commandsPerSecond: 5 } }
  const destroyed = bulkFor(t, options)
  const aborted = bulkFor(t, { ...options, signal: controller.signal })
  const pending = [destroyed, aborted].map((bulk) => {
    append(bulk, 100)
    return bulk.exec()
  })
  t.is(await destroyed.query('PING'), 'PONG')
  await delay(450)
  const start = performance.now()
  destroyed.destroy()
  controller.abort()
  const [closed, cut] = [
    await rejection(t, pending[0]!, 'RESPIPE_CLOSED'),
    await rejection(t, pending[1]!, 'RESPIPE_ABORTED'),
  ]
  t.true(performance.now() - start < 150)
  for (const { outcome } of [closed, cut]) {
    t.true(outcome.succeeded >= 2 && outcome.succeeded <= 4, String(outcome.succeeded))
    t.is(outcome.failed + outcome.unknown, 100 - outcome.succeeded)
  }
  await Promise.all([destroyed.close(), aborted.close()])
})

test.serial('appending goes on up to the ceiling, and drain tells when there is room', async (t) => {
  const bulk = bulkFor(t, {
    port: server.port,
    autoExec: { bytes: 1_000 },
    maxBufferedBytes: 100_000,
    throttle: { bytesPerSecond: 200_000 },
  })
  const start = performance.now()
  t.throws(() => append(bulk, 10_000), { code: 'RESPIPE_BUFFER_FULL' })
  t.true(bulk.needsDrain)
  t.true(bulk.stats().bufferedBytes > 80_000)
  await bulk.drain()
  const took = performance.now() - start
  t.true(took > 350, `${took} ms`)
  t.false(bulk.needsDrain)
})

test.serial('a load keeps the rate, and the ceiling', async (t) => {
  const { meter, bulk } = await meteredFor(t, { maxBufferedBytes: 50_000, throttle: { commandsPerSecond: 4_000 } })
  const rows = Array.from({ length: 6_000 }, (_, id) => ({ id }))
  const summary = await resolution(t, bulk.load(rows, 'SET row:{id} {id}'))
  t.is(summary.succeeded, 6_000)
  holds(t, meter, 1.5)
})
