// Loads with `replies: 'off'`.

import type { ExecutionContext } from 'ava'
import type { Redis } from 'ioredis'
import type { BulkPipeline, BulkPipelineOptions, Outcome } from '../../index.js'
import { watchedFor } from './loads.ts'
import { bulkFor, resolution } from './outcomes.ts'

export function silent(t: ExecutionContext, options: BulkPipelineOptions): BulkPipeline {
  return bulkFor(t, { replies: 'off', ...options })
}

/** Nothing is known of any of them. */
export function isUnknown(t: ExecutionContext, outcome: Outcome, commands: number): void {
  t.like(outcome, { commands, succeeded: 0, failed: 0, unknown: commands, errors: {}, failures: [] })
}

/** `count` keys from `first` on, each with its number. */
export function numbered(bulk: BulkPipeline, count: number, first = 0): BulkPipeline {
  for (let i = first; i < first + count; i++) bulk.set(`key:${i}`, i)
  return bulk
}

/** The server has so many of them, and nothing else. */
export async function areThere(t: ExecutionContext, client: Redis, count: number): Promise<void> {
  t.is(await client.dbsize(), count)
  for (let from = 0; from < count; from += 10_000) {
    const numbers = Array.from({ length: Math.min(10_000, count - from) }, (_, i) => from + i)
    const values = await client.mget(numbers.map((i) => `key:${i}`))
    t.true(
      values.every((value, i) => value === String(numbers[i])),
      `from ${from} on`,
    )
  }
}

/** One batch of so many commands is there as soon as its promise resolves. */
export async function arrives(t: ExecutionContext, count: number, options: BulkPipelineOptions): Promise<void> {
  const { client, port } = await watchedFor(t)
  const bulk = silent(t, { port, ...options })
  isUnknown(t, await resolution(t, numbered(bulk, count).exec()), count)
  // By now, not some time later.
  await areThere(t, client, count)
  const summary = await resolution(t, bulk.close())
  isUnknown(t, summary, count)
  t.like(summary, { batches: 1, reconnects: 0, resent: 0, serverErrorReplies: 0 })
}
