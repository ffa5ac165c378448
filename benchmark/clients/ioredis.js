'use strict'

const { inBatches } = require('../batches.js')

/** ioredis, or iovalkey, which was made from it. */
module.exports = async function ioredis({ host, port, ca, module: name = 'ioredis', workload }, clock) {
  const Redis = require(name)
  const redis = new Redis({ host, port, tls: ca ? { ca } : undefined })
  await redis.ping()
  const { lower, valid } = workload
  const send = (from, to) => {
    const pipeline = redis.pipeline()
    for (let number = from; number < to; number++) lower(pipeline, number)
    return pipeline.exec()
  }
  const isError = ([error, reply]) => error !== null || (valid !== undefined && !valid(reply))
  const outcome = await clock(() => inBatches(workload, send, isError))
  await redis.quit()
  return outcome
}
