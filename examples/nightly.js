'use strict'

// A nightly job whose commands must not be done twice, for counters and lists: the checkpoint of a day is a key with its date.
// Killed at any moment and started again, it goes on behind the last row that Redis holds. Started again after its end, it does
// nothing. The rows must be the same each time, in the same order.
//
//   node examples/nightly.js [2026-01-31]

const { bulkPipeline } = require('respipe')

const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10)
const [date = yesterday] = process.argv.slice(2)
const checkpoint = `nightly:${date}`

/** In earnest a file, or SELECT … ORDER BY id. */
function* orders() {
  for (let id = 1; id <= 200_000; id++) yield { id: `${date}/${id}`, shop: id % 7, cents: 100 + (id % 900) }
}

async function main() {
  const bulk = bulkPipeline(process.env.REDIS_URL, { checkpoint })
  try {
    const templates = [`RPUSH orders:${date} {id}`, `HINCRBY revenue:${date} {shop} {cents}`]
    const { succeeded, commands, elapsedMs } = await bulk.load(orders(), templates, { resume: true, maxFailed: 1 })
    // Of no use once nobody will start the job of that day again.
    await bulk.query('EXPIRE', checkpoint, 7 * 86_400)
    console.log(`${date}: ${succeeded} of ${commands} commands in ${Math.round(elapsedMs)} ms`)
  } finally {
    await bulk.close()
  }
}

main()
