'use strict'

// Writes the README's chart and table from benchmark/results/full.json, which `npm run bench -- --full` leaves.
// node scripts/chart.js [--check]; with --check it writes nothing, and exits with 1 where something else would come out.

const fs = require('node:fs')
const path = require('node:path')
const { RESULTS } = require('../benchmark/results.js')
const { barChart } = require('./chart/bars.js')
const { markdownTable } = require('./chart/table.js')

const root = path.join(__dirname, '..')
const CHART = path.join(path.dirname(RESULTS), 'chart.svg')
const README = path.join(root, 'README.md')

const MARKS = /(<!-- figures: .*? -->\n).*?(\n<!-- end of figures -->)/s

/** Columns and bars: how a client is called where users read it. */
const NAMES = {
  respipe: 'respipe',
  limit: 'the limit',
  'node-net': 'node:net',
  'redis-cli': 'redis-cli --pipe',
  bun: 'Bun',
  'node-redis': 'node-redis',
  'valkey-glide': 'valkey-glide',
  ioredis: 'ioredis',
  iovalkey: 'iovalkey',
}

const CHARTED = 'hset'
/** Behind the name of a client whose batches are awaited one by one. */
const AWAITED = '-awaited'
const COLUMNS = ['limit', 'ioredis', 'node-redis', 'valkey-glide', 'bun', 'node-net']
/** Those of one client alone, or about memory. */
const UNLISTED = /^(plain|delay|rows-.*)$/

function main(checking) {
  const results = fs.existsSync(RESULTS) ? JSON.parse(fs.readFileSync(RESULTS, 'utf8')) : undefined
  const readme = fs.readFileSync(README, 'utf8')
  const written = [
    [README, readme.replace(MARKS, (_, start, end) => `${start}${results ? section(results) : ''}${end}`)],
  ]
  if (results) written.push([CHART, chart(results)])
  if (!checking) {
    for (const [file, text] of written) fs.writeFileSync(file, text)
    return
  }
  const old = written.filter(([file, text]) => !fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== text)
  for (const [file] of old) console.error(`${path.relative(root, file)} is not what scripts/chart.js writes`)
  if (old.length > 0) process.exitCode = 1
}

function chart({ workloads }) {
  const { title, clients } = workloads[CHARTED]
  const bars = Object.keys(NAMES)
    .filter((client) => clients[client])
    .map((client) => ({ name: NAMES[client], value: clients[client].rate.median, ours: client === 'respipe' }))
    .toSorted((a, b) => b.value - a.value)
  return barChart(`${title}, commands/s`, bars)
}

function section({ date, machine, rounds, workloads }) {
  const { cpu, cores, node, server } = machine
  const { title } = workloads[CHARTED]
  const rows = Object.entries(workloads)
    .filter(([name]) => !UNLISTED.test(name))
    .flatMap(([, workload]) => rowsOf(workload))
  return `
![${title}, commands/s of each client](benchmark/results/chart.svg)

How many times as fast respipe is, median of ${rounds} rounds in turns. The limit is what the server takes from a ready buffer.

${markdownTable([['Work', 'commands/s', ...COLUMNS.map((client) => NAMES[client])], ...rows])}

${processorTime(workloads[CHARTED].clients)} ${cpu}, ${cores} cores for client and server, Node.js ${node.slice(1)}, ${server}, ${date}.
`
}

/** The others as they are fastest, and where that was measured, with their batches awaited one by one. */
function rowsOf({ title, clients }) {
  const ours = clients.respipe ?? clients['respipe-collect']
  const rate = Math.round(ours.rate.median).toLocaleString('en-US')
  const times = (form) => COLUMNS.map((client) => clients[client + form]?.times?.rate.median.toFixed(2) ?? '')
  const awaited = times(AWAITED)
  const tuned = [title, rate, ...times('')]
  return awaited.some(Boolean) ? [tuned, ['the same, others await each batch of 10,000', rate, ...awaited]] : [tuned]
}

/** For a command of the chart, and how much of it is taken from the user's own code. */
function processorTime(clients) {
  const told = ['respipe', 'node-net', 'ioredis']
    .filter((client) => clients[client])
    .map((client) => {
      const { cpu, thread } = clients[client]
      const part = thread.median === null ? '' : ` (${thread.median.toFixed(2)} on the JavaScript thread)`
      return `${NAMES[client]} ${cpu.median.toFixed(2)} µs${part}`
    })
  return `Processor time for a command of the chart: ${told.join(', ')}.`
}

main(process.argv.includes('--check'))
