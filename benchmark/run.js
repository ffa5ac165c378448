'use strict'

// respipe beside the other clients, in turns, each in a process of its own.
// node benchmark/run.js [--full] [--only CLIENT,…] [--work WORKLOAD,…] [--rounds N] [--commands N] [--batch N] [--json FILE] [--strict]

const { parseArgs } = require('node:util')
const { availableClients, clients } = require('./clients.js')
const { installPackages } = require('./packages.js')
const { report } = require('./report.js')
const { RESULTS, resultsOf, write } = require('./results.js')
const { withServer } = require('./server.js')
const { workloads } = require('./workload.js')

/** Everything; promises are for the median of seven rounds or more. */
const FULL = { rounds: 7, share: 1, work: Object.keys(workloads), only: Object.keys(clients), json: RESULTS }

/** Within three minutes on two cores, whatever has to be installed included. `share`: of the commands. */
const SHORT = {
  rounds: 3,
  share: 0.6,
  work: ['hset', 'batches', 'get', 'tls', 'plain'],
  only: ['respipe', 'respipe-off', 'respipe-collect', 'limit', 'limit-off', 'node-net', 'bun', 'node-redis', 'ioredis'],
}

async function main() {
  const options = readOptions()
  installPackages()
  // Need the packages.
  const { measureInTurns } = require('./turns.js')
  const witness = require('./witness.js')
  const plan = planOf(options)
  const results = await withServer(
    async (server) => {
      const figures = await measureInTurns(server, plan, { ...options, say: console.log })
      return resultsOf(figures, plan, { ...options, server: await witness.version(server) })
    },
    { tls: plan.some(({ name }) => workloads[name].tls) },
  )
  console.log(report(results))
  if (options.json) write(options.json, results)
  if (options.json === RESULTS) console.log('\nnpm run bench:chart brings the README up to these results')
  if (options.strict && results.promises.some(({ kept }) => !kept)) process.exitCode = 1
}

function readOptions() {
  const text = { type: 'string' }
  const flag = { type: 'boolean', default: false }
  const { values } = parseArgs({
    options: {
      full: flag,
      only: text,
      work: text,
      rounds: text,
      commands: text,
      batch: text,
      json: text,
      strict: flag,
    },
  })
  const form = values.full ? FULL : SHORT
  const only = values.only && namesOf('client', values.only, clients)
  const work = values.work && namesOf('workload', values.work, workloads)
  return {
    // A part of everything is no result to be kept, and whoever names workloads wants all clients.
    json: values.json ?? (only || work || values.commands ? undefined : form.json),
    only: only ?? (work ? FULL.only : form.only),
    work: work ?? form.work,
    share: form.share,
    rounds: whole('rounds', values.rounds) ?? form.rounds,
    commands: whole('commands', values.commands) ?? Infinity,
    batch: whole('batch', values.batch),
    strict: values.strict,
  }
}

/** Which clients do how many commands of which workload. */
function planOf({ work, only, share, commands: most, batch }) {
  const available = availableClients(only)
  return work
    .map((name) => ({
      name,
      commands: Math.min(workloads[name].commands * share, most),
      batch,
      clients: workloads[name].clients.filter((client) => available.includes(client)),
    }))
    .filter((turn) => turn.clients.length > 0)
}

function namesOf(what, text, known) {
  const names = text.split(',')
  const unknown = names.find((name) => !Object.hasOwn(known, name))
  if (unknown !== undefined) throw new RangeError(`no ${what} is called ${unknown}: ${Object.keys(known).join(', ')}`)
  return names
}

function whole(name, text) {
  if (text === undefined) return undefined
  if (!/^[1-9]\d*$/.test(text)) throw new RangeError(`--${name} is a whole number from 1: ${text}`)
  return Number(text)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
