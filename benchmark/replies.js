'use strict'

const NEWLINE = 10

/** Counts the lines that arrive, which is all that a few lines of `node:net` do with replies: an error reply counts like any other. */
function countLines(expected) {
  let finish
  const counter = { lines: 0, finished: new Promise((resolve) => (finish = resolve)) }
  counter.onBytes = (length, bytes) => {
    for (let at = 0; at < length; at++) if (bytes[at] === NEWLINE) counter.lines++
    if (counter.lines === expected) finish()
  }
  return counter
}

module.exports = { countLines }
