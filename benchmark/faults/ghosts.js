'use strict'

// A server that is stopped still gets what lies in its socket, later: values of a connection that was given up must not
// overwrite newer ones. Beside respipe, a few lines that time out, connect again and write, to show that they would.
// A proxy stands in between as networks do: it delivers what it has, also from those that are gone. The newer ones come in another order: what runs late meets some of them earlier, some later than they were written.

const { once } = require('node:events')
const net = require('node:net')
const { setTimeout: delay } = require('node:timers/promises')
const { bulkPipeline } = require('../..')
const { startProxyChild } = require('../../scripts/soak/child.js')
const { ask } = require('../witness.js')
const { complaints, figures } = require('./outcome.js')
const { whileStopped, withServer } = require('./server.js')

const KEYS = 50_000
const STALL_MS = 500
const CONNECT_MS = 2_000
/** After that long without another command, nothing more is on its way. */
const QUIET_MS = 300

/** By turns: all keys in one window as in the naive client; the window of the defaults; nothing sent again. */
const variants = [{ maxInFlightBytes: 4 << 20 }, {}, { maxInFlightBytes: 4 << 20, resend: 'none' }]

async function run({ seed, random }) {
  return [await ours({ random, options: variants[seed % variants.length] }), await naive({ random })]
}

function ours({ random, options }) {
  return withProxy(async (server, proxy) => {
    const bulk = bulkPipeline({
      url: proxy.url,
      stallTimeoutMs: STALL_MS,
      connectTimeoutMs: CONNECT_MS,
      ...options,
    })
    await bulk.set('ready', 'yes').exec()
    const [older, newer] = await whileStopped(server, async () => {
      const first = write(bulk, 'older', inOrder)
      // Until the connection is given up; another one cannot be made.
      while (bulk.stats().connected) await delay(10)
      await delay(random(STALL_MS))
      return [first, write(bulk, 'newer', shuffled(random))]
    })
    const broken = []
    const asked = options.resend === 'none' ? {} : { unknown: 0 }
    broken.push(...complaints('older', await older, { commands: KEYS, failed: 0, ...asked }))
    broken.push(...complaints('newer', await newer, { commands: KEYS, failed: 0, unknown: 0 }))
    const summary = await bulk.close()
    if (summary.reconnects === 0) broken.push('the connection was never given up')
    const { lost, stale } = await ask(server, settled)
    if (lost + stale > 0) broken.push(`${stale} keys are stale, ${lost} are lost`)
    return { title: 'ghosts', faults: 1, ...figures(summary), lost, surplus: stale, broken }
  })
}

function write(bulk, value, keys) {
  for (const key of keys) bulk.set(key, value)
  return bulk.exec()
}

function naive({ random }) {
  return withProxy(async (server, proxy) => {
    const old = await connected(proxy)
    const fresh = await whileStopped(server, async () => {
      old.write(requests('older', inOrder))
      await delay(STALL_MS + random(STALL_MS))
      old.destroy()
      const socket = await connected(proxy)
      socket.write(requests('newer', shuffled(random)))
      return socket
    })
    let replies = 0
    for await (const chunk of fresh) {
      for (const byte of chunk) if (byte === LINE_FEED) replies++
      if (replies === KEYS) break
    }
    const { lost, stale } = await ask(server, settled)
    // Otherwise the others proved nothing.
    const broken = stale === 0 ? ['the naive client left no stale keys'] : []
    return { title: 'ghosts, naive client', faults: 1, commands: 2 * KEYS, lost, surplus: stale, broken }
  })
}

/** Runs `work` beside a server and a proxy in front of it. */
function withProxy(work) {
  return withServer([], async (server) => {
    const proxy = await startProxyChild(server.port)
    try {
      return await work(server, proxy)
    } finally {
      await proxy.end()
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
