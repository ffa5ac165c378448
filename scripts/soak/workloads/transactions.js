'use strict'

// INCR of a few keys, and a mark for the batch: from the marks, each counter is known to the last one.

const { randomNumbers } = require('../random.js')

const KEYS = 100
const COMMANDS = 200
const MARKS = 'batches'

function commands(seed, batch) {
  const random = randomNumbers(seed, batch)
  const increments = Array.from({ length: 1 + random(COMMANDS) }, () => ['incr', `counter:${random(KEYS)}`])
  increments.splice(random(increments.length + 1), 0, ['sadd', MARKS, batch])
  return increments
}

async function check({ redis, seed, history, violations }) {
  const marks = new Set((await redis.smembers(MARKS)).map(Number))
  const expected = new Map()
  for (const { batch, fate, line } of history) {
    const written = commands(seed, batch)
    const done = marks.delete(batch)
    // One reply out of EXEC's array says that all was done, also where the others were lost.
    const told = line.succeeded > 0 ? 'done' : fate(0)
    if (!done && told === 'done') violations.add('lost', `batch ${batch}`)
    if (done && told === 'refused') violations.add('done, and told as failed', `batch ${batch}`)
    if (!done) continue
    for (const [name, key] of written) if (name === 'incr') expected.set(key, (expected.get(key) ?? 0) + 1)
  }
  for (const batch of marks) violations.add('never written', `batch ${batch}`)
  for (let number = 0; number < KEYS; number++) {
    const key = `counter:${number}`
    const value = Number(await redis.get(key))
    if (value !== (expected.get(key) ?? 0)) violations.add('not whole', `${key}: ${value}, not ${expected.get(key)}`)
  }
}

module.exports = { commands, check }
