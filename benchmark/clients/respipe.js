'use strict'

const { bulkPipeline } = require('../../index.js')

/** With its defaults, but for what the workload is about. Batches are not awaited, only where the server has to catch up. */
module.exports = async function respipe({ url, ca, replies, workload }, clock) {
  const { commands, batch, underWay, warmUp = 0, lower, respipe: options } = workload
  const bulk = bulkPipeline(url, { replies, tls: ca ? { ca } : undefined, ...options })
  const warm = await warmedUp(bulk, warmUp, lower)
  await clock(async () => {
    for (let number = 0; number < commands; number++) {
      lower(bulk, number)
      if ((number + 1) % batch !== 0) continue
      const executed = bulk.exec()
      if (underWay === 1) await executed
      else if (bulk.needsDrain) await bulk.drain()
    }
    await bulk.sync()
  })
  const summary = await bulk.close()
  const { failed, unknown } = summary
  if (replies === 'off') return { succeeded: unknown - warm, failed: failed + summary.serverErrorReplies }
  return { succeeded: summary.succeeded - warm, failed: failed + unknown }
}

/** Connected, and where that is wanted, with code that is compiled: so many commands are appended and forgotten. Returns how many were sent. */
async function warmedUp(bulk, commands, lower) {
  for (let number = 0; number < commands; number++) {
    lower(bulk, number)
    if (number % 100 !== 0) continue
    bulk.discard()
    bulk.ping().exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  bulk.discard()
  return (await bulk.ping().sync()).commands
}
