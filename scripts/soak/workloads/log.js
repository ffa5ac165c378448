'use strict'

// Commands that must not be repeated, and that show their order: counters, lists and streams.

const { randomNumbers } = require('../random.js')

const KEYS = 20
const COMMANDS = 200
const KINDS = ['counter', 'list', 'stream']

function commands(seed, batch) {
  const random = randomNumbers(seed, batch)
  return Array.from({ length: 1 + random(COMMANDS) }, (_, index) => {
    const key = `${KINDS[random(KINDS.length)]}:${random(KEYS)}`
    if (key.startsWith('counter')) return ['incr', key]
    if (key.startsWith('list')) return ['lpush', key, `${batch}.${index}`]
    return ['xadd', key, '*', 'entry', `${batch}.${index}`]
  })
}

/** All batches were answered in the end, so each command must be there once, and in its place. */
async function check({ redis, seed, last, violations }) {
  const counters = new Map()
  const entries = new Map()
  for (let batch = 1; batch <= last; batch++) {
    for (const [index, [name, key]] of commands(seed, batch).entries()) {
      if (name === 'incr') counters.set(key, (counters.get(key) ?? 0) + 1)
      else if (entries.has(key)) entries.get(key).push(`${batch}.${index}`)
      else entries.set(key, [`${batch}.${index}`])
    }
  }
  for (const [key, expected] of counters) {
    const value = Number(await redis.get(key))
    if (value < expected) violations.add('lost', `${key}: ${value}, not ${expected}`, expected - value)
    if (value > expected) violations.add('twice', `${key}: ${value}, not ${expected}`, value - expected)
  }
  for (const [key, expected] of entries) compare(key, expected, await entriesOf(redis, key), violations)
}

async function entriesOf(redis, key) {
  if (key.startsWith('list')) return (await redis.lrange(key, 0, -1)).toReversed()
  return (await redis.xrange(key, '-', '+')).map(([, [, entry]]) => entry)
}

function compare(key, expected, found, violations) {
  const seen = new Set()
  for (const entry of found) {
    if (seen.has(entry)) violations.add('twice', `${key} ${entry}`)
    seen.add(entry)
  }
  for (const entry of expected) if (!seen.delete(entry)) violations.add('lost', `${key} ${entry}`)
  for (const entry of seen) violations.add('never written', `${key} ${entry}`)
  const wrong = expected.findIndex((entry, at) => entry !== found[at])
  if (found.length === expected.length && wrong >= 0) {
    violations.add('out of order', `${key}: ${found[wrong]}, not ${expected[wrong]}`)
  }
}

module.exports = { commands, check }
