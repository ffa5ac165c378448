'use strict'

// What every client does: HSET of one field to 1,000 keys in turn, each time with another value.

const KEYS = 1000
const FIELD = 'field'

function keyOf(number) {
  return `hash:${number % KEYS}`
}

function valueOf(number) {
  return `value:${number}`
}

/** The reply to each of them is `:0` or `:1` and a line's end. */
const REPLY_BYTES = 4

module.exports = { FIELD, KEYS, REPLY_BYTES, keyOf, valueOf }
