// The command `respipe`: a command line comes in, an exit code goes out.
'use strict'

const { readArguments } = require('./arguments.js')
const { EXIT } = require('./exit.js')
const { reason, UsageError } = require('./usage.js')

/**
 * @param {string[]} argv without the names of Node.js and of the script
 * @param {Partial<typeof WORLD>} [parts] of the world, for tests
 * @returns {Promise<number>} the exit code
 */
async function run(argv, parts = {}) {
  const world = { ...WORLD, ...parts }
  const broken = watchOutput(world)
  let exitCode
  try {
    const call = readArguments(argv)
    exitCode = await COMMANDS[call.command](call, world)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    world.stderr.write(`respipe: ${error.message}\n`)
    exitCode = EXIT.USAGE
  }
  return broken.error === undefined ? exitCode : Math.max(exitCode, EXIT.FAILED)
}

/** What it does and where. Each module is loaded only by what needs it: a load of a small file is mostly that. */
const WORLD = {
  bulkPipeline: (options) => require('../../index.js').bulkPipeline(options),
  checkFile,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signals: process,
  exit: (code) => process.exit(code),
  now: () => performance.now(),
  /** Without `process.stdin`: to look at that would begin to read what is for the load. */
  isInputTerminal: () => require('node:tty').isatty(0),
  openTerminal: undefined,
}

async function checkFile(path, template, { db, onNull, maxFailures, maxBufferedBytes, ...options }) {
  const bulk = require('../../index.js').bulkPipeline({ db, onNull, maxFailures, maxBufferedBytes })
  try {
    return await bulk.checkFile(path, template, options)
  } finally {
    bulk.destroy()
  }
}

const COMMANDS = {
  import: (call, world) => require('./load.js').load(call, world),
  pipe: (call, world) => require('./load.js').load(call, world),
  check: (call, world) => require('./check.js').check(call, world),
  completion: ({ operands: [shell] }, { stdout }) => print(stdout, require('./completion.js').completionScript(shell)),
  help: ({ operands: [about] }, { stdout }) => print(stdout, require('./help.js').helpText(about, stdout.columns)),
  version: (call, { stdout }) => print(stdout, `respipe ${require('../../package.json').version}\n`),
}

function print(stdout, text) {
  stdout.write(text)
  return EXIT.WELL
}

/** Whoever reads the output may have enough of it (`| head`): the load goes on. */
function watchOutput({ stdout, stderr }) {
  const broken = { error: undefined }
  stdout.on('error', (error) => {
    if (error.code === 'EPIPE' || broken.error !== undefined) return
    broken.error = error
    stderr.write(`respipe: cannot write to standard output: ${reason(error)}\n`)
  })
  stderr.on('error', () => {})
  return broken
}

module.exports = { run }
