// `respipe import` and `respipe pipe`: one load from a file, watched from its start to its end.
'use strict'

const { displayOf } = require('./display.js')
const { EXIT, exitCodeOfError } = require('./exit.js')
const { FailureFile, Failures } = require('./failures.js')
const { visible } = require('./quote.js')
const { report } = require('./report.js')
const { inFlags, optionsOf, pipelineOptions } = require('./settings.js')
const { onSignals } = require('./signals.js')
const { sourceOf } = require('./source.js')
const { UsageError } = require('./usage.js')

/**
 * @param {object} call what `readArguments` made of the command line
 * @param {object} world see `run`
 * @returns {Promise<number>} the exit code
 * @throws {UsageError} what could be known before anything was loaded
 */
async function load(call, world) {
  const source = sourceOf(call)
  const { options, warning, urlFrom } = await pipelineOptions(call.flags, source, world)
  if (warning !== undefined) world.stderr.write(`${warning}\n`)
  const cli = optionsOf(call.flags, 'cli')
  const { progressIntervalMs, ...loadOptions } = optionsOf(call.flags, 'load')
  const inUserWords = (error) => new UsageError(inFlags(error.message, urlFrom))

  let bulk
  try {
    bulk = world.bulkPipeline(options)
  } catch (error) {
    throw isOurs(error) ? inUserWords(error) : error
  }
  const isTyped = source.path === '-' && world.isInputTerminal()
  // Nothing is drawn over what somebody types.
  const quiet = cli.quiet || (isTyped && !cli.json)
  const display = displayOf({ ...cli, quiet }, source.noun, progressIntervalMs, world)
  const failures = new Failures(failureFile(cli, loadOptions, source, display))
  if (isTyped) {
    say(display, 'reading from the terminal, up to Ctrl-D at the beginning of a line')
  }
  const startedAt = world.now()
  const ended = await watched(bulk, source, loadOptions, { cli, display, failures, world })
  if (ended.error !== undefined && exitCodeOfError(ended.error) === EXIT.USAGE && !(ended.outcome?.commands > 0)) {
    throw inUserWords(ended.error)
  }
  return report({ ...ended, call, cli, options, source, failures, elapsedMs: world.now() - startedAt }, world)
}

/**
 * Runs the load to its end, whatever that is.
 *
 * @returns {Promise<{ outcome?: object, stats?: object, error?: Error, signal?: string }>} `stats`: the last progress; `signal`:
 *   the one that asked for an end
 */
async function watched(bulk, source, loadOptions, { cli, display, failures, world }) {
  const ended = {}
  const stop = new AbortController()
  const ignoreSignals = onSignals(world.signals, world.now, {
    first(signal) {
      ended.signal = signal
      say(display, 'stopping at the next fence; once more ends it at once')
      stop.abort()
    },
    second(exitCode) {
      bulk.destroy()
      display.end()
      failures.close()
      world.exit(exitCode)
    },
  })
  bulk.on('reconnect', ({ reason, address }) => {
    if (reason !== 'rotation' && !cli.quiet) say(display, `connected again, to ${address} (${reason})`)
  })
  try {
    const summary = await bulk.importFile(source.path, source.template, {
      ...loadOptions,
      format: source.format,
      progressIntervalMs: display.intervalMs,
      signal: stop.signal,
      onProgress(stats) {
        ended.stats = stats
        display.progress(stats)
        failures.flush()
      },
      onFailure: (failure) => failures.add(failure),
    })
    ended.outcome = summary
    // Here a server is asked what it counted, and waited for until its replicas have it.
    const { serverErrorReplies } = await bulk.close()
    ended.outcome = { serverErrorReplies, ...summary }
  } catch (error) {
    bulk.destroy()
    if (!isOurs(error)) throw error
    ended.error = error
    ended.outcome ??= error.outcome
  } finally {
    ignoreSignals()
    display.end()
    failures.close()
  }
  return ended
}

function say(display, text) {
  display.note(`respipe: ${visible(text)}`)
}

function failureFile({ failures }, { resume = false }, { path }, display) {
  if (failures === undefined) return undefined
  return new FailureFile(failures, { append: resume, source: path, onError: (message) => say(display, message) })
}

function isOurs(error) {
  return error instanceof Error && typeof error.code === 'string' && error.code.startsWith('RESPIPE_')
}

module.exports = { isOurs, load }
