// Failed commands: all of them into a file, as they come, and the first ones kept for the end.
'use strict'

const { closeSync, fstatSync, openSync, statSync, writeSync } = require('node:fs')

const { plainOrQuoted, textOf, visible } = require('./quote.js')
const { reason, UsageError } = require('./usage.js')

/** So many are shown in the end: the file has the rest. */
const SHOWN = 10

/** One system call for so much; what the process holds of a load that only fails. */
const CHUNK_BYTES = 64 * 1024

class Failures {
  first = []
  #file

  /** @param {FailureFile} [file] */
  constructor(file) {
    this.#file = file
  }

  /** For `onFailure`. */
  add(failure) {
    if (this.first.length < SHOWN) this.first.push(failure)
    this.#file?.write(failure)
  }

  flush() {
    this.#file?.flush()
  }

  close() {
    this.#file?.close()
  }
}

/**
 * ndjson. `onFailure` cannot wait, so each chunk is written at once: a slow disk slows the load, and memory stays flat.
 * A full disk ends the file and not the load; it is told once.
 */
class FailureFile {
  #fd
  #path
  #onError
  #lines = []
  #bytes = 0

  /**
   * @param {string} path
   * @param {{ append: boolean, source: string, onError: (message: string) => void }} options `append`: behind what an earlier
   *   run left there; `source`: the file that is loaded
   * @throws {UsageError} where it cannot be opened, or is the source itself
   */
  constructor(path, { append, source, onError }) {
    this.#path = path
    this.#onError = onError
    if (isSame(path, source)) throw new UsageError(`--failures would write over ${path}, which is the file to load`)
    try {
      this.#fd = openSync(path, append ? 'a' : 'w')
    } catch (error) {
      throw new UsageError(`--failures: cannot write ${path}: ${reason(error)}`)
    }
  }

  write(failure) {
    if (this.#fd === undefined) return
    const line = `${JSON.stringify(recordOf(failure))}\n`
    this.#lines.push(line)
    this.#bytes += line.length
    if (this.#bytes >= CHUNK_BYTES) this.flush()
  }

  flush() {
    if (this.#fd === undefined || this.#lines.length === 0) return
    let chunk = Buffer.from(this.#lines.join(''))
    this.#lines = []
    this.#bytes = 0
    try {
      while (chunk.length > 0) chunk = chunk.subarray(writeSync(this.#fd, chunk))
    } catch (error) {
      this.#end()
      this.#onError(`cannot write ${this.#path}: ${reason(error)}; failures are only counted from here on`)
    }
  }

  close() {
    this.flush()
    this.#end()
  }

  #end() {
    if (this.#fd === undefined) return
    const fd = this.#fd
    this.#fd = undefined
    try {
      closeSync(fd)
    } catch (error) {
      this.#onError(`cannot write ${this.#path}: ${reason(error)}`)
    }
  }
}

function isSame(path, source) {
  try {
    const [one, other] = [statSync(path), source === '-' ? fstatSync(0) : statSync(source)]
    return one.isFile() && one.dev === other.dev && one.ino === other.ino
  } catch {
    // One of them is not there: then they are two.
    return false
  }
}

/** As JSON has it: a key that is no text goes as base64 under another name. */
function recordOf({ row, line, command, key, code, message }) {
  const text = key === undefined ? undefined : textOf(key)
  const keyBase64 = key === undefined || text !== undefined ? undefined : Buffer.from(key).toString('base64')
  return { row, line, command, key: text, keyBase64, code, message }
}

/** `users.csv:17: HSET user:16: WRONGTYPE Operation against …` */
function failureLine({ row, line, command, key, code, message }, source, unicode) {
  const place = line !== undefined ? `${source}:${line}` : row !== undefined ? `${source}, row ${row}` : source
  const target = key === undefined ? command : `${command} ${plainOrQuoted(key, unicode)}`
  const told = withoutPlace(message, source, line)
  // The server's message has its code in front, ours have not.
  const why = message.startsWith(code) || code.startsWith('RESPIPE_') ? told : `${code} ${message}`
  return [visible(place), visible(target), visible(why)].filter((part) => part !== '').join(': ')
}

/** That of a broken line begins with its place. */
function withoutPlace(message, source, line) {
  const place = `${source}:${line}: `
  return message.startsWith(place) ? message.slice(place.length) : message
}

module.exports = { FailureFile, failureLine, Failures, recordOf, withoutPlace }
