'use strict'

// respipe beside the other clients, in turns, each in a process of its own.
// node benchmark/run.js [--only NAME,NAME] [--rounds N] [--commands N] [--batch N] [--json FILE]

const fs = require('node:fs')
const { parseArgs } = require('node:util')
const { inChild } = require('./child.js')
const { installPackages } = require('./packages.js')
const { report } = require('./report.js')
const { withServer } = require('./server.js')

const clients = ['respipe', 'ioredis', 'node-redis', 'node-net', 'limit']

async function main() {
  const { json, ...options } = readOptions()
  installPackages()
  // Needs the packages.
  const witness = require('./witness.js')
  const figures = await withServer((server) => measureAll(server, witness, options))
  console.log(report(figures, options))
  if (json) fs.writeFileSync(json, `${JSON.stringify({ ...options, figures }, undefined, 2)}\n`)
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string', default: clients.join() },
      rounds: { type: 'string', default: '5' },
      commands: { type: 'string', default: '1000000' },
      batch: { type: 'string', default: '10000' },
      json: { type: 'string' },
    },
  })
  const names = values.only.split(',')
  const unknown = names.find((name) => !clients.includes(name))
  if (unknown !== undefined) throw new RangeError(`no client is called ${unknown}: ${clients.join(', ')}`)
  const { rounds, commands, batch } = values
  return {
    names,
    rounds: whole('rounds', rounds),
    commands: whole('commands', commands),
    batch: whole('batch', batch),
    json: values.json,
  }
}

function whole(name, text) {
  if (!/^[1-9]\d*$/.test(text)) throw new RangeError(`--${name} is a whole number from 1: ${text}`)
  return Number(text)
}

/** By client, one measurement a round. */
async function measureAll(server, witness, { names, rounds, commands, batch }) {
  const figures = Object.fromEntries(names.map((name) => [name, []]))
  const { host, port, url } = server
  for (let round = 0; round < rounds; round++) {
    console.log(`round ${round + 1} of ${rounds}`)
    for (let turn = 0; turn < names.length; turn++) {
      // Another one first each time: whoever comes after a slow one may find the machine in another state.
      const name = names[(round + turn) % names.length]
      await witness.clear(server)
      const { result, ...measured } = await inChild(`clients/${name}.js`, { host, port, url, commands, batch })
      witness.equal(`${name}: succeeded`, result.succeeded, commands)
      witness.equal(`${name}: failed`, result.failed, 0)
      await witness.verify(server, commands)
      figures[name].push(measured)
    }
  }
  return figures
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
