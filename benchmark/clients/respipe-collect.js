'use strict'

const { bulkPipeline } = require('../../index.js')
const { inBatches } = require('../batches.js')

/** As the others do it: the replies of each batch are looked at. */
module.exports = async function respipeCollect({ url, workload }, clock) {
  const { lower, valid } = workload
  const bulk = bulkPipeline(url, { replies: 'collect' })
  await bulk.ping().exec()
  const send = async (from, to) => {
    for (let number = from; number < to; number++) lower(bulk, number)
    const { replies } = await bulk.exec()
    return replies
  }
  const isError = (reply) => reply instanceof Error || !valid(reply)
  const outcome = await clock(() => inBatches(workload, send, isError))
  await bulk.close()
  return outcome
}
