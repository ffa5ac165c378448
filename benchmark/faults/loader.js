'use strict'

// In a process of its own, that may be killed: node loader.js URL. At the message `go`, increments the counters from where
// the last loader was stopped.

const { bulkPipeline } = require('../..')
const { BATCHES, appendBatch } = require('./counters.js')

async function main(url) {
  const bulk = bulkPipeline(url, { checkpoint: 'checkpoint' })
  const done = (await bulk.lastCheckpoint())?.batch ?? 0
  process.send({ done })
  for (let batch = done; batch < BATCHES; batch++) {
    appendBatch(bulk)
    bulk.exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  const summary = await bulk.close()
  process.send({ summary }, () => process.disconnect())
}

process.once('message', () => {
  main(process.argv[2]).catch((error) => {
    process.send({ failure: `${error.code ?? error.name}: ${error.message}` }, () => process.exit(1))
  })
})
// Whoever started it is gone.
process.once('disconnect', () => process.exit())

process.send({ ready: true })
