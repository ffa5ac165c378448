'use strict'

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { requests } = require('../request.js')

/** How often its memory is looked at, which it needs from the start on. */
const LOOK_MS = 20

/** `redis-cli --pipe`, from a file that is ready. Its costs are its own: it is looked at from outside. */
module.exports = async function redisCli({ host, port, workload }, clock) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-pipe-'))
  const file = path.join(dir, 'commands')
  fs.writeFileSync(file, requests(workload, workload.commands))
  let text = ''
  let peakRss = NaN
  const before = childrensMicros()
  try {
    await clock(async () => {
      const input = fs.openSync(file)
      const child = spawn('redis-cli', ['-h', host, '-p', String(port), '--pipe'], {
        stdio: [input, 'pipe', 'inherit'],
      })
      child.stdout.setEncoding('latin1').on('data', (chunk) => (text += chunk))
      const looking = setInterval(() => (peakRss = peakOf(child.pid) ?? peakRss), LOOK_MS)
      await once(child, 'close')
      clearInterval(looking)
      fs.closeSync(input)
    })
  } finally {
    fs.rmSync(dir, { recursive: true })
  }
  const [errors, replies] = /errors: (\d+), replies: (\d+)/.exec(text)?.slice(1).map(Number) ?? []
  const costs = { cpuMicros: childrensMicros() - before, threadMicros: NaN, peakRss, delayMs: NaN }
  return { succeeded: replies - errors, failed: errors, costs }
}

/** In bytes; undefined once it has ended, or where there is no /proc. */
function peakOf(pid) {
  const line = read(`/proc/${pid}/status`)?.match(/VmHWM:\s*(\d+)/)
  return line ? Number(line[1]) * 1024 : undefined
}

/** Processor time of the children that have ended, in the hundredths of a second that Linux counts. */
function childrensMicros() {
  // Behind the name, which may have blanks in it: state is the first, cutime the 14th, cstime the 15th.
  const fields = read('/proc/self/stat')?.replace(/.*\) /, '').split(' ')
  return fields ? (Number(fields[13]) + Number(fields[14])) * 10_000 : NaN
}

function read(file) {
  try {
    return fs.readFileSync(file, 'latin1')
  } catch {
    return undefined
  }
}
