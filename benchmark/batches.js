'use strict'

/**
 * Calls send(from, to) for each batch of a workload, with so many under way at once, and counts the replies that its promises bring.
 * Without `underWay` each is awaited before the next one.
 */
async function inBatches({ commands, batch, underWay = 1 }, send, isError) {
  const outcome = { succeeded: 0, failed: 0 }
  const waiting = []
  const take = (replies) => {
    for (const reply of replies) {
      if (isError(reply)) outcome.failed++
      else outcome.succeeded++
    }
  }
  for (let from = 0; from < commands; from += batch) {
    waiting.push(send(from, Math.min(from + batch, commands)))
    if (waiting.length >= underWay) take(await waiting.shift())
  }
  for (const promise of waiting) take(await promise)
  return outcome
}

module.exports = { inBatches }
