'use strict'

const { bulkPipeline } = require('../../index.js')

const BATCH = 10_000

/** HSET to a key that holds a hash, or one that holds a string: then every single command fails. */
module.exports = async function failures({ url, commands, fail }, clock) {
  const bulk = bulkPipeline(url)
  await bulk.del('hash', 'text').set('text', 'value').exec()
  const key = fail ? 'text' : 'hash'
  await clock(async () => {
    for (let number = 0; number < commands; number++) {
      bulk.hset(key, 'field', `value:${number}`)
      if ((number + 1) % BATCH !== 0) continue
      bulk.exec()
      if (bulk.needsDrain) await bulk.drain()
    }
    await bulk.sync()
  })
  const { succeeded, failed, unknown, errors, failures: kept } = await bulk.close()
  return { succeeded: succeeded - 2, failed, unknown, errors, kept: kept.length }
}
