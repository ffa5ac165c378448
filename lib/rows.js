'use strict'

// Where the rows of a load come from: pulled out of whatever can be iterated, or written into a stream.

const { Writable } = require('node:stream')
const { callbackify, types } = require('node:util')
const { describe, isArray } = require('./arguments.js')
const { RespipeError } = require('./errors.js')
const { BATCH_ROWS, Load } = require('./load.js')
const { mapperOf } = require('./mapper.js')

/** Milliseconds that rows are worked on before the event loop gets a turn. */
const SLICE = 2

/** Rows between two looks at the clock, at most: a look takes a tenth of a row's time. */
const MAX_STRIDE = 32

/**
 * @param {import('./load.js').Host} host
 * @param {Iterable | AsyncIterable | import('node:stream').Readable | ReadableStream} rows
 * @param {unknown} mapper
 * @param {object} options as `readLoadOptions` returns them
 * @returns {Promise<object>} a summary
 */
async function loadRows(host, rows, mapper, options) {
  const load = new Load(host, options, mapperOf(host, mapper))
  const source = sourceOf(rows)
  try {
    await load.open()
    await pull(load, source)
  } catch (error) {
    load.halt(error)
  }
  if (load.isHalted) await source.stop()
  return load.finish()
}

async function pull(load, source) {
  const clock = new Clock()
  while (!load.isHalted) {
    let step = source.next()
    if (source.isAsync) step = await load.unlessHalted(step)
    if (step === undefined || step.done) return
    const next = load.row(step.value)
    if (next !== undefined) await load.after(next, step.value)
    if (clock.isTime()) await clock.breathe()
  }
}

/** Says when the event loop should have a turn. */
class Clock {
  #since = performance.now()
  #stride = 1
  #left = 1

  /** After each row. */
  isTime() {
    if (--this.#left > 0) return false
    const elapsed = performance.now() - this.#since
    if (elapsed >= SLICE) {
      this.#stride = 1
      this.#left = 1
      return true
    }
    // Quick rows are not looked at one by one.
    this.#stride = elapsed < SLICE / 4 ? Math.min(2 * this.#stride, MAX_STRIDE) : 1
    this.#left = this.#stride
    return false
  }

  async breathe() {
    await new Promise((resolve) => setImmediate(resolve))
    this.#since = performance.now()
  }
}

/** `next()` as that of an iterator; `stop()` where not all rows were taken. Neither leaves a rejection behind. */
function sourceOf(rows) {
  if (isArray(rows)) {
    let at = 0
    return { isAsync: false, next: () => ({ done: at >= rows.length, value: rows[at++] }), stop() {} }
  }
  if (typeof rows !== 'object' || rows === null || ArrayBuffer.isView(rows)) {
    throw invalid(`rows must be an array, an iterable or a stream, not ${describeRows(rows)}`)
  }
  if (typeof rows.getReader === 'function') return ofWebStream(rows)
  if (typeof rows[Symbol.asyncIterator] === 'function') {
    if (rows.readableObjectMode === false) {
      throw invalid('rows is a stream of bytes, which have to be parsed: pipe it through a parser, or use importFile()')
    }
    return ofAsync(rows)
  }
  if (typeof rows[Symbol.iterator] !== 'function') {
    const hint = types.isPromise(rows) ? ': await it' : ''
    throw invalid(`rows must be an array, an iterable or a stream, not ${describeRows(rows)}${hint}`)
  }
  const iterator = rows[Symbol.iterator]()
  return { isAsync: false, next: () => iterator.next(), stop: () => quietly(() => iterator.return?.()) }
}

function ofAsync(rows) {
  const iterator = rows[Symbol.asyncIterator]()
  let pending = false
  const over = () => (pending = false)
  return {
    isAsync: true,
    next() {
      pending = true
      const step = Promise.resolve(iterator.next())
      step.then(over, over)
      return step
    },
    async stop() {
      // A generator would end only behind the row that it is waiting for; a stream need not.
      if (typeof rows.destroy === 'function') rows.destroy()
      const returned = quietly(() => iterator.return?.())
      if (!pending) await returned
    },
  }
}

function ofWebStream(rows) {
  const reader = rows.getReader()
  return { isAsync: true, next: () => reader.read(), stop: () => quietly(() => reader.cancel()) }
}

/** What goes wrong at the end of what nobody needs any more is of no interest. */
async function quietly(end) {
  try {
    await end()
  } catch {}
}

/** A stream that rows are written into. `finish` comes when the server has everything. */
class RowWritable extends Writable {
  #load
  /** What became of the rows, once the stream has finished. */
  summary

  constructor(host, mapper, options) {
    super({ objectMode: true, highWaterMark: options.highWaterMark ?? BATCH_ROWS })
    this.#load = new Load(host, options, mapperOf(host, mapper))
  }

  _construct(callback) {
    callbackify(() => this.#open())(callback)
  }

  _write(row, _, callback) {
    const next = this.#load.row(row)
    if (next === undefined) callback()
    else callbackify(() => this.#after(next, row))(callback)
  }

  _writev(chunks, callback) {
    callbackify(() => this.#writeAll(chunks))(callback)
  }

  _final(callback) {
    callbackify(() => this.#finish())(callback)
  }

  _destroy(error, callback) {
    callbackify(() => this.#end(error))(() => callback(error))
  }

  async #open() {
    const load = this.#load
    await load.open()
    // Also while nothing is written.
    load.onHalt = () => load.finish().catch((error) => this.destroy(error))
  }

  async #after(next, row) {
    await this.#load.after(next, row)
    // Then rejects, with what has ended the load.
    if (this.#load.isHalted) await this.#load.finish()
  }

  async #writeAll(chunks) {
    const clock = new Clock()
    for (const { chunk } of chunks) {
      const next = this.#load.row(chunk)
      if (next !== undefined) await this.#after(next, chunk)
      if (clock.isTime()) await clock.breathe()
    }
  }

  async #finish() {
    this.summary = await this.#load.finish()
  }

  async #end(error) {
    const load = this.#load
    if (load.number === undefined) return
    load.onHalt = () => {}
    load.halt(error ?? invalid('the stream was destroyed'), true)
    await load.finish()
  }
}

function describeRows(rows) {
  if (typeof rows === 'string') return 'a string: for a file there is importFile()'
  if (ArrayBuffer.isView(rows)) return 'bytes: for a file there is importFile()'
  return describe(rows)
}

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message)
}

module.exports = { RowWritable, loadRows }
