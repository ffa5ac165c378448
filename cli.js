#!/usr/bin/env node
'use strict'

const { run } = require('./lib/cli/run.js')

// One line for people, in place of Node.js's with the number of the process and a hint for programmers.
process.removeAllListeners('warning').on('warning', ({ message }) => process.stderr.write(`Warning: ${message}\n`))

async function main() {
  process.exitCode = await run(process.argv.slice(2))
}

main()
