'use strict'

// Who takes part, by name. `beside`: which form of respipe the others are compared with, where it is not its default.

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const PROGRAMS = path.join(__dirname, 'node_modules', '.bin')

/** `batch`: the best of 300, 1,000, 3,000 and 10,000 commands, where the workload leaves it open. */
const clients = {
  respipe: { file: 'respipe', batch: 3_000 },
  'respipe-off': { file: 'respipe', batch: 3_000, options: { replies: 'off' } },
  'respipe-collect': { file: 'respipe-collect', batch: 1_000 },
  limit: { file: 'limit' },
  'limit-off': { file: 'limit', options: { silent: true }, beside: 'respipe-off' },
  'node-net': { file: 'node-net' },
  'node-net-buffer': { file: 'node-net-buffer' },
  'redis-cli': { file: 'redis-cli', needs: 'redis-cli' },
  bun: { file: 'bun', batch: 1_000, needs: 'bun', program: 'bun' },
  'node-redis': { file: 'node-redis', batch: 1_000 },
  ioredis: { file: 'ioredis', batch: 1_000 },
  iovalkey: { file: 'ioredis', batch: 1_000, options: { module: 'iovalkey' } },
  'valkey-glide': { file: 'valkey-glide', batch: 1_000 },
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
