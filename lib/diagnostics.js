// What monitoring hears of pipelines, over node:diagnostics_channel: each exec() as a trace, reconnections and failures as messages.
// Where nobody has subscribed nothing is made. No password goes out, no value, and of a command no more than a failure has.
'use strict'

const { channel, tracingChannel } = require('node:diagnostics_channel')

const execs = tracingChannel('respipe:exec')
const reconnects = channel('respipe:reconnect')
const failures = channel('respipe:failure')

/**
 * Calls `start`, and passes its promise on; whoever waits for that comes after the subscribers. `options` are the pipeline's,
 * `batchSize` counts the commands.
 */
function traceExec(options, batchSize, start) {
  if (!isTraced()) return start()
  const batchMode = options.transaction || options.checkpoint !== null ? 'MULTI' : 'PIPELINE'
  let promise
  const traced = execs.tracePromise(
    () => {
      promise = start()
      return promise.then(countsOf)
    },
    { ...serverOf(options), batchMode, batchSize: batchSize() },
  )
  return traced.then(() => promise)
}

function publishReconnect(options, reason, address) {
  if (reconnects.hasSubscribers) reconnects.publish({ ...serverOf(options), reason, address })
}

function publishFailure(options, failure) {
  if (failures.hasSubscribers) failures.publish({ ...serverOf(options), failure })
}

function wantsFailures() {
  return failures.hasSubscribers
}

/** Before Node.js 20.13 only the channels of a trace say so. */
function isTraced() {
  return execs.hasSubscribers ?? EVENTS.some((event) => execs[event].hasSubscribers)
}

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error']

/** In the words of ioredis and node-redis on their channels. */
function serverOf({ host, port, path, db }) {
  return { serverAddress: path ?? host, serverPort: path === null ? port : undefined, database: db }
}

/** Replies are values, and failures have a channel of their own. */
function countsOf({ commands, succeeded, failed, unknown, bytes, errors }) {
  return { commands, succeeded, failed, unknown, bytes, errors }
}

module.exports = { isTraced, publishFailure, publishReconnect, traceExec, wantsFailures }
