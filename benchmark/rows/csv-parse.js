'use strict'

// What one would write without respipe: csv-parse and a pipeline of ioredis.

const fs = require('node:fs')
const { parse } = require('csv-parse')
const Redis = require('ioredis')

const BATCH = 1_000

module.exports = async function csvParse({ url, file }, clock) {
  const redis = new Redis(url)
  await redis.ping()
  const counts = { commands: 0, succeeded: 0, failed: 0 }
  await clock(async () => {
    let pipeline = redis.pipeline()
    // One batch is under way while the next one is made.
    let underWay
    const send = async () => {
      await underWay
      underWay = count(pipeline, counts)
      pipeline = redis.pipeline()
    }
    for await (const { id, ...fields } of fs.createReadStream(file).pipe(parse({ columns: true }))) {
      pipeline.hset(`user:${id}`, fields)
      counts.commands++
      if (counts.commands % BATCH === 0) await send()
    }
    await send()
    await underWay
  })
  redis.disconnect()
  return counts
}

async function count(pipeline, counts) {
  for (const [error] of await pipeline.exec()) counts[error ? 'failed' : 'succeeded']++
}
