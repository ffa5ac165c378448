'use strict'

// What can befall a load. Each fault is over, and the server well again, when its promise resolves.

const { setTimeout: delay } = require('node:timers/promises')

/** The writer's `stallTimeoutMs`. */
const STALL_MS = 1_500

const short = (random) => 100 + random(STALL_MS / 2)
/** The writer gives the connection up. */
const long = (random) => STALL_MS * 1.2 + random(STALL_MS)
const direction = (random) => ['up', 'down'][random(2)]
/** From within the first command to a whole window later. */
const bytes = (random) => random(10 ** (1 + random(6)))

const faults = {
  async kill({ server, random, noteRefusals }) {
    await noteRefusals()
    await server.kill('SIGKILL')
    await delay(random(1_000))
    await server.restart()
  },
  stop: ({ server, random }) => stopped(server, () => delay(short(random))),
  'stop-long': ({ server, random }) => stopped(server, () => delay(long(random))),
  'client-kill': ({ admin }) => admin((redis) => redis.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes')),
  pause: ({ admin, random }) => paused(admin, short(random), random),
  'pause-long': ({ admin, random }) => paused(admin, long(random), random),
  async memory({ admin, random }) {
    // Less than an empty server has: each write is refused.
    await admin((redis) => redis.config('SET', 'maxmemory', '1'))
    await delay(short(random))
    await admin((redis) => redis.config('SET', 'maxmemory', '0'))
  },
  reset: ({ proxy }) => proxy('resetAll'),
  'reset-at': ({ proxy, random }) => during(proxy, short(random), 'resetAfter', bytes(random), direction(random)),
  'fin-at': ({ proxy, random }) => during(proxy, short(random), 'finAfter', bytes(random), direction(random)),
  stall: ({ proxy, random }) => during(proxy, short(random), 'stall'),
  'stall-long': ({ proxy, random }) => during(proxy, long(random), 'stall'),
  swallow: ({ proxy, random }) => during(proxy, long(random), 'swallowReplies'),
  slice: ({ proxy, random }) => during(proxy, short(random), 'slice', 1 + random(100)),
  throttle: ({ proxy, random }) => during(proxy, short(random), 'throttle', 1_000 * (5 + random(500))),
  'writer-kill': ({ killWriter }) => killWriter(),
  // What the old writer sent may run while the new one asks how far it came.
  'writer-kill-stop': ({ server, killWriter, random }) => stopped(server, () => replaced(killWriter, random)),
  async 'writer-kill-stall'({ proxy, killWriter, random }) {
    await proxy('stall')
    await replaced(killWriter, random)
    await proxy('heal')
  },
}

async function stopped(server, meanwhile) {
  await server.kill('SIGSTOP')
  await meanwhile()
  await server.kill('SIGCONT')
}

async function replaced(killWriter, random) {
  await delay(short(random))
  await killWriter()
  await delay(short(random))
}

async function paused(admin, ms, random) {
  await admin((redis) => redis.client('PAUSE', String(ms), ['ALL', 'WRITE'][random(2)]))
  await delay(ms)
}

async function during(proxy, ms, ...fault) {
  await proxy(...fault)
  await delay(ms)
  await proxy('heal')
}

module.exports = { STALL_MS, faults }
