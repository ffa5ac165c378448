'use strict'

// The server runs out of memory in the midst of a load. Once it has more, the load is completed; where it never has, each
// command that was refused is told.

const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../..')
const { ask } = require('../witness.js')
const { batchComplaints, complaints, figures } = require('./outcome.js')
const { withServer } = require('./server.js')

const COMMANDS = 500_000
const BATCH = 2_000
/** Room for about half of them. */
const LIMITED = ['--maxmemory', '60mb', '--maxmemory-policy', 'noeviction']
const RAISED_AFTER_MS = 3_000
const VALUE = 'x'.repeat(100)
/** Keys that are asked for together. */
const AT_ONCE = 10_000

async function run() {
  return [await raised(), await neverRaised()]
}

function raised() {
  return withServer(LIMITED, async (server) => {
    const bulk = bulkPipeline(server.url)
    const raising = ask(server, raise)
    const batches = await load(bulk)
    const broken = await batchComplaints(batches, { failed: 0, unknown: 0 })
    const summary = await bulk.close()
    await raising
    broken.push(...complaints('close()', summary, { commands: COMMANDS, failed: 0, unknown: 0 }))
    const present = await ask(server, presence)
    const lost = present.filter((is) => !is).length
    if (lost > 0) broken.push(`${lost} keys are lost`)
    return { title: 'oom, raised after 3 s', faults: 1, ...figures(summary), lost, broken }
  })
}

/** Later than the first refusal. */
async function raise(redis) {
  while (!/^errorstat_OOM:/m.test(await redis.info('errorstats'))) await delay(5)
  await delay(RAISED_AFTER_MS)
  await redis.config('SET', 'maxmemory', '0')
}

function neverRaised() {
  return withServer(LIMITED, async (server) => {
    const bulk = bulkPipeline(server.url, { retry: { attempts: 3, minDelayMs: 20, maxDelayMs: 100 } })
    const told = new Map()
    bulk.on('failure', ({ key, code }) => told.set(String(key), code))
    const broken = await batchComplaints(await load(bulk), { unknown: 0 })
    const summary = await bulk.close()
    broken.push(...complaints('close()', summary, { commands: COMMANDS, unknown: 0 }))
    const { failed, errors } = summary
    if (failed === 0) broken.push('the limit was never reached')
    if (errors.OOM !== failed) broken.push(`OOM ${errors.OOM}, where ${failed} failed`)
    if (told.size !== failed) broken.push(`${told.size} failures told of ${failed}`)
    const present = await ask(server, presence)
    const lost = present.filter((is, number) => !is && !told.has(keyOf(number))).length
    const surplus = present.filter((is, number) => is && told.has(keyOf(number))).length
    if (lost + surplus > 0) broken.push(`${lost} keys are lost and not told, ${surplus} are there and told as failed`)
    return { title: 'oom, never raised', faults: 1, ...figures(summary), lost, surplus, broken }
  })
}

async function load(bulk) {
  const batches = []
  for (let number = 0; number < COMMANDS;) {
    for (const end = number + BATCH; number < end; number++) bulk.set(keyOf(number), VALUE)
    batches.push({ commands: BATCH, promise: bulk.exec() })
    if (bulk.needsDrain) await bulk.drain()
  }
  return batches
}

/** For each key whether it is there, and as it was written. */
async function presence(redis) {
  const present = []
  for (let start = 0; start < COMMANDS; start += AT_ONCE) {
    const values = await redis.mget(Array.from({ length: AT_ONCE }, (_, index) => keyOf(start + index)))
    present.push(...values.map((value) => value === VALUE))
  }
  return present
}

function keyOf(number) {
  return `key:${number}`
}

module.exports = { runs: 1, run }
