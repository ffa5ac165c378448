'use strict'

// The parent's side of measure.js: one piece of work in a process of its own.

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')

const LIMIT_MS = 120_000

/** What `file` (relative to this folder) returns for these options, and what it cost. */
async function inChild(file, options) {
  const child = fork(path.join(__dirname, 'measure.js'), [path.join(__dirname, file), JSON.stringify(options)])
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS)
  let measured
  child.once('message', (message) => (measured = message))
  try {
    const [code, signal] = await once(child, 'exit')
    if (measured === undefined || code !== 0) throw new Error(`${file} failed: ${signal ?? `exit code ${code}`}`)
    return measured
  } finally {
    clearTimeout(timer)
  }
}

module.exports = { inChild }
