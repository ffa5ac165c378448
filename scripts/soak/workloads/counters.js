'use strict'

// INCR of a few keys: each one counts, and no repetition goes unseen.

const { randomNumbers } = require('../random.js')

const KEYS = 100
const COMMANDS = 200

function commands(seed, batch) {
  const random = randomNumbers(seed, batch)
  return Array.from({ length: 1 + random(COMMANDS) }, () => ['incr', `counter:${random(KEYS)}`])
}

async function check({ redis, seed, history, violations }) {
  const least = new Map()
  const most = new Map()
  let succeeded = 0
  let unknown = 0
  for (const { batch, fate, line } of history) {
    succeeded += line.succeeded
    unknown += line.unknown
    for (const [index, [, key]] of commands(seed, batch).entries()) {
      if (fate(index) === 'done') least.set(key, (least.get(key) ?? 0) + 1)
      if (fate(index) !== 'refused') most.set(key, (most.get(key) ?? 0) + 1)
    }
  }
  let sum = 0
  for (let number = 0; number < KEYS; number++) {
    const key = `counter:${number}`
    const value = Number(await redis.get(key))
    sum += value
    between(violations, key, value, least.get(key) ?? 0, most.get(key) ?? 0)
  }
  between(violations, 'the sum', sum, succeeded, succeeded + unknown)
}

function between(violations, what, value, least, most) {
  if (value < least) violations.add('too few', `${what}: ${value}, not ${least} to ${most}`)
  if (value > most) violations.add('too many', `${what}: ${value}, not ${least} to ${most}`)
}

module.exports = { commands, check }
