'use strict'

// A run as it is kept: where it was measured, and the medians and ratios by workload and client.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { clients } = require('./clients.js')
const { judge } = require('./promises.js')
const { ratio, spread } = require('./statistics.js')
const { workloads } = require('./workload.js')

/** Of the full form; the README's chart and table are made from it. */
const RESULTS = path.join(__dirname, 'results', 'full.json')

const FIGURES = ['rate', 'cpu', 'thread', 'peak', 'delay']

function resultsOf(figures, plan, { rounds, server }) {
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: {
      cpu: os.cpus()[0]?.model.trim(),
      cores: os.cpus().length,
      system: `${os.platform()} ${os.arch()}`,
      node: process.version,
      server,
    },
    rounds,
    workloads: Object.fromEntries(
      plan.map(({ name, commands }) => [
        name,
        { title: workloads[name].title, commands, clients: perClient(figures[name]) },
      ]),
    ),
    promises: judge(figures).map((promise) => ({ ...promise, found: short(promise.found) })),
  }
}

function perClient(measured) {
  return Object.fromEntries(
    Object.entries(measured).map(([client, runs]) => {
      const median = byFigure((figure) => shorten(spread(column(runs, figure))))
      const other = reference(client, measured)
      if (other === undefined) return [client, { ...median }]
      const times = byFigure((figure) => shorten(ratio(column(measured[other], figure), column(runs, figure))))
      return [client, { ...median, beside: other, times }]
    }),
  )
}

/** The form of respipe whose figures are divided by a client's; undefined where there is nothing to compare. */
function reference(client, measured) {
  const ours = Object.keys(measured).filter((name) => name.startsWith('respipe'))
  if (ours.includes(client) || client === 'strings') return undefined
  return ours.includes(clients[client].beside) ? clients[client].beside : ours[0]
}

function byFigure(of) {
  return Object.fromEntries(FIGURES.map((figure) => [figure, of(figure)]))
}

function column(runs, figure) {
  return runs.map((run) => run[figure])
}

function shorten(numbers) {
  return Object.fromEntries(Object.entries(numbers).map(([name, number]) => [name, short(number)]))
}

/** Four digits are more than the noise leaves. What could not be measured is null. */
function short(number) {
  return Number.isFinite(number) ? Number(number.toPrecision(4)) : null
}

function write(file, results) {
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true })
  // What holds nothing but numbers goes on one line: thousands of them would hide the rest.
  const text = JSON.stringify(results, undefined, 2).replace(/\{[^{}]*\}/g, (inner) => inner.replaceAll(/\s+/g, ' '))
  fs.writeFileSync(file, `${text}\n`)
}

module.exports = { RESULTS, resultsOf, write }
