'use strict'

// The pipeline as JavaScript sees it: commands go straight to native code, promises and events come back from it.

const { EventEmitter } = require('node:events')
const { inspect } = require('node:util')

const { describe, expand } = require('./lib/arguments.js')
const native = require('./binding.js')
const { RespipeError } = require('./lib/errors.js')
const { readOptions } = require('./lib/options.js')
const { WatchedPromise } = require('./lib/promise.js')

/** What the number that an append returns asks for; the same as in `src/binding/append.rs`. */
const MORE = { FIRST: 1, EXECUTED: 2, EXPAND: 3, FAILED: 4 }

/** What a notice is about; the same as in `src/binding/convert.rs`. */
const NOTICE = { EXECUTED: 1, SETTLED: 2, QUERIED: 3, FAILED: 4, RECONNECTED: 5, GIVEN_UP: 6, BROKEN: 7 }

/** Only `bulkPipeline` makes pipelines. */
const MAKER = Symbol('bulkPipeline')

/** By handle. Weak: a pipeline that nobody holds and that has nothing outstanding may go. */
const pipelines = new Map()
const forgotten = new FinalizationRegistry((handle) => {
  pipelines.delete(handle)
  native.release(handle)
})

/** Pipelines with something outstanding: held, and the process with them. */
const busy = new Set()

let tickets = 0

/** Made by the class below, which alone sees private fields. */
let dispatch
let define

const { at } = Uint8Array.prototype

class BulkPipeline extends EventEmitter {
  #handle
  #options
  /** What is outstanding, by ticket: `{ resolve, reject, kind }`. */
  #pending = new Map()
  /** Why nothing more can be done, once that is so: a code. */
  #ended
  #closing
  /** The first rejection that nobody handled. */
  #unreported
  /** Automatic batches were given up, and no `exec()` has told so yet: `{ error, thrown }`. */
  #automatic
  #timer
  /** A ticket for the end of automatic batches is out. */
  #watchesIdle = false

