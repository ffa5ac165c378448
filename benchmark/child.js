'use strict'

// The parent's side of measure.js: one piece of work in a process of its own.

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')

/** The slowest client with the largest workload takes less than a minute on a quiet machine. */
const LIMIT_MS = 300_000

/**
 * What `file` (relative to this folder) returns for these options, and what it cost. `program` runs it in the place of Node.js;
 * `whenWarm` is called, and waited for, between a warm-up and the work.
 */
async function inChild(file, options, { program = process.execPath, whenWarm } = {}) {
  const args = [path.join(__dirname, file), JSON.stringify(options)]
  const child = fork(path.join(__dirname, 'measure.js'), args, { execPath: program })
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  // Ends the waiting below.
  const fail = (error) => child.emit('error', error)
  let measured
  child.on('message', (message) => {
    if (message !== 'warm') measured = message
    else whenWarm().then(() => child.send('go'), fail)
  })
  try {
    const [code, signal] = await once(child, 'exit')
    if (measured === undefined || code !== 0) throw new Error(`${file} failed: ${signal ?? `exit code ${code}`}`)
    return measured
  } finally {
    clearTimeout(timer)
    child.kill('SIGKILL')
  }
}

module.exports = { inChild }
