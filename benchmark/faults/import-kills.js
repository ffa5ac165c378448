'use strict'

// `respipe import --checkpoint` is killed, and run again with `--resume`: an LPUSH for each row, and every row must be there
// exactly once, in its order.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const zlib = require('node:zlib')
const { ask } = require('../witness.js')
const { complaints } = require('./outcome.js')
const { withServer } = require('./server.js')

const CLI = path.join(__dirname, '..', '..', 'cli.js')
const ROWS = 1_000_000
const KILLS = 10
/** A kill comes so long after its point at most: within a transaction, between two, while the file is read again. */
const LATE_MS = 20
/** Of the list that are asked for together. */
const AT_ONCE = 10_000
/** So that a load takes a second or more. */
const PAD = 'x'.repeat(60)

/** By turns: a file that can be read from any place would hide what resuming skips. */
const PACKED = { 'rows.csv': (text) => text, 'rows.csv.gz': (text) => zlib.gzipSync(text, { level: 1 }) }

function run({ seed, random }) {
  return withServer([], async (server) => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-kills-'))
    try {
      const [name, pack] = Object.entries(PACKED)[seed % 2]
      const file = path.join(dir, name)
      fs.writeFileSync(file, pack(rows()))
      const { killed, summary } = await importKilled(server, file, random)
      const broken = complaints('the last run', summary, { exitCode: 0, rows: ROWS, failed: 0, unknown: 0 })
      if (killed < KILLS) broken.push(`${killed} of ${KILLS} were killed: the others were over before`)
      const { lost, surplus, isOrdered } = await ask(server, compare)
      if (lost + surplus > 0) broken.push(`${lost} rows are lost, ${surplus} are there twice`)
      if (!isOrdered) broken.push('rows are out of order')
      return [{ title: 'import-kills', faults: killed, commands: ROWS, lost, surplus, broken }]
    } finally {
      fs.rmSync(dir, { recursive: true })
    }
  })
}

function rows() {
  const lines = ['id,pad']
  for (let id = 0; id < ROWS; id++) lines.push(`${id},${PAD}`)
  return `${lines.join('\n')}\n`
}

/** Each run is killed at a random point of the first nine tenths of the whole; the last one goes to its end. */
async function importKilled(server, file, random) {
  const points = Array.from({ length: KILLS }, () => random(0.9 * ROWS)).toSorted((a, b) => a - b)
  let killed = 0
  for (const [at, point] of points.entries()) {
    const { child, closed } = start(server, file, at === 0 ? [] : ['--resume'])
    await ask(server, async (redis) => {
      while ((await redis.llen('list')) < point && child.exitCode === null) await delay(1)
    })
    await delay(random(LATE_MS))
    if (child.exitCode === null) killed++
    child.kill('SIGKILL')
    await closed
  }
  const told = await start(server, file, ['--resume']).closed
  return { killed, summary: JSON.parse(told.trimEnd().split('\n').at(-1)) }
}

/** `closed` resolves to what it has printed. */
function start({ url }, file, more) {
  const flags = ['--url', url, '--checkpoint', 'progress', '--json', ...more]
  const child = spawn(process.execPath, [CLI, 'import', file, 'LPUSH list {id}:{pad}', ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk))
  return { child, closed: once(child, 'close').then(() => text) }
}

/** The list has the last row in front. */
async function compare(redis) {
  const times = new Uint8Array(ROWS)
  const length = await redis.llen('list')
  let surplus = 0
  let isOrdered = true
  let before = ROWS
  for (let from = 0; from < length; from += AT_ONCE) {
    for (const text of await redis.lrange('list', from, from + AT_ONCE - 1)) {
      const id = Number(text.slice(0, -PAD.length - 1))
      if (times[id]++ > 0) surplus++
      if (id >= before) isOrdered = false
      before = id
    }
  }
  return { lost: times.filter((count) => count === 0).length, surplus, isOrdered }
}

module.exports = { runs: 4, run }
