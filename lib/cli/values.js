// What may stand behind a flag. Each reader makes the value of the text, or undefined where it does not take it.
'use strict'

const TEXT = { expected: 'text, not empty', read: (text) => (text === '' ? undefined : text) }

/** Whatever it is: a password may be empty. */
const ANYTHING = { expected: 'text', read: (text) => text }

/** How large it may be is for the option to say. */
const INTEGER = {
  expected: 'an integer, 0 or more',
  read: (text) => (/^\d{1,15}$/.test(text) ? Number(text) : undefined),
}

const POWERS = { '': 1, b: 1 }
for (const [exponent, letter] of ['k', 'm', 'g', 't'].entries()) {
  POWERS[`${letter}b`] = 1000 ** (exponent + 1)
  POWERS[`${letter}ib`] = 1024 ** (exponent + 1)
}

/** No bare `64K`: in redis.conf that is 64,000, elsewhere 65,536. */
const SIZE = {
  expected: 'a size like 65536, 64KiB, 1MiB or 10MB',
  read(text) {
    const [, number, unit] = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text) ?? []
    const power = Object.hasOwn(POWERS, unit?.toLowerCase() ?? '-') ? POWERS[unit.toLowerCase()] : undefined
    const size = Number(number) * power
    return Number.isSafeInteger(size) ? size : undefined
  },
}

const DELIMITER = {
  expected: 'one ASCII character other than a quote, or \\t',
  read(text) {
    if (text === '\\t' || text === 'tab') return '\t'
    return /^[^"\r\n\0\x80-\uffff]$/.test(text) ? text : undefined
  },
}

const NAMES = {
  expected: 'names parted by commas, like id,name,email',
  read(text) {
    const names = text.split(',')
    return names.includes('') ? undefined : names
  },
}

function choice(...choices) {
  const expected = choices.join(', ').replace(/, ([^,]*)$/, ' or $1')
  return { expected, choices, read: (text) => (choices.includes(text) ? text : undefined) }
}

/** The shell completes it. */
const FILE = { ...TEXT, expected: 'the name of a file', isFile: true }

module.exports = { ANYTHING, choice, DELIMITER, FILE, INTEGER, NAMES, SIZE, TEXT }
