// Turns of the event loop, by which a test tells that the thread is not kept.

import type { ExecutionContext } from 'ava'

/** Counts turns of the event loop until the test ends. */
export function countTurns(t: ExecutionContext): { readonly count: number } {
  const turns = { count: 0 }
  let immediate = setImmediate(function again() {
    turns.count++
    immediate = setImmediate(again)
  })
  t.teardown(() => clearImmediate(immediate))
  return turns
}

/** Keeps the thread for longer than the pipeline works without a turn, which is 2 ms. */
export function keepThread(): void {
  const until = performance.now() + 3
  while (performance.now() < until);
}
