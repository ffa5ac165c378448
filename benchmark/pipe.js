'use strict'

// `respipe pipe` beside `redis-cli --pipe`, as whole processes: the same input must come to the same counts and the same data;
// then how long each takes for a file that is ready, in turns, and with --gigabytes how much memory a stream takes that is
// stored nowhere.
// node benchmark/pipe.js [--commands N] [--rounds N] [--gigabytes N] [--json]; exits with 1 where anything differs.

const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { withServer } = require('./faults/server.js')
const { installPackages } = require('./packages.js')
const { INPUTS } = require('./pipe/inputs.js')
const { requests } = require('./request.js')
const { median, ratio } = require('./statistics.js')
const { table } = require('./table.js')
const { workloads } = require('./workload.js')

const CLI = path.join(__dirname, '..', 'cli.js')

/** By name: the program and what it is given, without the server. */
const WAYS = {
  'redis-cli': ['redis-cli', ['--pipe']],
  respipe: [process.execPath, [CLI, 'pipe']],
}

/** For DEBUG DIGEST. */
const DIGESTS = ['--enable-debug-command', 'yes']

/** How often memory is looked at. */
const LOOK_MS = 50

async function main() {
  const { commands, rounds, gigabytes, json } = readOptions()
  installPackages()
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-pipe-'))
  try {
    const same = await compared(dir)
    const rates = await withServer([], (server) => measured(server, dir, commands, rounds))
    const stream = gigabytes > 0 ? await withServer([], (server) => streamed(server, gigabytes)) : undefined
    if (json) console.log(JSON.stringify({ same, rates, stream }, undefined, 2))
    else console.log(report({ same, rates, stream, commands }))
    if (same.some(({ differs }) => differs) || stream?.counts !== stream?.expected) process.exitCode = 1
  } finally {
    fs.rmSync(dir, { recursive: true })
  }
}

function readOptions() {
  const { values } = parseArgs({
    options: {
      commands: { type: 'string', default: '1000000' },
      rounds: { type: 'string', default: '5' },
      gigabytes: { type: 'string', default: '0' },
      json: { type: 'boolean', default: false },
    },
  })
  const { commands, rounds, gigabytes, json } = values
  return { commands: Number(commands), rounds: Number(rounds), gigabytes: Number(gigabytes), json }
}

/** For each input what each way comes to, from the same state of the server. */
async function compared(dir) {
  const file = path.join(dir, 'input')
  const found = []
  for (const [name, make] of Object.entries(INPUTS)) {
    const input = await withServer([], make)
    fs.writeFileSync(file, input)
    const [theirs, ours] = await withServer(DIGESTS, async (server) => [
      await outcome(server, 'redis-cli', file),
      await outcome(server, 'respipe', file),
    ])
    found.push({ name, bytes: input.length, theirs, ours, differs: theirs !== ours })
  }
  return found
}

/** Counts, exit code and data, as one text. */
async function outcome(server, way, file) {
  ask(server, 'FLUSHALL')
  const { code, counts } = await piped(server, way, fs.openSync(file))
  return `${counts}, exit code ${code}, ${ask(server, 'DEBUG', 'DIGEST')}`
}

async function measured(server, dir, commands, rounds) {
  const file = path.join(dir, 'ready.resp')
  const { request } = workloads.hset
  fs.writeFileSync(file, requests({ request }, commands))
  const rates = Object.fromEntries(Object.keys(WAYS).map((way) => [way, []]))
  for (let round = 0; round < rounds; round++) {
    const turns = Object.keys(WAYS)
    // Another one first each time.
    if (round % 2 === 1) turns.reverse()
    for (const way of turns) {
      ask(server, 'FLUSHALL')
      const { counts, elapsedMs } = await piped(server, way, fs.openSync(file))
      if (counts !== `errors: 0, replies: ${commands}`) throw new Error(`${way}: ${counts}`)
      rates[way].push(commands / (elapsedMs / 1000))
    }
  }
  return rates
}

/** A stream of so many bytes, made while it is read. */
async function streamed(server, gigabytes) {
  const generator = spawn(process.execPath, [path.join(__dirname, 'pipe', 'generate.js'), String(gigabytes * 1e9)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  generator.stderr.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  const written = once(generator, 'close')
  const { counts, peakRss, elapsedMs } = await piped(server, 'respipe', generator.stdout)
  await written
  return { gigabytes, counts, expected: `errors: 0, replies: ${text}`, peakRss, elapsedMs }
}

/** Runs it with this standard input. */
async function piped({ port }, way, input) {
  const [program, args] = WAYS[way]
  const start = performance.now()
  const child = spawn(program, [...args, '-p', String(port)], { stdio: [input, 'pipe', 'ignore'] })
  if (typeof input === 'number') fs.closeSync(input)
  // It is the child's alone, or there would be no end of it.
  else input.destroy()
  let text = ''
  let peakRss = NaN
  child.stdout.setEncoding('latin1').on('data', (chunk) => (text += chunk))
  const looking = setInterval(() => (peakRss = peakOf(child.pid) ?? peakRss), LOOK_MS)
  const [code] = await once(child, 'close')
  clearInterval(looking)
  const counts = /errors: \d+, replies: \d+/.exec(text)?.[0] ?? 'no counts'
  return { code, counts, peakRss, elapsedMs: performance.now() - start }
}

/** In bytes; undefined where there is no /proc. */
function peakOf(pid) {
  try {
    const [, kilobytes] = /VmHWM:\s*(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1')) ?? []
    return kilobytes && Number(kilobytes) * 1024
  } catch {
    return undefined
  }
}

function ask({ port }, ...words) {
  return spawnSync('redis-cli', ['-p', String(port), ...words], { encoding: 'utf8' }).stdout.trim()
}

function report({ same, rates, stream, commands }) {
  const rows = same.map(({ name, bytes, theirs, ours, differs }) => [
    name,
    count(bytes),
    /errors: (\d+)/.exec(theirs)?.[1] ?? '',
    /replies: (\d+)/.exec(theirs)?.[1] ?? '',
    differs ? `DIFFERS: ${ours}, not ${theirs}` : 'same',
  ])
  const lines = [table([['input', 'bytes', 'errors', 'replies', 'counts, exit code, data'], ...rows]), '']
  lines.push(`${count(commands)} HSETs of a ready file, commands/s`)
  for (const [way, numbers] of Object.entries(rates)) {
    lines.push(`  ${way.padEnd(9)}  median ${count(median(numbers))}  (${numbers.map(count).join(', ')})`)
  }
  const { median: middle, min, max } = ratio(rates.respipe, rates['redis-cli'])
  lines.push(
    `  respipe / redis-cli, by round: ${[middle, min, max].map((number) => number.toFixed(2)).join(', ')} (median, min, max)`,
  )
  if (stream !== undefined) {
    const { gigabytes, counts, expected, peakRss, elapsedMs } = stream
    const verdict = counts === expected ? 'all of them' : `WRONG, not ${expected}`
    const [megabytes, seconds] = [(peakRss / 1e6).toFixed(1), (elapsedMs / 1000).toFixed(1)]
    lines.push('', `${gigabytes} GB through respipe: ${counts} (${verdict}), ${megabytes} MB at most, ${seconds} s`)
  }
  return lines.join('\n')
}

function count(number) {
  return number.toLocaleString('en-US', { maximumFractionDigits: 0 })
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
