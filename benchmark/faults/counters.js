'use strict'

// Commands that must not be repeated: each batch increments every counter once.

const COUNTERS = 1_000
const BATCHES = 1_000

function appendBatch(bulk) {
  for (let number = 0; number < COUNTERS; number++) bulk.incr(`counter:${number}`)
}

/** What the server has of them; `lost` and `surplus` beside every batch exactly once. */
async function readCounters(redis) {
  const keys = Array.from({ length: COUNTERS }, (_, number) => `counter:${number}`)
  const values = (await redis.mget(keys)).map(Number)
  return {
    sum: total(values),
    lost: total(values.map((value) => BATCHES - value)),
    surplus: total(values.map((value) => value - BATCHES)),
  }
}

function total(differences) {
  return differences.reduce((sum, difference) => sum + Math.max(0, difference), 0)
}

module.exports = { BATCHES, COUNTERS, appendBatch, readCounters }
