'use strict'

const { createClient } = require('redis')
const { inBatches } = require('../batches.js')

module.exports = async function nodeRedis({ url, ca, workload }, clock) {
  const client = await createClient({ url, socket: ca ? { tls: true, ca } : undefined }).connect()
  const { camel, valid } = workload
  const send = (from, to) => {
    const multi = client.multi()
    for (let number = from; number < to; number++) camel(multi, number)
    // Rejects where a command failed.
    return multi.execAsPipeline()
  }
  const isError = (reply) => valid !== undefined && !valid(reply)
  const outcome = await clock(() => inBatches(workload, send, isError))
  await client.close()
  return outcome
}
