'use strict'

const { createClient } = require('redis')
const { FIELD, keyOf, valueOf } = require('../workload.js')

/** Each batch is awaited: two under way at once were slower. */
module.exports = async function nodeRedis({ url, commands, batch }, clock) {
  const client = await createClient({ url }).connect()
  let succeeded = 0
  await clock(async () => {
    for (let start = 0; start < commands; start += batch) {
      const multi = client.multi()
      const end = Math.min(start + batch, commands)
      for (let number = start; number < end; number++) multi.hSet(keyOf(number), FIELD, valueOf(number))
      // Rejects where a command failed.
      const replies = await multi.execAsPipeline()
      succeeded += replies.length
    }
  })
  await client.close()
  return { succeeded, failed: 0 }
}
