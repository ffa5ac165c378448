'use strict'

// Commands that can be repeated. Keys that are written a few times within an era, each time with a later version, and never
// after it: what runs late or out of order leaves an older one. And members of a set for each batch: what is lost leaves a gap.

const { randomNumbers } = require('../random.js')

const COMMANDS = 200
/** In batches; twice of what can be under way at once, so that what runs late meets later versions of its keys. */
const ERA = 256
/** So many that most are not written again after a fault, which would hide what it did. */
const KEYS = 2_500
/** Most values are short; the long ones fill the window, and the buffers of a connection that is given up. */
const SHORT = 100
const LONG = 20_000
/** Keys that are asked for together. */
const AT_ONCE = 1_000

function commands(seed, batch) {
  const random = randomNumbers(seed, batch)
  return Array.from({ length: 1 + random(COMMANDS) }, (_, index) => {
    const key = `${Math.floor(batch / ERA)}:${random(KEYS)}`
    const version = batch * COMMANDS + index
    switch (random(4)) {
      case 0:
        return ['set', `string:${key}`, `${version} ${'x'.repeat(random(random(30) === 0 ? LONG : SHORT))}`]
      case 1:
        return ['hset', `hash:${key}`, 'version', version, 'copy', version]
      default:
        return ['sadd', `batch:${batch}`, index]
    }
  })
}

async function check({ redis, seed, history, violations }) {
  const latest = new Map()
  for (const { batch, fate } of history) {
    const members = new Set((await redis.smembers(`batch:${batch}`)).map(Number))
    for (const [index, [name, key, ...rest]] of commands(seed, batch).entries()) {
      if (name === 'sadd') checkMember(members, index, fate(index), `${key} ${index}`, violations)
      else note(latest, key, Number.parseInt(rest.at(-1)), fate(index))
    }
    for (const index of members) violations.add('never written', `batch:${batch} ${index}`)
  }
  const keys = [...latest.keys()]
  for (let start = 0; start < keys.length; start += AT_ONCE) {
    const some = keys.slice(start, start + AT_ONCE)
    const versions = await Promise.all(some.map((key) => versionOf(redis, key)))
    for (const [at, key] of some.entries()) checkVersion(key, latest.get(key), versions[at], violations)
  }
}

/** Takes it from the members that are left to be explained. */
function checkMember(members, index, fate, what, violations) {
  const present = members.delete(index)
  if (!present && fate === 'done') violations.add('lost', what)
  if (present && fate === 'refused') violations.add('done, and told as failed', what)
}

/** The newest version that must be there, and those after it that may be. */
function note(latest, key, version, fate) {
  if (fate === 'refused') return
  if (fate === 'done') latest.set(key, { newest: version, others: [] })
  else if (latest.has(key)) latest.get(key).others.push(version)
  else latest.set(key, { newest: null, others: [version] })
}

async function versionOf(redis, key) {
  if (key.startsWith('string:')) {
    const value = await redis.get(key)
    return value === null ? null : Number.parseInt(value)
  }
  const [version, copy] = await redis.hmget(key, 'version', 'copy')
  if (version !== copy) return NaN
  return version === null ? null : Number(version)
}

function checkVersion(key, { newest, others }, version, violations) {
  if (version === newest || others.includes(version)) return
  const what = `${key}: ${version}, not ${newest}${others.length > 0 ? ` or ${others.join()}` : ''}`
  if (version === null) violations.add('lost', what)
  else if (version < newest) violations.add('stale', what)
  else violations.add('not what was written last', what)
}

module.exports = { commands, check }
