// Text of others in the output: words of a shell, arguments as redis-cli prints them, and nothing that a terminal obeys.
'use strict'

/** As a POSIX shell reads it back. */
function shellQuoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}

const strictly = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** UTF-8 as text; undefined where it is none. */
function textOf(buffer) {
  try {
    return strictly.decode(buffer)
  } catch {
    return undefined
  }
}

const ESCAPES = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t', '\x07': '\\a', '\b': '\\b' }

/**
 * In double quotes as redis-cli prints it and reads it, so that a line can be pasted there. Other than redis-cli, text in
 * UTF-8 stays readable where the terminal can show it.
 */
function redisQuoted(buffer, unicode) {
  const text = unicode ? textOf(buffer) : undefined
  const letters = text === undefined ? Array.from(buffer, (byte) => String.fromCharCode(byte)) : Array.from(text)
  const encoding = text === undefined ? 'latin1' : 'utf8'
  const shown = (letter) => text !== undefined && !UNSEEN.test(letter)
  return `"${letters.map((letter) => ESCAPES[letter] ?? (/[ -~]/.test(letter) || shown(letter) ? letter : hex(letter, encoding))).join('')}"`
}

/** A key or name without quotes where it needs none. */
function plainOrQuoted(buffer, unicode) {
  const quoted = redisQuoted(buffer, unicode)
  const inner = quoted.slice(1, -1)
  return inner === '' || /[\s"'\\]/.test(inner) ? quoted : inner
}

/** Nothing of it moves a cursor, sets a title, or turns the direction of what follows. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/u

function visible(text) {
  return text.replace(new RegExp(UNSEEN, 'gu'), (letter) => ESCAPES[letter] ?? hex(letter, 'utf8'))
}

function hex(letter, encoding) {
  return Array.from(Buffer.from(letter, encoding), (byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('')
}

module.exports = { plainOrQuoted, redisQuoted, shellQuoted, textOf, visible }
