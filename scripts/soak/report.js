'use strict'

// What the legs came to, as text.

const { table } = require('../../benchmark/table.js')

const MEGABYTE = 1e6

function report(results) {
  return [totals(results), '', faults(results), ...results.flatMap(violations)].join('\n')
}

function totals(results) {
  const head = ['leg', 'batches', 'commands', 'failed', 'unknown', 'rejected', 'resent', 'reconnects', 'peak RSS MB']
  const rows = results.map((leg) => [
    leg.name,
    ...[leg.batches, leg.commands, leg.failed, leg.unknown, leg.rejected, leg.resent, leg.reconnects].map(count),
    (leg.rss / MEGABYTE).toFixed(0),
    count(leg.violations.reduce((sum, violation) => sum + violation.count, 0)),
  ])
  return table([[...head, 'violations'], ...rows])
}

/** A row for each kind, a column for each leg. */
function faults(results) {
  const kinds = [...new Set(results.flatMap((leg) => Object.keys(leg.faults)))].toSorted()
  const rows = kinds.map((kind) => [kind, ...results.map((leg) => count(leg.faults[kind] ?? 0))])
  return table([['faults', ...results.map(({ name }) => name)], ...rows])
}

function violations(leg) {
  if (leg.violations.length === 0) return []
  const lines = leg.violations.map(({ what, count: times, example }) => `  ${what}: ${count(times)}, as ${example}`)
  return [`\nVIOLATED in ${leg.name} (journals and the server's log: ${leg.kept})`, ...lines]
}

function count(number) {
  return number.toLocaleString('en-US')
}

module.exports = { report }
