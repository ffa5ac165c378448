import type { ExecutionContext } from 'ava'
import { inspect } from 'node:util'
import { bulkPipeline, RespipeError } from '../../index.js'
import type { BulkPipeline, BulkPipelineOptions, Outcome } from '../../index.js'

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

/** What the promise resolves to, in bounded time. */
export async function resolution<T extends Outcome>(
  t: ExecutionContext,
  promise: Promise<T>,
  limitMs = defaultLimitMs,
): Promise<T> {
  const outcome = await within(promise, limitMs)
  addsUp(t, outcome)
  return outcome
}

/** The error that the promise rejects with, in bounded time. Its outcome adds up. */
export async function rejection(
  t: ExecutionContext,
  promise: Promise<unknown>,
  code: string | RegExp,
  limitMs = defaultLimitMs,
): Promise<RespipeError & { outcome: Outcome }> {
  const settled = promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  const result = await within(settled, limitMs)
  if ('value' in result) throw new Error(`resolved instead of ${code}: ${inspect(result.value)}`)
  const { error } = result
  if (!(error instanceof RespipeError)) throw error
  t.true(typeof code === 'string' ? error.code === code : code.test(error.code), `${error.code}: ${error.message}`)
  if (error.outcome === undefined) throw new Error(`no outcome with ${inspect(error)}`)
  addsUp(t, error.outcome)
  return error as RespipeError & { outcome: Outcome }
}

/** Far above what anything here takes, so that only what hangs exceeds it, on a busy machine too. */
const defaultLimitMs = 20_000

async function within<T>(promise: Promise<T>, limitMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not settled within ${limitMs} ms`)), limitMs)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits until something holds. */
export async function until(holds: () => boolean | Promise<boolean>, limitMs = defaultLimitMs): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`did not come true within ${limitMs} ms: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Numbers that look random and are the same for each seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  // mulberry32
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}
