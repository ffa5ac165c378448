// `replies: 'off'` with larger loads, and with the real clock.

import test from '../helpers/test.ts'
import { proxyFor, watchedFor } from '../helpers/loads.ts'
import { resolution } from '../helpers/outcomes.ts'
import { arrives, isUnknown, numbered, silent } from '../helpers/silence.ts'

for (const transaction of [false, true]) {
  for (const [window, maxInFlightBytes] of [
    ['one window', 64 << 20],
    ['many windows', 16 << 10],
  ] as const) {
    const how = transaction ? ', in transactions' : ''
    test(`500,000 commands over ${window}${how} are all there, and all unknown`, (t) =>
      arrives(t, 500_000, { transaction, maxInFlightBytes }))
  }
}

test('60 MB on a slow way are no stall', async (t) => {
  const { client, port } = await watchedFor(t)
  const proxy = await proxyFor(t, { port })
  // What the system has taken and not passed on is some MB: a second or two.
  const bulk = silent(t, { port: proxy.port, stallTimeoutMs: 10_000, retry: { attempts: 0 } })
  await numbered(bulk, 1).exec()
  proxy.throttle(4_000_000)
  const start = performance.now()
  isUnknown(t, await resolution(t, bulk.set('large', Buffer.alloc(60_000_000, 'x')).exec()), 1)
  t.true(performance.now() - start > 10_000)
  t.is(await client.strlen('large'), 60_000_000)
  t.is((await bulk.close()).reconnects, 0)
})
