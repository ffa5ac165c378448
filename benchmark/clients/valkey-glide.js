'use strict'

const { Batch, GlideClient } = require('@valkey/valkey-glide')
const { inBatches } = require('../batches.js')

/** A Batch that is no transaction. */
module.exports = async function valkeyGlide({ host, port, ca, workload }, clock) {
  const client = await GlideClient.createClient({
    addresses: [{ host, port }],
    useTLS: ca !== undefined,
    advancedConfiguration: ca ? { tlsAdvancedConfiguration: { rootCertificates: ca } } : undefined,
    // Its default of a quarter of a second is short for a batch on a busy machine.
    requestTimeout: 60_000,
  })
  const { glide, valid } = workload
  const send = (from, to) => {
    const batch = new Batch(false)
    for (let number = from; number < to; number++) glide(batch, number)
    return client.exec(batch, false)
  }
  const isError = (reply) => reply instanceof Error || (valid !== undefined && !valid(reply))
  const outcome = await clock(() => inBatches(workload, send, isError))
  client.close()
  return outcome
}
