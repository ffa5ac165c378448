'use strict'

// Rows of files and of JavaScript, beside what the server takes and what one would write without respipe; and the memory of long files.
// node benchmark/rows.js [--rounds n] [--rows n] [--long n]; exits with 1 where a promise is missed.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { inChild } = require('./child.js')
const { installPackages } = require('./packages.js')
const { KEYS, rowOf, writeFiles } = require('./rows/data.js')
const { withServer } = require('./server.js')
const { median, ratio } = require('./statistics.js')
const { table } = require('./table.js')

const MEBIBYTE = 1024 * 1024

/** Who takes a turn, by title: the file of `rows/`, and what it is told. */
const turns = {
  'redis-cli --pipe': { work: 'redis-cli', ready: true },
  'importFile, csv': { work: 'respipe', from: 'csv' },
  'importFile, resp': { work: 'respipe', from: 'resp', ready: true },
  'csv-parse and ioredis': { work: 'csv-parse' },
  'the limit: a ready buffer': { work: 'limit', ready: true },
  'load, template': { work: 'respipe', from: 'objects' },
  'load, function': { work: 'respipe', from: 'objects', mapper: true },
}

/** Of the first one's rate, that of the second, at least. */
const promises = [
  ['importFile, csv', 'redis-cli --pipe', 0.9],
  ['importFile, resp', 'redis-cli --pipe', 1],
  ['importFile, csv', 'csv-parse and ioredis', 6],
  ['load, template', 'the limit: a ready buffer', 0.9],
  ['load, function', 'the limit: a ready buffer', undefined],
]

/** Of the time that an import takes, the JavaScript thread is busy for so much of it at most. */
const BUSY = 0.05

/** Above `node -e 0`. */
const MEMORY = 48 * MEBIBYTE

async function main() {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '5' },
      rows: { type: 'string', default: '1000000' },
      long: { type: 'string', default: '10000000' },
    },
  })
  const [rounds, rows, long] = [values.rounds, values.rows, values.long].map(Number)
  installPackages()
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-rows-'))
  try {
    const measured = await withServer((server) => inTurns(server, writeFiles(dir, rows), rows, rounds))
    const lasting = await withServer(async (server) => {
      const { csv } = writeFiles(dir, long, { ready: false })
      return measure(server, 'importFile, csv', { csv }, long)
    })
    report(measured, lasting, { rows, rounds, long })
  } finally {
    fs.rmSync(dir, { recursive: true })
  }
}

async function inTurns(server, files, rows, rounds) {
  const titles = Object.keys(turns)
  const measured = Object.fromEntries(titles.map((title) => [title, []]))
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < titles.length; turn++) {
      // Another one first each time: whoever comes after a slow one may find the machine in another state.
      const title = titles[(round + turn) % titles.length]
      measured[title].push(await measure(server, title, files, rows))
    }
  }
  return measured
}

async function measure(server, title, { csv, resp }, rows) {
  // Needs the packages.
  const witness = require('./witness.js')
  const { work, ready, ...options } = turns[title]
  const { host, port, url } = server
  await witness.clear(server)
  const told = { host, port, url, rows, file: ready ? resp : csv, ...options }
  const { result, elapsedMs, threadMicros, peakRss } = await inChild(`rows/${work}.js`, told)
  witness.equal(`${title}: succeeded`, result.succeeded, rows)
  await witness.ask(server, async (redis) => {
    for (const number of [rows - 1, Math.floor(rows / 2)]) {
      const { id, ...fields } = rowOf(number)
      // Written over by a later row.
      if (number + KEYS < rows) continue
      witness.equal(`user:${id}`, JSON.stringify(await redis.hgetall(`user:${id}`)), JSON.stringify(fields))
    }
  })
  return { rate: rows / (elapsedMs / 1000), busy: threadMicros / 1000 / elapsedMs, peakRss }
}

function report(measured, lasting, { rows, rounds, long }) {
  const base = Number(execFileSync(process.execPath, ['-e', PEAK], { encoding: 'utf8' })) * 1024
  const above = ({ peakRss }) => peakRss - base
  const imports = measured['importFile, csv']
  const lines = promises.map(([title, beside, least]) => {
    const { median: middle, min, max } = ratio(rates(measured[title]), rates(measured[beside]))
    const range = `${middle.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})`
    return [title, `of ${beside}`, range, ...judged(least, `>= ${least}`, middle >= least)]
  })
  const busy = median(imports.map((one) => one.busy))
  lines.push([
    'importFile, csv',
    'JavaScript thread busy',
    percent(busy),
    ...judged(BUSY, `<= ${percent(BUSY)}`, busy <= BUSY),
  ])
  for (const [count, memory] of [
    [rows, Math.max(...imports.map(above))],
    [long, above(lasting)],
  ]) {
    const limit = `<= ${mebibytes(MEMORY)}`
    const what = `${count.toLocaleString('en-US')} rows: above node -e 0`
    lines.push(['importFile, csv', what, mebibytes(memory), ...judged(MEMORY, limit, memory <= MEMORY)])
  }
  console.log(`${rows.toLocaleString('en-US')} rows of five columns, HSET; median of ${rounds} rounds in turns`)
  const shown = Object.entries(measured).map(([title, figures]) => [
    title,
    Math.round(median(rates(figures))).toLocaleString('en-US'),
    percent(median(figures.map((one) => one.busy))),
    mebibytes(Math.max(...figures.map(({ peakRss }) => peakRss))),
  ])
  console.log(table([['who', 'rows/s', 'JS thread', 'peak'], ...shown]))
  console.log(table([['who', 'figure', 'measured', 'promised', ''], ...lines]))
  if (lines.some((line) => line.at(-1) === 'MISSED')) process.exitCode = 1
}

function judged(promise, text, kept) {
  if (promise === undefined) return ['', '']
  return [text, kept ? 'kept' : 'MISSED']
}

const PEAK = `console.log(/VmHWM:\\s*(\\d+)/.exec(require('fs').readFileSync('/proc/self/status', 'latin1'))[1])`

const rates = (figures) => figures.map(({ rate }) => rate)
const percent = (part) => `${(part * 100).toFixed(1)} %`
const mebibytes = (bytes) => `${Math.round(bytes / MEBIBYTE)} MiB`

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
