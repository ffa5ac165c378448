'use strict'

// Who takes part, by name. `beside`: which form of respipe the others are compared with, where it is not its default.

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const PROGRAMS = path.join(__dirname, 'node_modules', '.bin')

const bun = { file: 'bun', needs: 'bun', program: 'bun' }

/** One batch after another, as many scripts have them. */
const awaited = { batch: 10_000, underWay: 1 }

/** `batch`: the best of 300, 1,000, 3,000 and 10,000 commands, where the workload leaves it open; `underWay`: as in a workload. */
const clients = {
  respipe: { file: 'respipe', batch: 3_000 },
  'respipe-off': { file: 'respipe', batch: 3_000, options: { replies: 'off' } },
  'respipe-collect': { file: 'respipe-collect', batch: 1_000 },
  limit: { file: 'limit' },
  'limit-off': { file: 'limit', options: { silent: true }, beside: 'respipe-off' },
  'node-net': { file: 'node-net' },
  'node-net-buffer': { file: 'node-net-buffer' },
  'redis-cli': { file: 'redis-cli', needs: 'redis-cli' },
  bun: { ...bun, batch: 1_000 },
  'node-redis': { file: 'node-redis', batch: 1_000 },
  ioredis: { file: 'ioredis', batch: 1_000 },
  iovalkey: { file: 'ioredis', batch: 1_000, options: { module: 'iovalkey' } },
  'valkey-glide': { file: 'valkey-glide', batch: 1_000 },
  'bun-awaited': { ...bun, ...awaited },
  'node-redis-awaited': { file: 'node-redis', ...awaited },
  'ioredis-awaited': { file: 'ioredis', ...awaited },
  'valkey-glide-awaited': { file: 'valkey-glide', ...awaited },
  strings: { file: 'strings' },
}

/** The path of a program, from the folder's own packages or the PATH; undefined where it does not run. */
function findProgram(name) {
  return [path.join(PROGRAMS, name), name].find((file) => spawnSync(file, ['--version']).status === 0)
}

/** Those that can take part here, by name; says which cannot. */
function availableClients(names) {
  return names.filter((name) => {
    const { needs } = clients[name]
    if (needs === undefined || findProgram(needs) !== undefined) return true
    console.log(`benchmark: without ${name}, as there is no ${needs} on the PATH`)
    return false
  })
}

module.exports = { availableClients, clients, findProgram }
