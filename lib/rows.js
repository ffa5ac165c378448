'use strict'

// Where the rows of a load come from: pulled out of whatever can be iterated, or written into a stream.

const { performance } = require('node:perf_hooks')
const { Writable } = require('node:stream')
const { clearTimeout, setImmediate, setTimeout } = require('node:timers')
const { callbackify, types } = require('node:util')
const { describe, isArray, isRevoked } = require('./arguments.js')
const { RespipeError } = require('./errors.js')
const { BATCH_ROWS, Load } = require('./load.js')
const { mapperOf } = require('./mapper.js')

/** Milliseconds that rows are worked on before the event loop gets a turn. */
const SLICE = 2

/** Rows between two looks at the clock, at most: a look takes a tenth of a row's time. */
const MAX_STRIDE = 32

/** Milliseconds that the end of a source is waited for: it may be far away, and may never come. */
const STOP = 1000

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
    load.fail(error)
  }
  if (load.isHalted) await atMost(STOP, source.stop())
  return load.finish()
}

async function pull(load, source) {
  const clock = new Clock()
  while (!load.isHalted) {
    let step = source.next()
    if (source.isAsync) step = await load.unlessHalted(step)
    if (load.isHalted) return
    // As for...of does.
    if (typeof step !== 'object' || step === null)
      throw new TypeError(`iterator result ${String(step)} is not an object`)
    if (step.done) return
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

/** Waits for a promise that does not reject, but not for ever. */
async function atMost(limit, promise) {
  let timer
  const late = new Promise((resolve) => (timer = setTimeout(resolve, limit)))
  await Promise.race([promise, late])
  clearTimeout(timer)
}

/** `next()` as that of an iterator; `stop()` where not all rows were taken. Neither leaves a rejection behind. */
function sourceOf(rows) {
  if (isArray(rows)) {
    let at = 0
    return { isAsync: false, next: () => ({ done: at >= rows.length, value: rows[at++] }), stop() {} }
  }
  if (typeof rows !== 'object' || rows === null || ArrayBuffer.isView(rows) || isRevoked(rows)) {
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
    throw invalid(`rows must be an array, an iterable or a stream, not ${describeRows(rows)}`)
  }
  const iterator = rows[Symbol.iterator]()
  return { isAsync: false, next: () => iterator.next(), stop: () => quietly(() => iterator.return?.()) }
}

function ofAsync(rows) {
  const iterator = rows[Symbol.asyncIterator]()
  // A stream may fail before the first row is asked for, or while it is destroyed: what there is to know of it the iterator tells.
  if (isStream(rows)) rows.on('error', () => {})
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
      await quietly(() => isStream(rows) && void rows.destroy())
      const returned = quietly(() => iterator.return?.())
      if (!pending) await returned
    },
  }
}

function isStream(rows) {
  return typeof rows.on === 'function' && typeof rows.destroy === 'function'
}

function ofWebStream(rows) {
  if (rows.locked) throw invalid('rows is a web stream that is locked: somebody else reads it')
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
  #clock = new Clock()
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
    // A mapper writes into this stream: its own row is finished first.
    if (this.#load.isMapping) void Promise.resolve().then(() => this.#write(row, callback))
    else this.#write(row, callback)
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
    if (load.isHalted) await load.finish()
  }

  #write(row, callback) {
    const next = this.#load.row(row)
    if (next !== undefined) callbackify(() => this.#after(next, row))(callback)
    // Streams may pass on rows without a turn of the event loop in between.
    else if (this.#clock.isTime()) callbackify(() => this.#clock.breathe())(callback)
    else callback()
  }

  async #after(next, row) {
    await this.#load.after(next, row)
    // Then rejects, with what has ended the load.
    if (this.#load.isHalted) await this.#load.finish()
  }

  async #writeAll(chunks) {
    // As above.
    await undefined
    for (const { chunk } of chunks) {
      const next = this.#load.row(chunk)
      if (next !== undefined) await this.#after(next, chunk)
      if (this.#clock.isTime()) await this.#clock.breathe()
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
  if (types.isPromise(rows)) return 'a promise: await it'
  const isOther = typeof rows === 'object' && rows !== null && !isRevoked(rows)
  return isOther ? 'an object that cannot be iterated' : describe(rows)
}

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message)
}

module.exports = { RowWritable, loadRows }
