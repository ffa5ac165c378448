'use strict'

// What the server itself says, through a client that is not ours.

const Redis = require('ioredis')
const { KEYS } = require('./workload.js')

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

/** Nothing stored, unless a workload reads it; nothing counted. */
function clear(server, { prepare } = {}) {
  return ask(server, async (redis) => {
    await redis.flushall()
    await prepare?.(redis)
    await redis.config('RESETSTAT')
  })
}

/** Throws unless the server has executed every single command of the workload. */
function verify(server, { command, keys: most = KEYS, prepare, sample }, commands) {
  return ask(server, async (redis) => {
    const { calls, failed_calls: failed, rejected_calls: rejected } = await statistics(redis, command)
    equal(`${command} calls`, calls, commands)
    equal('failed calls', (failed ?? 0) + (rejected ?? 0), 0)
    const keys = Math.min(most, commands)
    equal('DBSIZE', await redis.dbsize(), prepare ? KEYS : keys)
    // The last one, and others that no later command has written over.
    for (const back of [1, Math.ceil(keys / 2), keys]) {
      const { ask: question, answer } = sample(commands - back)
      equal(question.join(' '), String(await redis.call(...question)), answer)
    }
  })
}

/** `redis_version` or `valkey_version`, as in "Redis 7.0.15". */
function version(server) {
  return ask(server, async (redis) => {
    const info = await redis.info('server')
    const [, product, number] = /(valkey)_version:(\S+)/.exec(info) ?? /(redis)_version:(\S+)/.exec(info)
    return `${product[0].toUpperCase()}${product.slice(1)} ${number}`
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

module.exports = { ask, clear, equal, verify, version }
