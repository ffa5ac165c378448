'use strict'

// How much memory respipe takes where it could take a lot. Each case in a process of its own.
// node benchmark/memory.js [NAME]; exits with 1 where a limit is missed.

const { inChild } = require('./child.js')
const { installPackages } = require('./packages.js')
const { withServer } = require('./server.js')
const { table } = require('./table.js')

const cases = { 'distinct-keys': distinctKeys, 'stopped-server': stoppedServer, failures }

const MEGABYTE = 1e6

async function main([name]) {
  if (name !== undefined && !Object.hasOwn(cases, name)) {
    throw new RangeError(`no case is called ${name}: ${Object.keys(cases).join(', ')}`)
  }
  installPackages()
  // Needs the packages.
  const witness = require('./witness.js')
  const lines = []
  for (const title of name === undefined ? Object.keys(cases) : [name]) {
    const found = await withServer((server) => cases[title](server, witness))
    lines.push(...found.map(([what, value, relation, limit]) => ({ title, what, value, relation, limit })))
  }
  const rows = lines.map(({ title, what, value, relation, limit }) => [
    title,
    what,
    text(value),
    relation === undefined ? '' : `${relation} ${text(limit)}`,
    holds({ value, relation, limit }) ? '' : 'MISSED',
  ])
  console.log(table([['case', 'figure', 'measured', 'limit', ''], ...rows]))
  if (!lines.every(holds)) process.exitCode = 1
}

/** A synchronous loop that blocks where the server does not keep up. */
async function distinctKeys({ url, ...server }, { ask }) {
  const commands = 5_000_000
  const { result, peakRss, elapsedMs } = await inChild('memory/distinct-keys.js', { url, commands })
  const keys = await ask(server, (redis) => redis.dbsize())
  return [
    ['keys in the server', keys, '=', commands],
    ['succeeded', result.succeeded, '=', commands],
    ['commands/s', Math.round(commands / (elapsedMs / 1000))],
    ['peak RSS, MB', peakRss / MEGABYTE, '<=', 180],
  ]
}

/** A loop that goes on appending while the server stands still. */
async function stoppedServer({ url, pid }) {
  const bytes = 10e9
  // The default of maxBufferedBytes.
  const ceiling = 64 * 1024 * 1024
  const options = { url, pid, bytes, valueBytes: 16 * 1024 }
  const { result, peakRss } = await inChild('memory/stopped-server.js', options)
  const { appended, full, delayMs, code, outcome } = result
  const room = ceiling / options.valueBytes
  return [
    ['MB that were tried', ((appended + full) * options.valueBytes) / MEGABYTE, '>=', bytes / MEGABYTE],
    ['appended', appended, '<=', room],
    ['RESPIPE_BUFFER_FULL', full, '>=', Math.ceil(bytes / options.valueBytes) - room],
    ['event loop delay at most, ms', delayMs, '<=', 100],
    ['peak RSS, MB', peakRss / MEGABYTE, '<=', ceiling / MEGABYTE + 100],
    ['exec() rejected with', code, '=', 'RESPIPE_STALLED'],
    ['outcome.unknown', outcome.unknown, '>=', 1],
    ['succeeded + failed + unknown', outcome.succeeded + outcome.failed + outcome.unknown, '=', outcome.commands],
  ]
}

/** Refused commands are counted, and not kept one by one. */
async function failures({ url }) {
  const commands = 1_000_000
  const good = await inChild('memory/failures.js', { url, commands, fail: false })
  const bad = await inChild('memory/failures.js', { url, commands, fail: true })
  return [
    ['succeeded', good.result.succeeded, '=', commands],
    ['peak RSS, MB', good.peakRss / MEGABYTE],
    ['WRONGTYPE', bad.result.errors.WRONGTYPE, '=', commands],
    ['failures with details', bad.result.kept, '=', 100],
    ['peak RSS of those, MB', bad.peakRss / MEGABYTE, '<=', good.peakRss / MEGABYTE + 30],
  ]
}

function holds({ value, relation, limit }) {
  switch (relation) {
    case undefined:
      return true
    case '=':
      return value === limit
    case '<=':
      return value <= limit
    default:
      return value >= limit
  }
}

function text(value) {
  if (typeof value !== 'number') return String(value)
  return value.toLocaleString('en-US', { maximumFractionDigits: Math.abs(value) < 1000 ? 1 : 0 })
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
