'use strict'

/**
 * Calls send(from, to) for each batch of a workload, with so many under way at once, and counts the replies that its promises bring.
 * Two, where the workload leaves it open: the next one is on its way while the replies of one are taken.
 */
async function inBatches({ commands, batch, underWay = 2 }, send, isError) {
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
