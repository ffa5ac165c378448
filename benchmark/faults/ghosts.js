'use strict'

// A server that is stopped still gets what lies in its socket, later: values of a connection that was given up must not
// overwrite newer ones. A relay stands in between: it delivers what it has, also from those that are gone. The newer ones
// come in another order: what runs late meets some of them earlier, some later than they were written.
// Two controls show that the older ones would: a few lines that time out, connect again and write; and respipe, where the
// user may not end the old connection.

const { once } = require('node:events')
const net = require('node:net')
const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../..')
const { ask } = require('../witness.js')
const { complaints, figures } = require('./outcome.js')
const { startRelay } = require('./relay.js')
const { whileStopped, withServer } = require('./server.js')

const KEYS = 50_000
const STALL_MS = 500
const CONNECT_MS = 2_000
/** After that long, the next connection waits for its login: it goes on with the server. */
const LOGIN_MS = 150
/** After that long without another command, nothing more is on its way. */
const QUIET_MS = 300

/** All keys, as a naive client would. */
const WIDE = { maxInFlightBytes: 4 << 20 }
/** By turns. */
const variants = [WIDE, {}, { ...WIDE, resend: 'none' }]

async function run({ seed, random }) {
  return [
    await fenced({ random, options: variants[seed % variants.length] }),
    await unfenced({ random }),
    await naive({ random }),
  ]
}

function fenced({ random, options }) {
  return withRelay(async (server, relay) => {
    const { older, newer, summary } = await ours({ server, relay, random, options })
    const asked = options.resend === 'none' ? {} : { unknown: 0 }
    const broken = [
      ...complaints('older', older, { commands: KEYS, failed: 0, ...asked }),
      ...complaints('newer', newer, { commands: KEYS, failed: 0, unknown: 0 }),
    ]
    if (summary.reconnects === 0) broken.push('the connection was never given up')
    const { lost, stale } = await ask(server, settled)
    if (lost + stale > 0) broken.push(`${stale} keys are stale, ${lost} are lost`)
    return { title: 'ghosts', faults: 1, ...figures(summary), lost, surplus: stale, broken }
  })
}

function unfenced({ random }) {
  return withRelay(async (server, relay) => {
    await ask(server, (redis) => redis.call('ACL', 'SETUSER', 'default', '-client|kill'))
    const { summary } = await ours({ server, relay, random, options: WIDE })
    const { lost, stale } = await ask(server, settled)
    return {
      title: 'ghosts, no CLIENT KILL',
      faults: 1,
      ...figures(summary),
      lost,
      surplus: stale,
      promise: 'control',
      broken: [],
    }
  })
}

/** Older values into a server that stands still, newer ones as soon as it goes on. */
async function ours({ server, relay, random, options }) {
  const bulk = bulkPipeline({ url: relay.url, stallTimeoutMs: STALL_MS, connectTimeoutMs: CONNECT_MS, ...options })
  await bulk.set('ready', 'yes').exec()
  const [older, newer] = await whileStopped(server, async () => {
    const first = write(bulk, 'older', inOrder)
    // Until the connection is given up; another one cannot be made.
    while (bulk.stats().connected) await delay(10)
    await delay(LOGIN_MS + random(STALL_MS))
    return [first, write(bulk, 'newer', shuffled(random))]
  })
  return { older: await older, newer: await newer, summary: await bulk.close() }
}

function write(bulk, value, keys) {
  for (const key of keys) bulk.set(key, value)
  return bulk.exec()
}

function naive({ random }) {
  return withRelay(async (server, relay) => {
    const old = await connected(relay)
    const fresh = await whileStopped(server, async () => {
      old.write(requests('older', inOrder))
      await delay(STALL_MS + random(STALL_MS))
      old.destroy()
      const socket = await connected(relay)
      socket.write(requests('newer', shuffled(random)))
      // Until the relay has passed it on.
      await delay(LOGIN_MS)
      return socket
    })
    let replies = 0
    for await (const chunk of fresh) {
      for (const byte of chunk) if (byte === LINE_FEED) replies++
      if (replies === KEYS) break
    }
    const { lost, stale } = await ask(server, settled)
    return {
      title: 'ghosts, naive client',
      faults: 1,
      commands: 2 * KEYS,
      lost,
      surplus: stale,
      promise: 'control',
      broken: [],
    }
  })
}

/** Runs `work` beside a server and a relay in front of it. */
function withRelay(work) {
  return withServer([], async (server) => {
    const relay = await startRelay(server)
    try {
      return await work(server, relay)
    } finally {
      relay.end()
    }
  })
}

async function connected({ url }) {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  await once(socket, 'connect')
  return socket
}

function requests(value, keys) {
  let text = ''
  for (const key of keys) {
    text += `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`
  }
  return text
}

const LINE_FEED = 10

const inOrder = Array.from({ length: KEYS }, (_, number) => `key:${String(number).padStart(5, '0')}`)

function shuffled(random) {
  const keys = [...inOrder]
  for (let last = KEYS - 1; last > 0; last--) {
    const other = random(last + 1)
    const key = keys[last]
    keys[last] = keys[other]
    keys[other] = key
  }
  return keys
}

/** Of the keys, once no command comes any more: how many have the older value, and how many none. */
async function settled(redis) {
  const executed = async () => /^cmdstat_set:calls=(\d+)/m.exec(await redis.info('commandstats'))?.[1]
  for (let before; ;) {
    const calls = await executed()
    if (calls === before) break
    before = calls
    await delay(QUIET_MS)
  }
  const values = await redis.mget(inOrder)
  const having = (wanted) => values.filter((value) => value === wanted).length
  return { lost: KEYS - having('newer') - having('older'), stale: having('older') }
}

module.exports = { runs: 20, run }
