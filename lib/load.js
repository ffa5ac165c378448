'use strict'

// A load: rows are made commands of, one by one, with waits where the server is slower. Which commands come from which row is
// kept natively, and so is what became of them; here is what JavaScript has a part in: callbacks, signals, the end.

const { performance } = require('node:perf_hooks')
const { clearInterval, setInterval } = require('node:timers')
const { RespipeError, unlisted } = require('./errors.js')
const { allSucceeded, asOutcome } = require('./outcome.js')

/** What the end of a row asks for; the first two are those of `src/binding/load.rs`. */
const NEXT = { WAIT: 1, STOP: 2, ROOM: 3 }

/** Milliseconds after which what slow rows have made is executed, though it is less than a batch. */
const IDLE = 100

/** Rows that come in that time where the load is not slow: about a batch. */
const BATCH_ROWS = 512

/** A load without `maxFailed` ends at this many failures if nothing has succeeded; the same as in `src/rows.rs`. */
const HOPELESS = 1_000

/** What an append throws where a row makes no command. */
const ROW_ERRORS = ['RESPIPE_INVALID_ARGUMENT', 'RESPIPE_FORBIDDEN_COMMAND', 'RESPIPE_BUFFER_FULL']

/**
 * @typedef {object} Host the pipeline, as its loads see it
 * @property {object} bulk
 * @property {number} handle
 * @property {boolean} hasCheckpoint
 * @property {Record<string, Function>} native functions of the pipeline's evaluation
 * @property {(map: (row: unknown, bulk: object) => unknown, row: unknown) => void} map runs a mapper
 * @property {() => boolean} isMapping a mapper is running
 * @property {() => string} refused the command that could not be appended then, if it was one
 * @property {() => void} listen failures are told, from here to `attend` or `dismiss`
 * @property {(load: Load) => void} attend from here on the load hears of its failures, and of work that is given up
 * @property {(load: Load, isComplete: boolean) => void} dismiss
 * @property {() => boolean} isTaken its checkpoint tells of a load already
 * @property {() => RespipeError | undefined} ended why nothing can be appended any more
 * @property {() => Promise<void>} rested so little is on its way that a load should go on
 * @property {() => Promise<void>} idle
 * @property {(start: (ticket: number) => void) => Promise<object>} report of what native code will tell under the ticket
 * @property {() => Promise<{ batch: number, row?: number } | null>} lastCheckpoint
 * @property {() => Promise<{ serverErrorReplies?: number | null }>} errorReplies
 */

