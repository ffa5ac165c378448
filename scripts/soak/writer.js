'use strict'

// A process that loads: node writer.js '{"name","seed","url","file"}'. Writes down each batch that is over, and tells the
// parent every now and then how it stands; at the message `stop`, it closes and tells the summary.

const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../../index.js')
const { Journal } = require('./journal.js')
const { legs } = require('./legs.js')
const { STALL_MS } = require('./faults.js')

/** So many on their way that a fault meets batches in every state, some not written yet. */
const BATCHES_AT_ONCE = 64
/** Bursts and rests: a fault meets both, and an hour stays small enough to be checked. */
const BURST = 20
const REST_MS = 100
const PROGRESS_MS = 200

const stop = new AbortController()

async function main({ name, seed, url, file }) {
  const { options, workload, resumes } = legs[name]
  const journal = new Journal(file)
  const bulk = bulkPipeline({
    url,
    stallTimeoutMs: STALL_MS,
    connectTimeoutMs: STALL_MS,
    // A first connection may meet a fault as well.
    retry: { firstConnect: 1_000, maxDelayMs: 300 },
    // The journal names every command that was refused.
    maxFailures: 1_000,
    ...options,
  })
  const timer = setInterval(() => process.send({ stats: bulk.stats(), rss: peakRss() }), PROGRESS_MS)

  let batch = 0
  if (resumes) {
    batch = (await bulk.lastCheckpoint())?.batch ?? 0
    journal.write({ resumed: batch })
  }
  const underWay = new Set()
  while (!stop.signal.aborted) {
    batch++
    for (const [command, ...args] of workload.commands(seed, batch)) bulk[command](...args)
    const appended = bulk.length
    const over = record(journal, bulk.exec(), { batch, appended }).then(() => underWay.delete(over))
    underWay.add(over)
    if (underWay.size === BATCHES_AT_ONCE) await Promise.race(underWay)
    if (batch % BURST === 0) await delay(REST_MS)
  }
  await Promise.all(underWay)
  const summary = await bulk.close()
  clearInterval(timer)
  journal.close()
  process.send({ stats: summary, rss: peakRss(), summary }, () => process.disconnect())
}

async function record(journal, promise, line) {
  const rejected = {}
  const outcome = await promise.catch((error) => {
    if (!error.outcome) throw error
    rejected.rejected = error.code
    return error.outcome
  })
  const { commands, succeeded, failed, unknown, errors, failures } = outcome
  const refused = failures.map(({ index }) => index)
  journal.write({ ...line, ...rejected, commands, succeeded, failed, unknown, errors, refused })
}

/** In bytes. */
function peakRss() {
  return process.resourceUsage().maxRSS * 1024
}

process.on('message', () => stop.abort())
// Whoever started it is gone.
process.once('disconnect', () => process.exit())

main(JSON.parse(process.argv[2])).catch((error) => {
  process.send({ failure: `${error.code ?? error.name}: ${error.message}` }, () => process.exit(1))
})
