'use strict'

// The process that loads is killed again and again, and another one goes on from the checkpoint: exactly once.

const { once } = require('node:events')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { endChild, startChild } = require('../../scripts/soak/child.js')
const { ask } = require('../witness.js')
const { BATCHES, COUNTERS, readCounters } = require('./counters.js')
const { complaints } = require('./outcome.js')
const { DURABLE, whileStopped, withServer } = require('./server.js')

const KILLS = 10
/** A loader is killed in its login too, and in the midst of a batch. */
const LATER_MS = 30

function run({ random }) {
  return withServer(DURABLE, async (server) => {
    const broken = []
    const start = () => startLoader(server.url, broken)
    const points = Array.from({ length: KILLS }, () => random(BATCHES)).toSorted((a, b) => a - b)
    let loader = start()
    loader.go()
    for (const point of points) {
      await ask(server, (redis) => reached(redis, point, loader))
      // Ready to take over at once: what its predecessor sent may still be on its way.
      const next = start()
      await next.begun
      await delay(random(LATER_MS))
      const replace = async () => {
        loader.kill()
        next.go()
        await delay(random(LATER_MS))
      }
      await (random(2) === 0 ? replace() : whileStopped(server, replace))
      loader = next
    }
    await loader.over
    const { summary } = loader.told
    // Of the last loader alone; what the others did is in the counters.
    if (summary) broken.push(...complaints('close()', summary, { failed: 0, unknown: 0 }))
    else broken.push('the last loader told of no summary')
    const [{ lost, surplus }, batch] = await ask(server, async (redis) => [
      await readCounters(redis),
      Number(await redis.hget('checkpoint', 'batch')),
    ])
    if (lost + surplus > 0) broken.push(`${lost} lost, ${surplus} twice`)
    if (batch !== BATCHES) broken.push(`the checkpoint is at batch ${batch}`)
    return [{ title: 'restarts', faults: KILLS, commands: BATCHES * COUNTERS, lost, surplus, broken }]
  })
}

/** Waits for a batch. */
async function reached(redis, batch, loader) {
  while (Number(await redis.hget('checkpoint', 'batch')) < batch && !loader.told.failure && !loader.told.summary) {
    await delay(1)
  }
}

function startLoader(url, broken) {
  const child = startChild(path.join(__dirname, 'loader.js'), url)
  const told = {}
  let killed = false
  child.on('message', (message) => {
    Object.assign(told, message)
    // What one says that is about to be killed counts as well: nobody may have taken its place yet.
    if (message.failure && !killed) broken.push(message.failure)
  })
  return {
    told,
    begun: once(child, 'message'),
    over: once(child, 'exit'),
    go: () => child.send('go'),
    kill() {
      killed = true
      return endChild(child)
    },
  }
}

module.exports = { runs: 1, run }
