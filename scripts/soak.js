'use strict'

// Loads under faults for as long as it is told, and a check of what each promise was worth.
// node scripts/soak.js [--minutes N] [--seed N] [--legs NAME,NAME] [--server FILE] [--json FILE]; exits with 1 on any violation.

const fs = require('node:fs')
const { parseArgs } = require('node:util')
const { runLeg } = require('./soak/leg.js')
const { legs } = require('./soak/legs.js')
const { report } = require('./soak/report.js')

async function main() {
  const { minutes, seed, names, binary, json } = readOptions()
  console.log(`soak: ${names.length} legs in ${minutes} minutes, seed ${seed}`)
  const results = []
  for (const name of names) {
    console.log(`\n> ${name}: ${legs[name].title}`)
    const result = await runLeg(name, { seed, binary, durationMs: (minutes * 60_000) / names.length })
    results.push(result)
    console.log(`< ${name}: ${result.batches} batches, ${result.violations.length === 0 ? 'all well' : 'VIOLATED'}`)
  }
  console.log(
    `\n${report(results)}\n\nagain: npm run soak -- --minutes ${minutes} --seed ${seed} --legs ${names.join()}`,
  )
  if (json) fs.writeFileSync(json, `${JSON.stringify({ minutes, seed, results }, undefined, 2)}\n`)
  if (results.some(({ violations }) => violations.length > 0)) process.exitCode = 1
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '10' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      legs: { type: 'string', default: Object.keys(legs).join() },
      server: { type: 'string' },
      json: { type: 'string' },
    },
  })
  const minutes = Number(values.minutes)
  if (!(minutes > 0)) throw new RangeError(`--minutes is a number above 0: ${values.minutes}`)
  const seed = Number(values.seed)
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`--seed is a whole number: ${values.seed}`)
  const names = values.legs.split(',')
  const unknown = names.find((name) => !Object.hasOwn(legs, name))
  if (unknown !== undefined) throw new RangeError(`no leg is called ${unknown}: ${Object.keys(legs).join(', ')}`)
  return { minutes, seed, names, binary: values.server, json: values.json }
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
