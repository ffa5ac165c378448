'use strict'

const { bulkPipeline } = require('../../index.js')

/** With its defaults, but for what the workload is about. Batches are not awaited, only where the server has to catch up. */
module.exports = async function respipe({ url, ca, replies, workload }, clock) {
  const { commands, batch, underWay, lower, respipe: options } = workload
  const bulk = bulkPipeline(url, { replies, tls: ca ? { ca } : undefined, ...options })
  // Connected beforehand, as all are, by a command that is no part of the work.
  await bulk.ping().sync()
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
  if (replies === 'off') return { succeeded: unknown - 1, failed: failed + summary.serverErrorReplies }
  return { succeeded: summary.succeeded - 1, failed: failed + unknown }
}
