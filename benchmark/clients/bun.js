'use strict'

const { inBatches } = require('../batches.js')

/** Runs in Bun, whose client sends by itself together what is called at once. */
module.exports = async function bun({ url, ca, workload }, clock) {
  const client = new globalThis.Bun.RedisClient(url, ca ? { tls: { ca } } : undefined)
  await client.connect()
  const { lower, valid } = workload
  const send = (from, to) => {
    const replies = []
    for (let number = from; number < to; number++) replies.push(lower(client, number))
    // Rejects where a command failed.
    return Promise.all(replies)
  }
  const isError = (reply) => valid !== undefined && !valid(reply)
  const outcome = await clock(() => inBatches(workload, send, isError))
  client.close()
  return outcome
}
