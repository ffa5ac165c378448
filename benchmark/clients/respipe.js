'use strict'

const { bulkPipeline } = require('../../index.js')
const { FIELD, keyOf, valueOf } = require('../workload.js')

/** With its defaults. Batches are not awaited one by one, only where the server has to catch up. */
module.exports = async function respipe({ url, commands, batch }, clock) {
  const bulk = bulkPipeline(url)
  await bulk.ping().exec()
  await clock(async () => {
    for (let number = 0; number < commands; number++) {
      bulk.hset(keyOf(number), FIELD, valueOf(number))
      if ((number + 1) % batch !== 0) continue
      bulk.exec()
      if (bulk.needsDrain) await bulk.drain()
    }
    await bulk.sync()
  })
  const { succeeded, failed, unknown } = await bulk.close()
  // Without the PING.
  return { succeeded: succeeded - 1, failed: failed + unknown }
}