class Load {
  #host
  #options
  #map
  #command
  #number
  #first = 0
  #row = 0
  /** Why no more rows are taken, once that is so: `{ error, forgets }`; without an error, native code knows it. */
  #halt
  /** The first error that a callback has thrown, even where no more rows were taken by then. */
  #thrown
  #wake = () => {}
  #finished
  /** What native code will tell in the end, where it takes the rows itself. */
  #report
  #began = performance.now()
  #before
  #progress
  #idle
  /** Rows gone through when that was looked at last. */
  #hurried = 0
  #abort = () => {
    const cause = this.#options.signal.reason
    this.halt(new RespipeError('RESPIPE_ABORTED', 'the load was aborted by its signal', { cause }), true)
  }

  /** @type {() => void} called once no more rows are taken, if that is not the end of them */
  onHalt = () => {}

  /** @type {() => void} called when all is over, before native code forgets the load */
  onEnd = () => {}

  /**
   * @param {Host} host
   * @param {object} options as `readLoadOptions` returns them
   * @param {{ map?: (row: unknown, bulk: object) => unknown, command?: string, isRehearsal?: boolean }} mapper `command`: in whose name
   *   rows fail; `isRehearsal`: nothing is written
   */
  constructor(host, options, { map, command = '', isRehearsal = false } = {}) {
    this.#host = host
    this.#options = options
    this.#map = map
    this.#command = command
    this.isRehearsal = isRehearsal
    if (options.resume && !host.hasCheckpoint) {
      throw new RespipeError('RESPIPE_INVALID_OPTION', 'resume needs the option checkpoint of the pipeline')
    }
  }

  get number() {
    return this.#number
  }

  get isHalted() {
    return this.#halt !== undefined
  }

  /** A row is being made commands of, of this load or another: none can begin before it is over. */
  get isMapping() {
    return this.#host.isMapping()
  }

  /** Begins; with `resume` behind the rows that the server holds. */
  async open() {
    await this.#begin(() => this.#host.native.openLoad(this.#host.handle, this.#options.maxFailed ?? NaN))
  }

  /** The same where native code takes the rows itself: `begin(first, ticket)` returns the load's number, or throws. */
  async hand(begin) {
    await this.#begin((first) => {
      let number, refusal
      const report = this.#host.report((ticket) => {
        try {
          number = begin(first, ticket)
        } catch (error) {
          refusal = error
          throw error
        }
      })
      // `finish` tells.
      report.catch(() => {})
      if (refusal !== undefined) throw refusal
      this.#report = report
      return number
    })
  }

  async #begin(begin) {
    const { resume, signal, onProgress, progressIntervalMs } = this.#options
    if (signal?.aborted) this.#abort()
    else signal?.addEventListener('abort', this.#abort, { once: true })
    if (resume && !this.isHalted) {
      const held = await this.unlessHalted(this.#host.lastCheckpoint())
      if (!this.isHalted) this.#first = firstRow(held)
    }
    if (this.isHalted) return
    const ended = this.#host.ended()
    if (ended !== undefined) throw ended
    if (!this.isRehearsal && this.#host.isTaken()) {
      const why = 'the checkpoint tells how far one load is: another one needs a pipeline and a key of its own'
      throw new RespipeError('RESPIPE_INVALID_OPTION', why)
    }
    this.#before = this.#host.native.stats(this.#host.handle)
    // From the first row on, which may be made at once.
    if (this.listens) this.#host.listen()
    this.#number = begin(this.#first)
    this.#host.attend(this)
    if (onProgress !== null) this.#progress = setInterval(() => this.#tellProgress(), progressIntervalMs).unref()
    this.#idle = setInterval(() => this.#hurry(), IDLE).unref()
  }

  /** Executes what has come, where the source is slower than the server. */
  #hurry() {
    const { handle, native } = this.#host
    const { rows } = this.#rows()
    if (rows - this.#hurried < BATCH_ROWS) native.executeLoad(handle, this.#number)
    this.#hurried = rows
  }

  /** `{ rows }`, and of a file `bytesRead` and `bytesTotal`. */
  #rows() {
    return this.#report === undefined
      ? { rows: this.#row }
      : this.#host.native.importStats(this.#host.handle, this.#number)
  }

  /** Makes commands of a row. Returns what has to come first before the next one, if anything: to be given to `after`. */
  row(row, isLastTry = false) {
    if (this.#halt !== undefined) return NEXT.STOP
    if (this.#row < this.#first) {
      this.#row++
      return undefined
    }
    const { handle, native } = this.#host
    if (!native.beginRow(handle, this.#number, this.#row)) {
      this.halt(this.#host.ended(), true)
      return NEXT.STOP
    }
    let next
    try {
      this.#host.map(this.#map, row)
      next = native.endRow(handle)
    } catch (error) {
      const { code, message, isOurs } = lookAt(error)
      if (!isOurs || !ROW_ERRORS.includes(code)) {
        native.undoRow(handle)
        this.fail(error, isOurs)
        return NEXT.STOP
      }
      if (code === 'RESPIPE_BUFFER_FULL' && !isLastTry) {
        native.undoRow(handle)
        return NEXT.ROOM
      }
      next = native.failRow(handle, this.#command || this.#host.refused(), code, message) || undefined
    }
    this.#row++
    return next
  }

  /** What the end of this row asks for is seen to. */
  async after(next, row) {
    try {
      if (next === NEXT.ROOM) {
        // What is on its way may be in the way. A row that finds no room then never will.
        this.#host.native.executeLoad(this.#host.handle, this.#number)
        await this.unlessHalted(this.#host.idle())
        if (this.#halt !== undefined) return
        next = this.row(row, true)
      }
      if (next === NEXT.WAIT) await this.unlessHalted(this.#host.rested())
      else if (next === NEXT.STOP) this.halt(undefined, true)
    } catch (error) {
      this.halt(error, true)
    }
  }

  /** Resolves as `promise` does, or with undefined once no more rows are taken. */
  unlessHalted(promise) {
    return new Promise((resolve, reject) => {
      this.#wake = resolve
      // Also where nobody waits for it: its rejection must not be left unhandled.
      promise.then(resolve, reject)
      if (this.#halt !== undefined) resolve()
    })
  }

  /** No more rows are taken, for that reason. What was not executed is, or is forgotten. */
  halt(error, forgets = false) {
    if (this.#halt !== undefined) return
    this.#halt = { error, forgets }
    if (this.#report !== undefined) this.#host.native.stopImport(this.#host.handle, this.#number)
    if (this.#finished !== undefined) return
    this.#wake()
    this.onHalt()
  }

  /** No more rows are taken: somebody has thrown. It is an end also where nothing was thrown, as with `throw undefined`. */
  fail(error, forgets) {
    error ??= new RespipeError('RESPIPE_INVALID_ARGUMENT', `${error} was thrown, and no error`)
    this.#thrown ??= error
    this.halt(error, forgets)
  }

  /** The pipeline has ended. What was executed by then is told of in any case. */
  cut(error) {
    if (this.#finished === undefined || this.#report !== undefined) this.halt(error, true)
  }

  /** Work of the pipeline was given up: this load's too? */
  check() {
    if (this.#host.native.loadStats(this.#host.handle, this.#number).isGivenUp) this.halt(undefined, true)
  }

  /** A command of it has failed. */
  heard(failure) {
    if (this.#options.onFailure === null) return
    try {
      this.#options.onFailure(failure)
    } catch (error) {
      this.fail(error)
    }
  }

  get listens() {
    return this.#options.onFailure !== null
  }

  /** Waits for what is executed; resolves with a summary, or rejects with what has ended the load. */
  finish() {
    this.#finished ??= this.#finish()
    return this.#finished
  }

  async #finish() {
    const { handle, native } = this.#host
    // What native code reads goes on being read.
    if (this.#report === undefined) clearInterval(this.#idle)
    // A mapper has ended its own load, or another one: its row is finished first.
    if (this.isMapping) await undefined
    if (this.#number === undefined) {
      this.#options.signal?.removeEventListener('abort', this.#abort)
      this.#host.dismiss(this, false)
      const { error } = this.#halt
      if (error instanceof RespipeError) error.outcome ??= unlisted(allSucceeded(0, 0))
      throw error
    }
    let outcome, error
    try {
      const forgets = this.#halt?.forgets ?? false
      const close = (ticket) => native.closeLoad(handle, this.#number, ticket, forgets)
      outcome = await (this.#report ?? this.#host.report(close))
    } catch (reason) {
      error = reason
      outcome = reason.outcome
    }
    // What ended it first comes first.
    error = this.#halt?.error ?? error
    // With replies collected there is a list of them, which is that of the pipeline's own commands.
    outcome ??= { ...native.loadStats(handle, this.#number), failures: [] }
    const { replies: _, ...known } = { ...outcome, failures: outcome.failures }
    const tooMany = error === undefined ? this.#tooManyFailures(outcome) : undefined
    const asks = error === undefined && tooMany === undefined && !this.isRehearsal
    const summary = { ...known, ...this.#totals(), ...(asks && (await this.#host.errorReplies())) }
    this.#tellProgress()
    this.onEnd()
    error ??= this.#halt?.error
    if (tooMany !== undefined) error ??= this.#thrown ?? tooMany
    this.#close(error === undefined)
    if (error === undefined) return asOutcome(summary)
    if (error instanceof RespipeError) error.outcome ??= unlisted(asOutcome(summary))
    throw error
  }

  #tooManyFailures({ commands, failed, errors }) {
    const { maxFailed } = this.#options
    if (maxFailed !== null) {
      if (failed < maxFailed) return undefined
      const have = failed === 1 ? '1 command has' : `${failed} commands have`
      return new RespipeError('RESPIPE_TOO_MANY_FAILURES', `${have} failed, and maxFailed is ${maxFailed}`)
    }
    const codes = Object.keys(errors)
    if (failed < HOPELESS || failed < commands || codes.length > 1) return undefined
    const why = `all of the first ${failed} commands have failed with ${codes[0]} (maxFailed: Infinity goes on all the same)`
    return new RespipeError('RESPIPE_TOO_MANY_FAILURES', why)
  }

  #close(isComplete) {
    clearInterval(this.#idle)
    clearInterval(this.#progress)
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#host.dismiss(this, isComplete)
    this.#host.native.forgetLoad(this.#host.handle, this.#number)
  }

  #totals() {
    const { handle, native } = this.#host
    const { reconnects, resent } = native.stats(handle)
    const { batches } = native.loadStats(handle, this.#number)
    return {
      batches,
      reconnects: reconnects - this.#before.reconnects,
      resent: resent - this.#before.resent,
      elapsedMs: performance.now() - this.#began,
    }
  }

  #tellProgress() {
    const { onProgress } = this.#options
    if (onProgress === null) return
    const { handle, native } = this.#host
    const { bufferedBytes, inFlightBytes, connected } = native.stats(handle)
    const { isGivenUp: _, ...known } = native.loadStats(handle, this.#number)
    try {
      onProgress({ ...this.#rows(), ...known, ...this.#totals(), bufferedBytes, inFlightBytes, connected })
    } catch (error) {
      this.fail(error)
    }
  }
}

/** What a mapper has thrown: anything, a Proxy that was revoked too, and the row has to end all the same. */
function lookAt(error) {
  try {
    if (error instanceof RespipeError) return { code: error.code, message: String(error.message), isOurs: true }
  } catch {}
  return { isOurs: false }
}

/** The row behind the last one that the server holds. */
function firstRow(held) {
  if (held === null) return 0
  if (held.row !== undefined) return held.row + 1
  throw new RespipeError(
    'RESPIPE_REFUSED',
    'the checkpoint tells of batches without rows: it is no load that resume could go on with',
  )
}

module.exports = { BATCH_ROWS, Load, NEXT }
