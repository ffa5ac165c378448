'use strict'

// What the server itself says, through a client that is not ours.

const Redis = require('ioredis')
const { FIELD, KEYS, keyOf, valueOf } = require('./workload.js')

/** Runs `look` with a connection of its own. */
async function ask({ host, port }, look) {
  const redis = new Redis({ host, port, lazyConnect: true })
  await redis.connect()
  try {
    return await look(redis)
  } finally {
    redis.disconnect()
  }
}

/** Nothing stored, nothing counted. */
function clear(server) {
  return ask(server, async (redis) => {
    await redis.flushall()
    await redis.config('RESETSTAT')
  })
}

/** Throws unless the server has executed every single command of the workload. */
function verify(server, commands) {
  return ask(server, async (redis) => {
    const { calls, failed_calls: failed, rejected_calls: rejected } = await statistics(redis, 'hset')
    equal('HSET calls', calls, commands)
    equal('failed calls', (failed ?? 0) + (rejected ?? 0), 0)
    const keys = Math.min(KEYS, commands)
    equal('DBSIZE', await redis.dbsize(), keys)
    for (const back of [1, Math.ceil(keys / 2), keys]) {
      const key = keyOf(commands - back)
      equal(`HLEN ${key}`, await redis.hlen(key), 1)
      equal(`HGET ${key} ${FIELD}`, await redis.hget(key, FIELD), valueOf(commands - back))
    }
  })
}

/** `cmdstat_hset:calls=3,usec=9,…` as an object. */
async function statistics(redis, command) {
  const line = new RegExp(`^cmdstat_${command}:(.*)`, 'm').exec(await redis.info('commandstats'))?.[1] ?? 'calls=0'
  const fields = line.trim().split(',')
  return Object.fromEntries(fields.map((field) => field.split('=')).map(([name, value]) => [name, Number(value)]))
}

function equal(what, found, expected) {
  if (found !== expected) throw new Error(`${what}: ${found}, not ${expected}: the figure would count lost commands`)
}

module.exports = { ask, clear, equal, verify }
