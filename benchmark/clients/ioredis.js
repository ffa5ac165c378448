'use strict'

const Redis = require('ioredis')
const { FIELD, keyOf, valueOf } = require('../workload.js')

/** Each batch is awaited: two under way at once were no faster, and took more memory. */
module.exports = async function ioredis({ host, port, commands, batch }, clock) {
  const redis = new Redis({ host, port })
  await redis.ping()
  let succeeded = 0
  let failed = 0
  await clock(async () => {
    for (let start = 0; start < commands; start += batch) {
      const pipeline = redis.pipeline()
      const end = Math.min(start + batch, commands)
      for (let number = start; number < end; number++) pipeline.hset(keyOf(number), FIELD, valueOf(number))
      for (const [error] of await pipeline.exec()) {
        if (error) failed++
        else succeeded++
      }
    }
  })
  await redis.quit()
  return { succeeded, failed }
}
