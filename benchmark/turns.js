'use strict'

// Measures clients with workloads, in turns, each in a process of its own.

const { inChild } = require('./child.js')
const { clients, findProgram } = require('./clients.js')
const witness = require('./witness.js')
const { workloads } = require('./workload.js')

const MEGABYTE = 1e6

/**
 * By workload and client, the figures of each round. `plan` is a list of { name, commands, clients, batch? }, by the names of workload and
 * clients; workloads of one section take turns with each other.
 */
async function measureInTurns(server, plan, { rounds, say = () => {} }) {
  const figures = Object.fromEntries(
    plan.map(({ name, clients: names }) => [name, Object.fromEntries(names.map((client) => [client, []]))]),
  )
  for (const [section, turns] of sections(plan)) {
    for (let round = 0; round < rounds; round++) {
      say(`${section}: round ${round + 1} of ${rounds}`)
      for (let turn = 0; turn < turns.length; turn++) {
        // Another one first each time: whoever comes after a slow one may find the machine in another state.
        const { client, ...work } = turns[(round + turn) % turns.length]
        figures[work.name][client].push(await measure(server, work, client))
      }
    }
  }
  return figures
}

/** The turns of a round, by section. */
function sections(plan) {
  const found = new Map()
  for (const { clients: names, ...work } of plan) {
    const section = workloads[work.name].section ?? work.name
    found.set(section, [...(found.get(section) ?? []), ...names.map((client) => ({ ...work, client }))])
  }
  return found
}

async function measure(server, { name, commands, batch }, client) {
  const workload = workloads[name]
  const { file, options, program: needed, batch: best, underWay } = clients[client]
  const { host, port, url, ca } = workload.tls ? server.tls : server
  const clear = () => witness.clear(server, workload)
  await clear()
  const chosen = { name, commands, batch: workload.batch ?? batch ?? best, underWay: workload.underWay ?? underWay }
  const work = { host, port, url, ca, ...options, workload: chosen }
  const program = needed && findProgram(needed)
  const { result, ...measured } = await inChild(`clients/${file}.js`, work, { program, whenWarm: clear })
  witness.equal(`${name}, ${client}: succeeded`, result.succeeded, commands)
  witness.equal(`${name}, ${client}: failed`, result.failed, 0)
  if (client !== 'strings') await witness.verify(server, workload, commands)
  return figuresOf(measured, commands)
}

/** JSON has no NaN: what could not be measured comes as null. */
function figuresOf({ elapsedMs, cpuMicros, threadMicros, peakRss, delayMs }, commands) {
  return {
    rate: commands / (elapsedMs / 1000),
    cpu: (cpuMicros ?? NaN) / commands,
    thread: (threadMicros ?? NaN) / commands,
    peak: (peakRss ?? NaN) / MEGABYTE,
    delay: delayMs ?? NaN,
  }
}

module.exports = { measureInTurns }