  constructor(maker, options) {
    if (maker !== MAKER) {
      throw new RespipeError('RESPIPE_INVALID_ARGUMENT', 'a pipeline is made by bulkPipeline(), not by new')
    }
    super()
    const { signal, onNull, autoExec, ...rest } = options
    this.#options = { ...rest, password: undefined, tls: rest.tls !== null, onNull, ms: autoExec?.ms ?? undefined }
    this.#handle = native.open(given({ ...rest, autoExec }))
    pipelines.set(this.#handle, new WeakRef(this))
    forgotten.register(this, this.#handle)
    super.on('newListener', (event) => event === 'failure' && native.listen(this.#handle, true))
    super.on('removeListener', (event) => {
      if (event === 'failure' && this.listenerCount('failure') === 0) native.listen(this.#handle, false)
    })
    if (signal !== null) this.#obey(signal)
  }

  exec() {
    return this.#watched(() => this.#execute())
  }

  sync() {
    return this.#watched(() => this.#sync())
  }

  drain() {
    return this.#watched(() => this.#ask('drain', (ticket) => native.drain(this.#handle, ticket)))
  }

  close() {
    this.#closing ??= this.#watched(() => this.#close())
    return this.#closing
  }

  destroy() {
    this.#end('RESPIPE_CLOSED')
    this.#closing ??= Promise.resolve(native.summary(this.#handle))
  }

  async [Symbol.asyncDispose]() {
    await this.close()
  }

  async query(name, ...args) {
    return this.#ask('query', (ticket) => {
      const more = native.query(this.#handle, ticket, [name, ...args])
      if (more === MORE.EXPAND) {
        const flat = expand({ name: 'query', trailing: 'call' }, [name, ...args], 'throw')
        if (native.query(this.#handle, ticket, flat) === MORE.FAILED) throw problemOf([name, ...args], 1)
      } else if (more === MORE.FAILED) {
        throw problemOf([name, ...args], 1)
      }
    })
  }

  get length() {
    return this.#ended === undefined ? native.length(this.#handle) : 0
  }

  get needsDrain() {
    return this.#ended === undefined && native.needsDrain(this.#handle)
  }

  discard() {
    if (this.#ended !== undefined) return 0
    this.#disarm()
    return native.discard(this.#handle)
  }

  stats() {
    return native.stats(this.#handle)
  }

  load() {
    return Promise.reject(unsupported('load()'))
  }

  writable() {
    throw unsupported('writable()')
  }

  importFile() {
    return Promise.reject(unsupported('importFile()'))
  }

  template() {
    throw unsupported('template()')
  }

  lastCheckpoint() {
    return Promise.reject(unsupported('lastCheckpoint()'))
  }

  [inspect.custom](depth, options) {
    const { host, port, path, username, db, tls, replies } = this.#options
    const { connected, bufferedBytes, inFlightBytes, commands, succeeded, failed, unknown } = this.stats()
    const state = this.#ended === undefined ? (connected ? 'connected' : 'idle') : 'closed'
    const shown = {
      server: path ?? `${host.includes(':') ? `[${host}]` : host}:${port}`,
      ...(username !== null && { username }),
      db,
      tls,
      replies,
      state,
      length: this.length,
      bufferedBytes,
      inFlightBytes,
      commands,
      succeeded,
      failed,
      unknown,
    }
    return `BulkPipeline ${inspect(shown, { ...options, depth })}`
  }

  /** Executes what is appended, and waits for its outcome. */
  #execute() {
    this.#disarm()
    return this.#ask('exec', (ticket) => native.execute(this.#handle, ticket))
  }

  async #sync() {
    await this.#execute()
    return native.summary(this.#handle)
  }

  async #close() {
    // After `destroy` or an abort nothing is outstanding, and what became of it all was told already.
    if (this.#ended !== undefined) return native.summary(this.#handle)
    const done = this.#execute()
    this.#ended = 'RESPIPE_CLOSED'
    native.refuse(this.#handle, false)
    try {
      await done
      return native.summary(this.#handle)
    } finally {
      native.end(this.#handle, false)
    }
  }

  #end(code) {
    if (this.#ended !== undefined && this.#pending.size === 0) return
    this.#ended ??= code
    this.#disarm()
    native.end(this.#handle, code === 'RESPIPE_ABORTED')
    // Executions hear from native code what is unknown; the others have nothing to hear.
    for (const [ticket, { kind, reject }] of this.#pending) {
      if (kind === 'exec' || kind === 'query') continue
      this.#settled(ticket)
      reject(this.#endedError())
    }
  }

  #endedError() {
    return new RespipeError(
      this.#ended,
      this.#ended === 'RESPIPE_ABORTED' ? 'the pipeline was aborted by its signal' : 'the pipeline is closed',
    )
  }

  #obey(signal) {
    const abort = () => this.#end('RESPIPE_ABORTED')
    if (signal.aborted) abort()
    else {
      // Weak, so that a long-lived signal does not hold every pipeline that it was given to.
      const reference = new WeakRef(this)
      signal.addEventListener('abort', () => reference.deref()?.#end('RESPIPE_ABORTED'), { once: true })
    }
  }

  /** A promise for what native code will say under a new ticket. */
  #ask(kind, start) {
    if (this.#ended !== undefined) return Promise.reject(this.#endedError())
    tickets = (tickets + 1) >>> 0
    const ticket = tickets
    return new Promise((resolve, reject) => {
      this.#pending.set(ticket, { resolve, reject, kind })
      if (this.#pending.size === 1) hold(this)
      try {
        start(ticket)
      } catch (error) {
        this.#settled(ticket)
        reject(error)
      }
    })
  }

  /** Takes a ticket off the list; returns its promise's ends. */
  #settled(ticket) {
    const pending = this.#pending.get(ticket)
    if (this.#pending.delete(ticket) && this.#pending.size === 0) letGo(this)
    return pending
  }

  /** The promise of an `exec`, `drain`, `sync` or `close`: throws what nobody heard of before. */
  #watched(start) {
    const overdue = this.#takeUnreported()
    const work = (async () => {
      try {
        const value = await start()
        const missed = overdue ?? this.#takeUnreported()
        if (missed !== undefined) throw missed
        return value
      } catch (error) {
        throw overdue ?? error
      }
    })()
    return WatchedPromise.watch(
      work,
      (error) => {
        // Thrown twice is enough.
        if (error !== overdue) this.#unreported ??= error
      },
      (error) => {
        if (this.#unreported === error) this.#unreported = undefined
      },
    )
  }

  #takeUnreported() {
    const error = this.#unreported
    this.#unreported = undefined
    if (error !== undefined && this.#automatic?.error === error) this.#automatic.thrown = true
    return error
  }

  /** What an append left to do. */
  #more(more, command, args) {
    switch (more) {
      case MORE.FIRST:
        if (this.#options.ms !== undefined) this.#arm(this.#options.ms)
        return
      case MORE.EXECUTED:
        this.#disarm()
        this.#watchIdle()
        return
      case MORE.EXPAND:
        this.#expand(command, args)
        return
      default:
        throw problemOf(args, command.trailing === 'call' ? 1 : 0)
    }
  }

  #expand(command, args) {
    let flat
    native.expanding(this.#handle, true)
    try {
      flat = expand(command, args, this.#options.onNull)
    } finally {
      native.expanding(this.#handle, false)
    }
    const more = command.appendList(this.#handle, flat)
    if (more !== undefined) this.#more(more, command, flat)
  }

  /** `autoExec.ms` after the first command of a batch, it executes. */
  #arm(ms) {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.#ended !== undefined || this.length === 0) return
      native.execute(this.#handle, undefined)
      this.#watchIdle()
    }, ms)
  }

  #disarm() {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Automatic batches have no promise of their own; the process must not end before they do. */
  #watchIdle() {
    if (this.#watchesIdle) return
    this.#watchesIdle = true
    const done = () => {
      this.#watchesIdle = false
    }
    this.#ask('idle', (ticket) => native.idle(this.#handle, ticket)).then(done, done)
  }

  /** Native code has something to say. */
  #hear(kind, details) {
    switch (kind) {
      case NOTICE.EXECUTED:
        return this.#executed(...details)
      case NOTICE.SETTLED:
        return this.#settled(details[0])?.resolve()
      case NOTICE.QUERIED: {
        const [ticket, reply, error] = details
        const pending = this.#settled(ticket)
        return error === undefined
          ? pending?.resolve(reply)
          : pending?.reject(new RespipeError(error.code, error.message))
      }
      case NOTICE.FAILED:
        return this.emit('failure', details[0])
      case NOTICE.RECONNECTED:
        return this.emit('reconnect', { reason: 'lost', address: details[0] })
      case NOTICE.GIVEN_UP:
        return this.#givenUp(...details)
      case NOTICE.BROKEN:
        return this.#broken(details[0])
    }
  }

  #executed(ticket, outcome, error) {
    const pending = this.#settled(ticket)
    if (error === undefined) return pending?.resolve(outcome)
    const automatic = this.#automatic
    this.#automatic = undefined
    if (automatic === undefined) return pending?.reject(new RespipeError(error.code, error.message, { outcome }))
    automatic.error.outcome = outcome
    if (automatic.thrown) return pending?.resolve(outcome)
    if (this.#unreported === automatic.error) this.#unreported = undefined
    pending?.reject(automatic.error)
  }

  #givenUp({ code, message }, outcome) {
    const error = new RespipeError(code, message, outcome && { outcome })
    if (outcome !== undefined && this.#automatic === undefined) {
      this.#automatic = { error, thrown: false }
      this.#unreported ??= error
    }
    if (this.listenerCount('error') > 0) this.emit('error', error)
  }

  #broken({ code, message }) {
    this.#ended ??= 'RESPIPE_CLOSED'
    for (const ticket of [...this.#pending.keys()]) this.#settled(ticket).reject(new RespipeError(code, message))
  }

  static {
    dispatch = (handle, kind, ...details) => pipelines.get(handle)?.deref()?.#hear(kind, details)

    // One closure a command. Up to four arguments go on as they are; a spread costs more than the call.
    define = (command) => {
      const { name, append } = command
      const method = function (a, b, c, d) {
        let more
        switch (arguments.length) {
          case 1:
            more = append(this.#handle, a)
            break
          case 2:
            more = append(this.#handle, a, b)
            break
          case 3:
            more = append(this.#handle, a, b, c)
            break
          case 4:
            more = append(this.#handle, a, b, c, d)
            break
          default:
            more = append(this.#handle, ...arguments)
        }
        if (more !== undefined) this.#more(more, command, arguments)
        return this
      }
      Object.defineProperty(method, 'name', { value: name })
      Object.defineProperty(BulkPipeline.prototype, name, { value: method, writable: true, configurable: true })
    }
  }
}

native.attach(dispatch, isUsableView)
native.commands().forEach(define)

function bulkPipeline(urlOrOptions, options) {
  return new BulkPipeline(MAKER, readOptions(urlOrOptions, options))
}

/** Options for native code, which wants absent ones left out. */
function given(options) {
  const entries = Object.entries(options).filter(([, value]) => value !== null)
  return Object.fromEntries(entries.map(([name, value]) => [name, isPlain(value) ? given(value) : value]))
}

function isPlain(value) {
  return typeof value === 'object' && !Buffer.isBuffer(value)
}

/** The process lives on while anything is outstanding. */
function hold(pipeline) {
  busy.add(pipeline)
  if (busy.size === 1) native.keepAlive(true)
}

function letGo(pipeline) {
  if (busy.delete(pipeline) && busy.size === 0) native.keepAlive(false)
}

/** Why native code refused the last command; `args` are what it was given, behind `skipped` others. */
function problemOf(args, skipped) {
  const { code, message, wrongType } = native.problem()
  return new RespipeError(
    code,
    wrongType === undefined ? message : `${message} is ${describe(args[wrongType + skipped])}`,
  )
}

/** Whether an empty byte array still has its memory: `at` throws where it was detached or has shrunk away. */
function isUsableView(bytes) {
  try {
    at.call(bytes, 0)
    return true
  } catch {
    return false
  }
}

function unsupported(what) {
  return new RespipeError('RESPIPE_UNSUPPORTED', `${what} is not there yet in this version`)
}

module.exports = { bulkPipeline, RespipeError }
