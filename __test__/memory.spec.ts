// What a pipeline holds, as stats() tells it: to the byte. What it takes in memory is measured in long/memory.spec.ts.
import test from './helpers/test.ts'

import { proxyFor, serverFor } from './helpers/loads.ts'
import { bulkFor, resolution, until } from './helpers/outcomes.ts'
import { encoded } from './helpers/pipelines.ts'
import { scriptedFor } from './helpers/scripted.ts'

for (const [title, value] of [
  ['short commands', 'value'],
  ['commands of 1 kB, not ASCII', 'ä'.repeat(500)],
  ['commands larger than a segment', Buffer.alloc(300_000)],
] as const) {
  const bytes = encoded('SET', 'key', value).length

  test(`what is held is what stats() says: ${title}`, async (t) => {
    const nobody = await scriptedFor(t, { silent: true })
    const bulk = bulkFor(t, { port: nobody.port, connectTimeoutMs: 1_000_000 })
    const held = () => {
      const { bufferedBytes, inFlightBytes } = bulk.stats()
      return bufferedBytes + inFlightBytes
    }
    t.is(held(), 0)
    const results: Promise<unknown>[] = []
    for (let batch = 1; batch <= 3; batch++) {
      for (let i = 1; i <= 10; i++) {
        bulk.set('key', value)
        t.is(held(), (10 * (batch - 1) + i) * bytes)
      }
      results.push(bulk.exec())
      t.is(held(), 10 * batch * bytes)
    }
    // What is appended and dropped is not held, nor is what a pipeline that ended had.
    bulk.set('key', value).discard()
    t.is(held(), 30 * bytes)
    bulk.destroy()
    await Promise.allSettled(results)
    t.is(held(), 0)
  })

  test(`what is written is in flight until it is answered: ${title}`, async (t) => {
    const proxy = await proxyFor(t, await serverFor(t))
    const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 8_000_000 })
    await bulk.ping().exec()
    let inFlight = 0
    const fault = proxy.at({ bytes: 0, direction: 'down' }, async () => {
      await until(() => bulk.stats().inFlightBytes > 10 * bytes)
      inFlight = bulk.stats().inFlightBytes
    })
    for (let i = 0; i < 10; i++) bulk.set('key', value)
    await resolution(t, bulk.exec())
    t.true(fault.hasHappened)
    // With the fence behind them.
    t.is(inFlight, 10 * bytes + encoded('ECHO', 'x'.repeat(32)).length)
    t.like(bulk.stats(), { bufferedBytes: 0, inFlightBytes: 0 })
  })
}
