'use strict'

// Measurements by client and round, as text.

const { median, ratio } = require('./statistics.js')
const { table } = require('./table.js')

const MEGABYTE = 1e6

/** What respipe promises beside ioredis. */
const PROMISE = { rate: 5, cpu: 0.1 }

function report(figures, { rounds, commands, batch }) {
  const measured = Object.fromEntries(Object.entries(figures).map(([name, runs]) => [name, perCommand(runs, commands)]))
  const title = `HSET of 1 field to 1,000 keys: ${count(commands)} commands, batches of ${count(batch)}, median of ${rounds}`
  return [`\n${title}`, summary(measured), ...comparison(measured), ...promise(measured)].join('\n')
}

function perCommand(runs, commands) {
  return {
    rate: runs.map(({ elapsedMs }) => commands / (elapsedMs / 1000)),
    cpu: runs.map(({ cpuMicros }) => cpuMicros / commands),
    // JSON has no NaN.
    thread: runs.map(({ threadMicros }) => (threadMicros ?? NaN) / commands),
    peak: runs.map(({ peakRss }) => peakRss / MEGABYTE),
  }
}

function summary(measured) {
  const head = ['client', 'commands/s', 'slowest', 'fastest', 'CPU µs', 'of it JS thread', 'peak RSS MB']
  const rows = Object.entries(measured).map(([name, { rate, cpu, thread, peak }]) => [
    name,
    count(median(rate)),
    count(Math.min(...rate)),
    count(Math.max(...rate)),
    median(cpu).toFixed(3),
    Number.isNaN(median(thread)) ? '?' : median(thread).toFixed(3),
    median(peak).toFixed(0),
  ])
  return table([head, ...rows])
}

/** respipe's figures as multiples of each other client's. */
function comparison({ respipe, ...others }) {
  if (!respipe || Object.keys(others).length === 0) return []
  const head = ['respipe beside', 'commands/s', 'CPU', 'JS thread', 'peak RSS']
  const rows = Object.entries(others).map(([name, other]) => [
    name,
    ...['rate', 'cpu', 'thread', 'peak'].map((figure) => range(ratio(respipe[figure], other[figure]))),
  ])
  return ['\nRatios within a round: median (least to most)', table([head, ...rows])]
}

function range({ median: middle, min, max }) {
  if (Number.isNaN(middle)) return '?'
  return `${middle.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`
}

function promise({ respipe, ioredis }) {
  if (!respipe || !ioredis) return []
  const rate = ratio(respipe.rate, ioredis.rate).median
  const cpu = ratio(respipe.cpu, ioredis.cpu).median
  return [
    `\nPromised beside ioredis: ${PROMISE.rate} times its commands/s ${verdict(rate >= PROMISE.rate)}, ` +
      `${PROMISE.cpu.toFixed(2)} of its CPU ${verdict(cpu <= PROMISE.cpu)}`,
  ]
}

function verdict(holds) {
  return holds ? '(kept)' : '(MISSED)'
}

function count(number) {
  return Math.round(number).toLocaleString('en-US')
}

module.exports = { report }
