#!/usr/bin/env node
'use strict'

const { version } = require('./package.json')

const usage = `respipe ${version} loads data into Redis and Valkey from Node.js. It is used from a script,
through bulkPipeline(): see the README. The command line knows --version and --help only.
`

switch (process.argv[2]) {
  case '--version':
  case '-V':
    console.log(`respipe ${version}`)
    break
  case '--help':
  case '-h':
    process.stdout.write(usage)
    break
  default:
    process.stderr.write(usage)
    process.exitCode = 2
}
