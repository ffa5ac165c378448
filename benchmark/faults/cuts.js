'use strict'

// Connections cut at random bytes, either way, while counters are incremented: in between what succeeded and what is
// unknown, with a checkpoint exactly once.

const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../..')
const { startProxyChild } = require('../../scripts/soak/child.js')
const { ask } = require('../witness.js')
const { BATCHES, COUNTERS, appendBatch, readCounters } = require('./counters.js')
const { batchComplaints, complaints, figures } = require('./outcome.js')
const { DURABLE, withServer } = require('./server.js')

const COMMANDS = BATCHES * COUNTERS
const CUTS = 50
/** Whatever is under way may be in doubt after a cut: few enough that the two bounds mean something. */
const UNDER_WAY = 4
/** Longer than most cuts take to come. */
const AGAIN_MS = 200
/** Commands are longer than their replies by about this. */
const UP_TO_DOWN = 5

async function run({ random }) {
  return [
    await load({ random, title: 'cuts, defaults', options: {} }),
    await load({ random, title: 'cuts, checkpoint', options: { checkpoint: 'checkpoint' } }),
  ]
}

function load({ random, title, options }) {
  return withServer(DURABLE, async (server) => {
    const proxy = await startProxyChild(server.port)
    try {
      const bulk = bulkPipeline({ url: proxy.url, ...options })
      const batches = []
      const write = () => {
        appendBatch(bulk)
        batches.push({ commands: COUNTERS, promise: bulk.exec() })
        return batches.at(-1).promise
      }
      // The very first connection is tried a few times only.
      await write()
      const work = new AbortController()
      const cutting = cut(proxy, random, work.signal)
      while (batches.length < BATCHES) {
        write()
        await batches.at(-UNDER_WAY)?.promise.catch(() => {})
      }
      const exactly = options.checkpoint ? { failed: 0, unknown: 0 } : { failed: 0 }
      const broken = await batchComplaints(batches, exactly)
      const summary = await bulk.close()
      work.abort()
      const faults = await cutting
      if (faults < CUTS) broken.push(`the load was over after ${faults} cuts`)
      broken.push(...complaints('close()', summary, { commands: COMMANDS, ...exactly }))
      const counted = await ask(server, readCounters)
      const { lost, surplus } = options.checkpoint ? counted : outside(counted.sum, summary)
      if (lost + surplus > 0) broken.push(`the sum is ${counted.sum}: ${lost} lost, ${surplus} twice`)
      return { title, faults, ...figures(summary), lost, surplus, broken }
    } finally {
      await proxy.end()
    }
  })
}

/** How far the sum is from what it may be. */
function outside(sum, { succeeded, unknown }) {
  return { lost: Math.max(0, succeeded - sum), surplus: Math.max(0, sum - succeeded - unknown) }
}

/** One cut after the other until there are enough of them, or nothing more to cut; returns their number. */
async function cut(proxy, random, signal) {
  for (;;) {
    const before = await proxy.call('connections')
    // The first one was made without a cut.
    const cuts = before - 1
    if (cuts >= CUTS || signal.aborted) return cuts
    const direction = ['up', 'down'][random(2)]
    // From within the first command to several batches later.
    const bytes = 1 + random(10 ** (1 + random(6)))
    const method = ['resetAfter', 'finAfter'][random(2)]
    await proxy.call(method, direction === 'up' ? bytes : Math.ceil(bytes / UP_TO_DOWN), direction)
    // What the server still sends on a connection that was cut counts too, so that the cut may be over without another one.
    const again = Date.now() + AGAIN_MS
    while ((await proxy.call('connections')) === before && Date.now() < again && !signal.aborted) await delay(1)
  }
}

module.exports = { runs: 1, run }
