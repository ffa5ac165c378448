// The end of a load: human words on standard output and what is wrong on standard error, or one object of JSON.
'use strict'

const { textOf } = require('../outcome.js')
const { lineOf } = require('./arguments.js')
const { EXIT, exitCodeOfError, exitCodeOfOutcome } = require('./exit.js')
const { failureLine, recordOf } = require('./failures.js')
const { count } = require('./numbers.js')
const { styleOf } = require('./progress.js')
const { visible } = require('./quote.js')
const { hasPassword, inFlags } = require('./settings.js')
const { exitCodeOf } = require('./signals.js')
const { pipeLine, summaryLines } = require('./summary.js')

/**
 * @param {object} load what `load` knows: call, cli, options, source, failures, elapsedMs, and outcome, stats, error, signal
 * @returns {number} the exit code
 */
function report(load, { stdout, stderr, env }) {
  const { call, cli, source, error, signal } = load
  const result = resultOf(load)
  const exitCode = exitCodeOfLoad(load, result)
  // Where nothing has arrived there is nothing to go on with.
  const isBegun = error !== undefined && result.succeeded + result.unknown > 0
  const again = isBegun && call.flags.has('--checkpoint') ? lineOf(call, ['--resume']) : undefined

  if (cli.json) {
    const failures = result.failures.map(recordOf)
    const problem = error && { code: error.code, message: textOf(error) }
    const last = { event: 'summary', file: source.path, ...result, failures, error: problem, signal, again, exitCode }
    stdout.write(`${JSON.stringify(last)}\n`)
    return exitCode
  }
  if (cli.quiet && exitCode === EXIT.WELL) return exitCode

  stderr.write(failureLines(load, result, styleOf(stderr, env).unicode))
  if (isStopped(load)) stderr.write(`respipe: stopped at a fence, by ${signal}\n`)
  else if (error !== undefined) stderr.write(`respipe: ${visible(inFlags(textOf(error)))}\n${passwordHint(load)}`)
  const lines = summaryLines(result, { ...source, isResumed: call.flags.has('--resume') })
  if (call.command === 'pipe') lines.push(pipeLine(result))
  stdout.write(`${lines.join('\n')}\n`)
  if (again !== undefined) stderr.write(hint(again, call))
  else if (isStopped(load)) stderr.write(NO_CHECKPOINT)
  return exitCode
}

const NOTHING = { rows: 0, commands: 0, succeeded: 0, failed: 0, unknown: 0, bytes: 0, errors: {}, failures: [] }

/** Of a progress, what also holds when all is over. */
const LASTING = [
  'rows',
  'commands',
  'succeeded',
  'failed',
  'unknown',
  'bytes',
  'errors',
  'batches',
  'reconnects',
  'resent',
]

/** The figures of the last progress stand in for what an error does not know. */
function resultOf({ stats = {}, outcome, elapsedMs }) {
  const last = Object.entries(stats).filter(([name]) => LASTING.includes(name))
  return { ...NOTHING, ...Object.fromEntries(last), elapsedMs, ...outcome }
}

function isStopped({ error, signal }) {
  return signal !== undefined && error?.code === 'RESPIPE_ABORTED'
}

function exitCodeOfLoad(load, result) {
  if (isStopped(load)) return exitCodeOf(load.signal)
  return load.error === undefined ? exitCodeOfOutcome(result, load.options.replies) : exitCodeOfError(load.error)
}

/** The first ones; without those that only repeat why all was given up, or where the file could not go on. */
function failureLines({ failures: { first }, cli, error, source }, { failed, errors }, unicode) {
  const others = first.filter(({ code }) => code !== error?.code)
  const own = others.filter(({ message }) => !error || !textOf(error).endsWith(`: ${message}`))
  const lines = own.map((failure) => failureLine(failure, source.name, unicode))
  const more = failed - others.length - (errors[error?.code] ?? 0)
  if (own.length > 0 && more > 0) {
    lines.push(`…and ${count(more)} more${cli.failures === undefined ? '' : `: see ${cli.failures}`}`)
  }
  return lines.map((line) => `${line}\n`).join('')
}

/** The server's own words speak of HELLO and AUTH, which nobody has written. */
function passwordHint({ error, options }) {
  const isMissing = options.password === undefined && !hasPassword(options.url)
  return isMissing && error.code === 'RESPIPE_AUTH' && error.message.includes('NOAUTH')
    ? 'The server wants a password: REDISCLI_AUTH, --askpass or -a gives it.\n'
    : ''
}

const NO_CHECKPOINT =
  'Without --checkpoint nothing tells a later run where this one ended: run it again from the start.\n'

function hint(again, { flags, operands }) {
  const needs = []
  const isSecret = flags.has('--pass') || hasPassword(flags.get('--url')?.value)
  if (isSecret) needs.push('the password is left out: REDISCLI_AUTH or --askpass gives it')
  if ((operands[0] ?? '-') === '-') needs.push('standard input has to be the same again')
  return `To go on where it ended:\n  ${again}\n${needs.map((need) => `  (${need})\n`).join('')}`
}

module.exports = { report }
