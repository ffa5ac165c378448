'use strict'

// The server is killed and started again while it is loaded: every field must be there.

const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../..')
const { ask } = require('../witness.js')
const { batchComplaints, complaints, figures } = require('./outcome.js')
const { DURABLE, withServer } = require('./server.js')

const COMMANDS = 1_000_000
const HASHES = 1_000
const KILLS = 3
/** How long it is gone at most. */
const GONE_MS = 500
/** Hashes that are asked for together. */
const AT_ONCE = 20

function run({ seed, random }) {
  return withServer(DURABLE, async (server) => {
    const bulk = bulkPipeline(server.url)
    const over = killAtTimes(server, bulk, random)
    const batches = []
    for (let number = 0; number < COMMANDS;) {
      const commands = Math.min(1_000 + random(4_000), COMMANDS - number)
      for (const end = number + commands; number < end; number++) {
        bulk.hset(hashOf(number), fieldOf(number), valueOf(seed, number))
      }
      batches.push({ commands, promise: bulk.exec() })
      // Otherwise the whole load is appended before a fault can happen.
      await (bulk.needsDrain ? bulk.drain() : delay(0))
    }
    const broken = await batchComplaints(batches, { failed: 0, unknown: 0 })
    const summary = await bulk.close()
    await over
    broken.push(...complaints('close()', summary, { commands: COMMANDS, failed: 0, unknown: 0 }))
    const { lost, surplus } = await ask(server, (redis) => compare(redis, seed))
    if (lost + surplus > 0) broken.push(`${lost} fields are lost, ${surplus} should not be there`)
    return [{ title: 'kills', faults: KILLS, ...figures(summary), lost, surplus, broken }]
  })
}

/** At random points of the load's progress; resolves when the server is back for good. */
async function killAtTimes(server, bulk, random) {
  const points = Array.from({ length: KILLS }, () => random(COMMANDS)).toSorted((a, b) => a - b)
  for (const point of points) {
    while (bulk.stats().commands < point) await delay(1)
    await server.kill('SIGKILL')
    await delay(random(GONE_MS))
    await server.restart()
  }
}

async function compare(redis, seed) {
  let right = 0
  let surplus = (await redis.dbsize()) - HASHES
  for (let start = 0; start < HASHES; start += AT_ONCE) {
    const keys = Array.from({ length: AT_ONCE }, (_, index) => hashOf(start + index))
    for (const [index, entries] of (await Promise.all(keys.map((key) => redis.call('HGETALL', key)))).entries()) {
      for (let at = 0; at < entries.length; at += 2) {
        const number = Number(entries[at].slice(FIELD.length))
        const written = number < COMMANDS && hashOf(number) === keys[index] && entries[at + 1] === valueOf(seed, number)
        if (written) right++
        else surplus++
      }
    }
  }
  return { lost: COMMANDS - right, surplus }
}

const FIELD = 'field:'

function hashOf(number) {
  return `hash:${number % HASHES}`
}

function fieldOf(number) {
  return `${FIELD}${number}`
}

function valueOf(seed, number) {
  return `${seed}:${number}`
}

module.exports = { runs: 20, run }
