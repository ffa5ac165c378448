// Exactly once, over many losses: small versions of these are in `checkpoint.spec.ts` and `checkpoint-faults.spec.ts`.
import { survivesClientKills, survivesCuts, survivesKills } from '../helpers/exact.ts'
import test from '../helpers/test.ts'

for (const [direction, seed] of [
  ['up', 107],
  ['down', 108],
] as const) {
  test(`1,000 connections cut at any byte ${direction}, each batch is done once`, async (t) => {
    await survivesCuts(t, { count: 1_000, direction, seed })
  })
}

test('kill -9 in mid-load, 30 times: counters are exact', async (t) => {
  await survivesKills(t, 30, { batches: 300, size: 300, seed: 127 })
})

test('200 connections ended by CLIENT KILL in mid-load: counters are exact', async (t) => {
  await survivesClientKills(t, 200, { batches: 700, size: 100, seed: 128 })
})
