'use strict'

// The results of a run, as text.

const { table } = require('./table.js')

function report({ workloads, promises, rounds }) {
  const head = [
    'workload',
    'commands',
    'client',
    'commands/s',
    'respipe is',
    'CPU µs',
    'JS thread µs',
    'peak MB',
    'delay ms',
  ]
  const rows = Object.entries(workloads).flatMap(([name, { commands, clients }]) =>
    Object.entries(clients).map(([client, figures], place) => [
      ...(place === 0 ? [name, count(commands)] : ['', '']),
      client,
      ...cells(figures),
    ]),
  )
  const note = `Medians of ${rounds} rounds; "respipe is" so many times as fast, within a round: median (least to most).`
  return [`\n${note}`, table([head, ...rows]), ...promised(promises)].join('\n')
}

function cells({ rate, cpu, thread, peak, delay, times }) {
  return [
    count(rate.median),
    times ? `${fixed(times.rate.median, 2)} (${fixed(times.rate.min, 2)} to ${fixed(times.rate.max, 2)})` : '',
    fixed(cpu.median, 3),
    fixed(thread.median, 3),
    fixed(peak.median, 0),
    fixed(delay.median, 1),
  ]
}

function promised(promises) {
  if (promises.length === 0) return []
  const rows = promises.map(({ what, promised: bound, found, kept }) => [
    what,
    bound,
    fixed(found, 2),
    kept ? 'kept' : 'MISSED',
  ])
  return ['', table([['promised', 'bound', 'found', ''], ...rows])]
}

function fixed(number, digits) {
  return number === null ? '?' : number.toFixed(digits)
}

function count(number) {
  return Math.round(number).toLocaleString('en-US')
}

module.exports = { report }
