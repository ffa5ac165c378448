import type { ExecutionContext } from 'ava'
import { inspect } from 'node:util'
import { bulkPipeline, RespipeError } from '../../index.js'
import type { BulkPipeline, BulkPipelineOptions, Outcome } from '../../index.js'
import { noteForFailure, waitingFor } from './test.ts'

/** A pipeline that ends with its test. Delays are short; how often it tries is the test's to say. */
export function bulkFor(t: ExecutionContext, options: BulkPipelineOptions): BulkPipeline {
  const bulk = bulkPipeline({ ...options, retry: { minDelayMs: 1, maxDelayMs: 20, ...options.retry } })
  t.teardown(() => bulk.destroy())
  return bulk
}

/** Every command is accounted for, and every failure has its code. */
export function addsUp(t: ExecutionContext, outcome: Outcome): void {
  const { commands, succeeded, failed, unknown, errors, failures } = outcome
  const counts = { commands, succeeded, failed, unknown }
  t.is(commands, succeeded + failed + unknown, inspect(counts))
  for (const [name, count] of Object.entries(counts)) t.true(Number.isInteger(count) && count >= 0, `${name}: ${count}`)
  const counted = Object.values(errors).reduce((sum, count) => sum + count, 0)
  t.is(counted, failed, inspect(errors))
  t.true(failures.length <= failed)
  for (const { index } of failures) t.true(index >= 0 && index < commands, `index ${index} of ${commands}`)
}

/** What the promise resolves to. */
export async function resolution<T extends Outcome>(t: ExecutionContext, promise: Promise<T>): Promise<T> {
  const outcome = await waitingFor('a promise that resolves', promise)
  addsUp(t, outcome)
  return outcome
}

/** The error that the promise rejects with. Its outcome adds up. */
export async function rejection(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: string | RegExp,
): Promise<RespipeError & { outcome: Outcome }> {
  const settled = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  const result = await waitingFor(`a promise that rejects with ${code}`, settled)
  if ('value' in result) throw new Error(`resolved instead of ${code}: ${inspect(result.value)}`)
  const { error } = result
  if (!(error instanceof RespipeError)) throw error
  t.true(typeof code === 'string' ? error.code === code : code.test(error.code), `${error.code}: ${error.message}`)
  if (error.outcome === undefined) throw new Error(`no outcome with ${inspect(error)}`)
  addsUp(t, error.outcome)
  return error as RespipeError & { outcome: Outcome }
}

/** An error's message without the counts behind it. */
export function reasonOf({ message }: { message: string }): string {
  return message.replace(/ \(of \d+ commands .*\)$/, '')
}

/**
 * What becomes of work that nothing keeps from being done, with a `stallTimeoutMs` that a busy machine may need longer than:
 * it is tried until it does not. A stall takes its time: one that is told sooner would be that of the work before.
 */
export async function goesOn<T extends Outcome>(
  t: ExecutionContext,
  stallTimeoutMs: number,
  exec: () => Promise<T>,
): Promise<T> {
  for (;;) {
    const start = performance.now()
    try {
      return await resolution(t, exec())
    } catch (error) {
      if (!(error instanceof RespipeError && error.code === 'RESPIPE_STALLED')) throw error
      const took = performance.now() - start
      t.true(took >= stallTimeoutMs, `stalled after ${took} ms`)
    }
  }
}

/** Waits until something holds, however long that takes: the test's own limit guards against hangs. */
export function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  return waitingFor(() => `until ${holds}`, poll(holds))
}

async function poll(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Numbers that look random and are the same for each seed, which a test that fails prints. */
export function randomNumbers(seed: number): (below: number) => number {
  noteForFailure(() => `seed ${seed}`)
  let state = seed >>> 0
  // mulberry32
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
