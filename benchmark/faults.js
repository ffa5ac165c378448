'use strict'

// What is promised when servers are killed, connections cut, loads ended or refused: each tried against real servers, and
// counted in the end by another client.
// node benchmark/faults.js [kills|cuts|restarts|import-kills|ghosts|oom|all] [--runs N] [--seed N] [--json]; exits with 1 where a promise is broken.

const { parseArgs } = require('node:util')
const { randomNumbers } = require('../scripts/soak/random.js')
const { installPackages } = require('./packages.js')
const { table } = require('./table.js')

const names = ['kills', 'cuts', 'restarts', 'import-kills', 'ghosts', 'oom']

/** What is added up over the runs, and its column. */
const FIGURES = {
  faults: 'faults',
  commands: 'commands',
  succeeded: 'succeeded',
  failed: 'failed',
  unknown: 'unknown',
  resent: 'resent',
  lost: 'lost',
  surplus: 'stale or twice',
}

async function main() {
  const { chosen, runs, seed, json } = readOptions()
  installPackages()
  const say = json ? () => {} : (line) => console.log(line)
  say(`faults: ${chosen.join(', ')}; seed ${seed}`)
  const lines = []
  for (const name of chosen) {
    // Needs the packages.
    const experiment = require(`./faults/${name}.js`)
    for (let run = 0; run < (runs ?? experiment.runs); run++) {
      const runSeed = seed + run
      for (const line of await timed(experiment.run, runSeed)) {
        lines.push({ ...line, seed: runSeed })
        say(progress(line, run, runSeed))
      }
    }
  }
  const broken = [
    ...lines.flatMap(({ title, seed: at, broken: what }) => what.map((text) => `${title}, seed ${at}: ${text}`)),
    ...toothless(lines),
  ]
  if (json) console.log(JSON.stringify({ seed, lines, broken }, undefined, 2))
  else console.log(report(lines, broken))
  if (broken.length > 0) process.exitCode = 1
}

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      json: { type: 'boolean', default: false },
    },
  })
  const [name = 'all'] = positionals
  if (positionals.length > 1 || (name !== 'all' && !names.includes(name))) {
    throw new RangeError(`one of ${[...names, 'all'].join(', ')}: ${positionals.join(' ')}`)
  }
  const { runs, seed, json } = values
  return {
    chosen: name === 'all' ? names : [name],
    runs: runs === undefined ? undefined : whole('runs', runs, 1),
    seed: whole('seed', seed, 0),
    json,
  }
}

function whole(name, text, least) {
  const number = Number(text)
  if (!/^\d+$/.test(text) || number < least) throw new RangeError(`--${name} is a whole number from ${least}: ${text}`)
  return number
}

/** The lines of one run; that it ends early breaks every promise. */
async function timed(run, seed) {
  const start = performance.now()
  const lines = await run({ seed, random: randomNumbers(seed, 1) }).catch((error) => [
    { title: 'ended early', broken: [error.stack] },
  ])
  const seconds = (performance.now() - start) / 1000
  return lines.map((line) => ({ ...line, seconds: seconds / lines.length }))
}

/** Controls in which nothing went wrong: then what is promised beside them was not tried either. */
function toothless(lines) {
  const controls = lines.filter(({ promise }) => promise === 'control')
  return [...new Set(controls.map(({ title }) => title))]
    .filter((title) => controls.every((line) => line.title !== title || line.surplus === 0))
    .map((title) => `${title}: no key was stale where some should be`)
}

function progress({ title, seconds, broken, ...figures }, run, seed) {
  const told = Object.entries(FIGURES).filter(([name]) => figures[name] !== undefined)
  const text = told.map(([name, column]) => `${column} ${count(figures[name])}`).join(', ')
  return `${title}, run ${run + 1}, seed ${seed}: ${text}, ${seconds.toFixed(1)} s${broken.length > 0 ? '; BROKEN' : ''}`
}

/** A row for each title, in which its runs are added up. */
function report(lines, broken) {
  const rows = [...new Set(lines.map(({ title }) => title))].map((title) => {
    const runs = lines.filter((line) => line.title === title)
    const sums = Object.keys(FIGURES).map((name) => sum(runs, name))
    const verdict = runs.some((line) => line.broken.length > 0) ? 'BROKEN' : runs[0].promise
    return [title, count(runs.length), ...sums, sum(runs, 'seconds'), verdict ?? 'kept']
  })
  const head = ['experiment', 'runs', ...Object.values(FIGURES), 'seconds', 'promise']
  return ['', table([head, ...rows]), ...(broken.length > 0 ? ['', ...broken] : [])].join('\n')
}

/** Empty where there is no such figure. */
function sum(runs, name) {
  const numbers = runs.map((line) => line[name]).filter((number) => number !== undefined)
  if (numbers.length === 0) return ''
  return count(numbers.reduce((total, number) => total + number, 0))
}

function count(number) {
  return number.toLocaleString('en-US', { maximumFractionDigits: 0 })
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
