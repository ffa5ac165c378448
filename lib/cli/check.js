// `respipe check`: a file is read and its commands are made, and nothing is sent anywhere.
'use strict'

const { EXIT, exitCodeOfError } = require('./exit.js')
const { recordOf, withoutPlace } = require('./failures.js')
const { isOurs } = require('./load.js')
const { bytes, count, counted } = require('./numbers.js')
const { styleOf } = require('./progress.js')
const { redisQuoted, textOf, visible } = require('./quote.js')
const { inFlags, optionsOf } = require('./settings.js')
const { exitCodeOf, onSignals } = require('./signals.js')
const { sourceOf } = require('./source.js')
const { UsageError } = require('./usage.js')

/** @returns {Promise<number>} the exit code */
async function check(call, world) {
  const source = sourceOf(call)
  const cli = optionsOf(call.flags, 'cli')
  const { format, header, delimiter } = optionsOf(call.flags, 'load')
  const { db, onNull, maxFailures, maxBufferedBytes = source.ceiling } = optionsOf(call.flags, 'pipeline')
  const options = withoutAbsent({
    format: format ?? source.format,
    header,
    delimiter,
    db,
    onNull,
    maxFailures,
    maxBufferedBytes,
  })

  const stop = new AbortController()
  let stoppedBy
  const ignoreSignals = onSignals(world.signals, world.now, {
    first(signal) {
      stoppedBy = signal
      stop.abort()
    },
    second: world.exit,
  })
  try {
    const result = await world.checkFile(source.path, source.template, { ...options, signal: stop.signal })
    const exitCode = result.failed > 0 ? EXIT.FAILED : EXIT.WELL
    if (cli.json) world.stdout.write(`${JSON.stringify(recordOfCheck(result, source, exitCode))}\n`)
    else if (!cli.quiet || exitCode !== EXIT.WELL)
      world.stdout.write(text(result, source, styleOf(world.stdout, world.env)))
    return exitCode
  } catch (error) {
    if (!isOurs(error)) throw error
    if (error.code === 'RESPIPE_ABORTED' && stoppedBy !== undefined) return exitCodeOf(stoppedBy)
    if (exitCodeOfError(error) === EXIT.USAGE) throw new UsageError(inFlags(error.message))
    world.stderr.write(`respipe: ${visible(error.message)}\n`)
    return exitCodeOfError(error)
  } finally {
    ignoreSignals()
  }
}

function text({ rows, commands, bytes: size, failed, failures, sample }, { name, noun }, { unicode }) {
  const lines = sample.map((resp) =>
    wordsOf(resp)
      .map((word) => redisQuoted(word, unicode))
      .join(' '),
  )
  const more = commands - sample.length
  if (more > 0) lines.push(`…and ${count(more)} more`)
  if (lines.length > 0) lines.push('')
  for (const { line, row, message } of failures) {
    lines.push(
      visible(`${name}${line === undefined ? `, row ${row}` : `:${line}`}: ${withoutPlace(message, name, line)}`),
    )
  }
  const unshown = failed - failures.length
  if (unshown > 0) lines.push(`…and ${count(unshown)} more`)
  const broken = failed === 0 ? 'none is broken' : `${count(failed)} ${failed === 1 ? 'is' : 'are'} broken`
  lines.push(`${counted(rows, noun)}, ${broken}; ${counted(commands, 'command')}, ${bytes(size)}`)
  return `${lines.join('\n')}\n`
}

function recordOfCheck({ sample, failures, ...counts }, { path }, exitCode) {
  const shown = sample.map((resp) => wordsOf(resp).map((word) => textOf(word) ?? { base64: word.toString('base64') }))
  return { event: 'summary', file: path, ...counts, failures: failures.map(recordOf), sample: shown, exitCode }
}

/** The words of a command in RESP: `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`. */
function wordsOf(resp) {
  const words = []
  for (let at = resp.indexOf('\r\n') + 2; at > 1 && at < resp.length;) {
    const end = resp.indexOf('\r\n', at)
    const length = Number(resp.toString('latin1', at + 1, end))
    words.push(resp.subarray(end + 2, end + 2 + length))
    at = end + 2 + length + 2
  }
  return words
}

function withoutAbsent(options) {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

module.exports = { check }
