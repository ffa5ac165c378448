'use strict'

// What appending costs the JavaScript thread, in nanoseconds a command, the making of the strings not counted.
// node benchmark/append.js [case …]; exits with 1 where a promise is missed.

const { bulkPipeline } = require('..')
const { attach } = require('../binding.js')
const { table } = require('./table.js')

/** Commands a round, a multiple of six. What they have appended is forgotten behind each, outside the measured time. */
const COMMANDS = 1_998

/** The least of so many rounds counts: what else the machine does only ever adds. */
const ROUNDS = 500

/** So many texts of 1 kB. */
const LONG = 64

const bulk = bulkPipeline()
const { length } = attach(() => {}, Uint8Array.prototype.at)
/** Of no pipeline: the call finds nothing to do. */
const NOBODY = 0x7fffffff

const keys = strings((number) => `user:${number}`)
const names = strings((number) => `name ${number % 977}`)
const emails = strings((number) => `u${number}@x.io`)
// Few: what is measured is the appending, not the way from the main memory.
const ascii = strings((number) => `{"id":${number},"text":"${'all work and no play '.repeat(50)}`.slice(0, 1000), LONG)
const mixed = strings((number) => `${number} ${'Zürich, 東京, Ελλάδα, naïve. '.repeat(50)}`.slice(0, 700), LONG)
const rows = keys.map((_, at) => ({ name: names[at], email: emails[at], age: at, city: 'x', zip: '12345' }))

const ids = strings((number) => `${number}`)
const user = bulk.template('HSET user:{id} name {name}')
const visitor = bulk.template('HSET visitor:{id} name {name}')
const guest = bulk.template('HSET guest:{id} name {name}')
const pairs = ids.map((id, at) => ({ id, name: names[at] }))

const buffer = Buffer.alloc(4096)

/** Each in a loop of its own, which the compiler makes for it. A promise is a limit in ns, or as a share of another case. */
const cases = {
  'empty native call of three arguments': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) length(NOBODY, names[at], emails[at])
    },
  },
  'hset of three strings': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) bulk.hset(keys[at], 'name', names[at])
    },
    promises: { ns: 100, of: ['empty native call of three arguments', 4] },
  },
  'the same as a template of two values': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) user(ids[at], names[at])
    },
    promises: { ns: 70 },
  },
  'the same as a template of a row': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) user(pairs[at])
    },
  },
  'three templates of two values in turn': {
    run: () => {
      for (let at = 0; at < COMMANDS; at += 3) {
        user(ids[at], names[at])
        visitor(ids[at], names[at])
        guest(ids[at], names[at])
      }
    },
  },
  'six commands in turn': {
    run: () => {
      for (let at = 0; at < COMMANDS; at += 6) {
        bulk.hset(keys[at], 'name', names[at])
        bulk.set(keys[at], emails[at])
        bulk.zadd(keys[at], '17.5', names[at])
        bulk.sadd(keys[at], names[at], emails[at])
        bulk.rpush(keys[at], emails[at], names[at])
        bulk.expire(keys[at], 3600)
      }
    },
    promises: { ns: 110 },
  },
  'hset of 11 arguments': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) {
        bulk.hset(keys[at], 'name', names[at], 'email', emails[at], 'age', '42', 'city', 'x', 'zip', '12345')
      }
    },
    promises: { ns: 240 },
  },
  'hset of an object of five fields': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) bulk.hset(keys[at], rows[at])
    },
  },
  'set of 1 kB of ASCII': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) bulk.set(keys[at], ascii[at % LONG])
    },
    promises: { ns: 200 },
  },
  'set of 1 kB of mixed text': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) bulk.set(keys[at], mixed[at % LONG])
    },
    promises: { of: ['Buffer.byteLength and buffer.write of the same', 0.35] },
  },
  'Buffer.byteLength and buffer.write of the same': {
    run: () => {
      for (let at = 0; at < COMMANDS; at++) buffer.write(mixed[at % LONG], 0, Buffer.byteLength(mixed[at % LONG]))
    },
  },
}

/** Flat, as they come out of a parser or a driver; put together with + they would be flattened when they are read. */
function strings(make, count = COMMANDS) {
  return Array.from({ length: count }, (_, number) => JSON.parse(JSON.stringify(make(number))))
}

/** The least time of a round, by case. They take turns, so that all have the same weather. */
function measure(chosen) {
  const least = Object.fromEntries(chosen.map((name) => [name, Infinity]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of chosen) {
      const { run } = cases[name]
      const start = process.hrtime.bigint()
      run()
      const end = process.hrtime.bigint()
      bulk.discard()
      least[name] = Math.min(least[name], Number(end - start) / COMMANDS)
    }
  }
  return least
}

function verdicts(name, least) {
  const { ns, of } = cases[name].promises ?? {}
  const found = []
  if (ns !== undefined) found.push([`at most ${ns} ns`, least[name] <= ns])
  if (of !== undefined && least[of[0]] !== undefined) {
    const times = least[name] / least[of[0]]
    found.push([`${times.toFixed(2)} of ${of[0]}, at most ${of[1]}`, times <= of[1]])
  }
  return found
}

function main(wanted) {
  const all = Object.keys(cases)
  const chosen = wanted.length > 0 ? all.filter((name) => wanted.includes(name)) : all
  const least = measure(chosen)
  const lines = chosen.map((name) => {
    const found = verdicts(name, least)
    if (found.some(([, kept]) => !kept)) process.exitCode = 1
    return [
      name,
      least[name].toFixed(0),
      found.map(([text, kept]) => `${text}: ${kept ? 'kept' : 'MISSED'}`).join('; '),
    ]
  })
  console.log(table([[`least of ${ROUNDS}`, 'ns', 'promised'], ...lines]))
}

main(process.argv.slice(2))
