// What became of a load, in words.
'use strict'

const { bytes, count, counted, duration } = require('./numbers.js')

/** More codes than that are no longer read. */
const SHOWN_CODES = 8

/**
 * @param {object} result the outcome, and `rows`, `elapsedMs`; `reconnects`, `resent`, `serverErrorReplies` where they are known
 * @param {{ name: string, noun: string, isResumed: boolean }} source `isResumed`: some of it was there before, and how fast the
 *   rest was nothing tells
 * @returns {string[]} lines: the first says how much and how fast, the others what became of it
 */
function summaryLines(result, { name, noun, isResumed }) {
  const { rows, commands, succeeded, failed, unknown, elapsedMs } = result
  const isRate = elapsedMs > 0 && commands > failed && !isResumed
  const rate = isRate ? `: ${counted(Math.round((rows / elapsedMs) * 1000), noun)}/s` : ''
  const before = isResumed ? ', those from before included,' : ''
  const lines = [
    ['arrived', `${counted(succeeded, 'command')} of ${count(commands)}, ${bytes(result.bytes)} in all`],
    failed > 0 && ['failed', `${counted(failed, 'command')}: ${codes(result.errors)}`],
    unknown > 0 && ['unknown', `${counted(unknown, 'command')}: executed or not, no reply told`],
    result.reconnects > 0 && ['reconnected', counted(result.reconnects, 'time')],
    result.resent > 0 && ['sent again', counted(result.resent, 'command')],
    result.serverErrorReplies > 0 && [
      'error replies',
      `${count(result.serverErrorReplies)} of the server, to all its clients`,
    ],
  ].filter(Boolean)
  const width = Math.max(...lines.map(([label]) => label.length))
  return [
    `${counted(rows, noun)} of ${name}${before} in ${duration(elapsedMs)}${rate}`,
    ...lines.map(([label, text]) => `  ${label.padEnd(width)}  ${text}`),
  ]
}

/** `WRONGTYPE 8, OOM 2`, the most frequent ones first. */
function codes(errors) {
  const sorted = Object.entries(errors).toSorted(([, a], [, b]) => b - a)
  const shown = sorted.slice(0, SHOWN_CODES).map(([code, times]) => `${code} ${count(times)}`)
  const more = sorted.length - shown.length
  return [...shown, ...(more > 0 ? [`${counted(more, 'more code')}`] : [])].join(', ')
}

/** As the last line of redis-cli --pipe has it. */
function pipeLine({ failed, rows, commands }) {
  return `errors: ${failed}, replies: ${Math.max(rows, commands)}`
}

module.exports = { codes, pipeLine, summaryLines }
