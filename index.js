'use strict'

// The pipeline as JavaScript sees it: commands go straight to native code, promises and events come back from it.

const { EventEmitter } = require('node:events')
const { clearTimeout, setImmediate, setTimeout } = require('node:timers')
const { inspect } = require('node:util')

const { describe, expand } = require('./lib/arguments.js')
const { attach } = require('./binding.js')
const { fromIoredis, fromNodeRedis } = require('./lib/clients.js')
const { isTraced, publishFailure, publishReconnect, traceExec, wantsFailures } = require('./lib/diagnostics.js')
const { RespipeError, unlisted } = require('./lib/errors.js')
const { checkFile, importFile } = require('./lib/import.js')
const { CHECK, IMPORT, WRITABLE, readLoadOptions, readOptions } = require('./lib/options.js')
const { allSucceeded, asOutcome, failureOf, retold } = require('./lib/outcome.js')
const { Watch } = require('./lib/promise.js')
const { RowWritable, loadRows } = require('./lib/rows.js')
const { TEMPLATE, compile } = require('./lib/template.js')

/** What the number that an append returns asks for; the same as in `src/binding/append.rs`. */
const MORE = { FIRST: 1, EXECUTED: 2, EXPAND: 3, FAILED: 4 }

/** What a notice is about; the same as in `src/binding/convert.rs`. */
const NOTICE = {
  EXECUTED: 1,
  SETTLED: 2,
  QUERIED: 3,
  FAILED: 4,
  RECONNECTED: 5,
  GIVEN_UP: 6,
  UNREPORTED: 7,
  BROKEN: 8,
  MORE: 9,
  SUCCEEDED: 10,
}

/** So many arguments are passed on one by one; many more would not fit on the stack. */
const MAX_SPREAD = 1000

/** What a mapper cannot ask for: batches are the load's. */
const OF_LOADS = ['exec', 'drain']

/** So much of a name that no command has is shown. */
const MAX_NAME = 64

/** Only `bulkPipeline` makes pipelines. */
const MAKER = Symbol('bulkPipeline')

/** By handle. Weak: a pipeline that nobody holds and that has nothing outstanding may go. */
const pipelines = new Map()
const forgotten = new FinalizationRegistry(({ handle, followers }) => {
  followers?.delete(handle)
  pipelines.delete(handle)
  native.release(handle)
})

/** By signal: the handles of the pipelines that it aborts. One listener for all of them, and none of them held. */
const followersOf = new WeakMap()

/** Pipelines with something outstanding: held, and the process with them. */
const busy = new Set()

let tickets = 0

/** Made by the class below, which alone sees private fields. */
let dispatch
let abort
let define
let isPipeline

class BulkPipeline extends EventEmitter {
  #handle
  #options
  /** What is outstanding, by ticket: `{ resolve, reject, kind }`. */
  #pending = new Map()
  /** Why nothing more can be done, once that is so: a code. */
  #ended
  /** Why nothing is waited for any more, once that is so: a code. */
  #cut
  #closing
  /** Who else the signal aborts. */
  #followers
  /** Why the signal has aborted it: the cause of what that rejects. */
  #reason
  /** The first rejection that nobody handled. */
  #unreported
  /** Looks after that for all promises. */
  #watcher = {
    take: () => this.#takeUnreported(),
    has: () => this.#unreported !== undefined,
    unhandled: (error, wasOverdue) => {
      // What came first goes first, and from promise to promise until somebody hears it.
      if (wasOverdue) this.#unreported = error
      else this.#unreported ??= error
      if (this.#automatic?.error === error) this.#automatic.thrown = false
    },
    handled: (error) => {
      if (this.#unreported === error) this.#unreported = undefined
      if (this.#automatic?.error === error) this.#automatic.thrown = true
    },
  }
  /** Automatic batches were given up, and no `exec()` has told so yet: `{ error, thrown, givenUp }`. */
  #automatic
  #timer
  /** Under way, by number. */
  #loads = new Map()
  /** One of them is over, and has loaded all. */
  #hasLoaded = false
  /** A mapper is making commands of a row. */
  #mapping = false
  /** The command that could not be appended then. */
  #refused = ''
  /** A ticket for the end of automatic batches is out; `again`: another batch went behind it. */
  #watchesIdle = { now: false, again: false }
  /** Native code was told that somebody wants each failure. */
  #listening = false
  #attended = (event) => event === 'failure' && this.#listen(true)
  #unattended = (event) => event === 'failure' && this.#listen()

  constructor(maker, options) {
    if (maker !== MAKER) {
      throw new RespipeError('RESPIPE_INVALID_ARGUMENT', 'a pipeline is made by bulkPipeline(), not by new')
    }
    super()
    const { signal, onNull, autoExec, ...rest } = options
    this.#options = { ...rest, password: undefined, tls: rest.tls !== null, onNull, ms: autoExec?.ms ?? undefined }
    this.#handle = native.open(given({ ...rest, autoExec }))
    pipelines.set(this.#handle, new WeakRef(this))
    if (signal !== null) this.#obey(signal)
    forgotten.register(this, { handle: this.#handle, followers: this.#followers })
    this.#attend()
  }

  exec() {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('exec'))
    if (isTraced() || this.#mapping || this.#ended !== undefined) return this.#watched(() => this.#execute())
    // The same, as cheap as it can be.
    this.#disarm()
    this.#listen()
    const watch = new Watch('exec', this.#watcher)
    this.#start(watch, (ticket) => native.execute(this.#handle, ticket))
    return watch.promise
  }

  sync() {
    return isPipeline(this) ? this.#watched(() => this.#sync()) : Promise.reject(notAPipeline('sync'))
  }

  drain() {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('drain'))
    return this.#watched(() => this.#ask('drain', (ticket) => native.drain(this.#handle, ticket)))
  }

  close() {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('close'))
    if (this.#mapping) return quiet(Promise.reject(mappingError('close')))
    this.#closing ??= this.#watched(() => this.#close())
    return this.#closing
  }

  destroy() {
    if (!isPipeline(this)) throw notAPipeline('destroy')
    this.#end('RESPIPE_CLOSED')
  }

  query(...words) {
    return quiet(isPipeline(this) ? this.#query(words) : Promise.reject(notAPipeline('query')))
  }

  get length() {
    return this.#ended === undefined ? native.length(this.#handle) : 0
  }

  get needsDrain() {
    return this.#ended === undefined && native.needsDrain(this.#handle)
  }

  discard() {
    if (!isPipeline(this)) throw notAPipeline('discard')
    if (this.#mapping) throw mappingError('discard')
    if (this.#ended !== undefined) return 0
    this.#disarm()
    return native.discard(this.#handle)
  }

  stats() {
    if (!isPipeline(this)) throw notAPipeline('stats')
    return asOutcome(native.stats(this.#handle))
  }

  removeAllListeners(...events) {
    super.removeAllListeners(...events)
    this.#attend()
    return this
  }

  load(rows, mapper, options) {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('load'))
    return this.#watched(async () => loadRows(this.#host(), rows, mapper, readLoadOptions(options)))
  }

  writable(mapper, options) {
    if (!isPipeline(this)) throw notAPipeline('writable')
    if (this.#ended !== undefined) throw this.#endedError(this.#ended)
    return new RowWritable(this.#host(), mapper, readLoadOptions(options, WRITABLE))
  }

  importFile(path, template, options) {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('importFile'))
    return this.#watched(async () => importFile(this.#host(), path, template, readLoadOptions(options, IMPORT)))
  }

  checkFile(path, template, options) {
    if (!isPipeline(this)) return Promise.reject(notAPipeline('checkFile'))
    return quiet(this.#checkFile(path, template, options))
  }

  template(command) {
    if (!isPipeline(this)) throw notAPipeline('template')
    if (this.#ended !== undefined) throw this.#endedError(this.#ended)
    const more = (what, list) => this.#more(what, TEMPLATE, list)
    const template = compile(native, this, this.#handle, command, this.#options.onNull, more)
    if (template === undefined) throw problemOf()
    return template
  }

  lastCheckpoint() {
    return quiet(isPipeline(this) ? this.#lastCheckpoint() : Promise.reject(notAPipeline('lastCheckpoint')))
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

  async #checkFile(path, template, options) {
    return checkFile(this.#host(), path, template, readLoadOptions(options, CHECK))
  }

  #query(words) {
    return this.#ask('query', (ticket) => {
      const more = native.query(this.#handle, ticket, words)
      if (more === MORE.EXPAND) {
        const flat = expand({ name: 'query', trailing: 'call' }, words, 'throw')
        if (native.query(this.#handle, ticket, flat) === MORE.FAILED) throw problemOf(flat, 1)
      } else if (more === MORE.FAILED) {
        throw problemOf(words, 1)
      }
    })
  }

  /** Executes what is appended, and waits for its outcome. */
  #execute() {
    this.#disarm()
    this.#listen()
    const execute = () => this.#ask('exec', (ticket) => native.execute(this.#handle, ticket))
    return traceExec(this.#options, () => this.length, execute)
  }

  #lastCheckpoint() {
    if (this.#options.checkpoint === null) {
      return Promise.reject(new RespipeError('RESPIPE_INVALID_OPTION', 'lastCheckpoint() needs the option checkpoint'))
    }
    return this.#ask('checkpoint', (ticket) => native.ask(this.#handle, ticket, 'checkpoint'))
  }

  async #sync() {
    try {
      await this.#execute()
    } catch (error) {
      // It tells of everything since the start, here as well.
      throw error.outcome === undefined ? error : retold(error, await this.#summary(this.stats().connected))
    }
    try {
      // Asked by `close` too, where nothing more may be executed.
      await this.#ticket('replicas', (ticket) => this.#askAboutWork(ticket, 'replicas'))
    } catch (error) {
      throw retold(error, await this.#summary(this.stats().connected))
    }
    return this.#summary(true)
  }

  /** Where nothing was executed there is nothing to ask about, and no connection is made for it. */
  #askAboutWork(ticket, about) {
    const idle = native.summary(this.#handle).commands === 0
    if (idle || (about === 'replicas' && this.#options.waitReplicas === null)) this.#settled(ticket).resolve(null)
    else native.ask(this.#handle, ticket, about)
  }

  /** Where work was given up, no other connection is tried for what the server has counted. */
  async #summary(asks) {
    if (this.#options.replies !== 'off') return asOutcome(native.summary(this.#handle))
    const errorReplies = asks ? await this.#errorReplies() : { serverErrorReplies: null }
    return asOutcome({ ...native.summary(this.#handle), ...errorReplies })
  }

  /** With replies off: `{ serverErrorReplies }`. */
  async #errorReplies() {
    if (this.#options.replies !== 'off') return undefined
    const asked = this.#ticket('errorReplies', (ticket) => this.#askAboutWork(ticket, 'errorReplies'))
    return { serverErrorReplies: await asked.catch(() => null) }
  }

  async #close() {
    // After `destroy` or an abort, whoever waited for what was outstanding is told of it.
    if (this.#ended === undefined) {
      const done = this.#sync()
      this.#ended = 'RESPIPE_CLOSED'
      native.refuse(this.#handle, false)
      this.#haltLoads('RESPIPE_CLOSED')
      try {
        return await done
      } finally {
        await this.#disconnect()
      }
    }
    await this.#disconnect()
    return this.#summary(false)
  }

  /** Resolves once the connections are closed. */
  #disconnect() {
    this.#followers?.delete(this.#handle)
    native.end(this.#handle, false)
    return this.#ticket('end', (ticket) => native.idle(this.#handle, ticket))
  }

  #end(code, reason) {
    if (this.#ended !== undefined && this.#pending.size === 0) return
    this.#reason ??= reason
    this.#ended ??= code
    this.#cut ??= code
    this.#disarm()
    this.#followers?.delete(this.#handle)
    native.end(this.#handle, code === 'RESPIPE_ABORTED')
    this.#haltLoads(code)
    // Executions hear from native code what is unknown; those that wait for room have nothing to hear.
    for (const [ticket, { kind, reject }] of this.#pending) {
      if (kind !== 'drain' && kind !== 'idle') continue
      this.#settled(ticket)
      reject(this.#endedError(code))
    }
  }

  #endedError(code, outcome) {
    const text = code === 'RESPIPE_ABORTED' ? 'the pipeline was aborted by its signal' : 'the pipeline is closed'
    return this.#error({ code, message: text }, outcome)
  }

  /** An error as native code, or the pipeline's own end, tells it; the cause of an abort is the signal's reason. */
  #error({ code, message }, outcome) {
    return failureOf(code, message, { outcome, cause: code === 'RESPIPE_ABORTED' ? this.#reason : undefined })
  }

  /** They may be waiting for rows, and would hear of it with the next one only. */
  #haltLoads(code) {
    for (const load of this.#loads.values()) load.cut(this.#endedError(code))
  }

  #obey(signal) {
    if (signal.aborted) return this.#end('RESPIPE_ABORTED', signal.reason)
    this.#followers = followersOf.get(signal)
    if (this.#followers === undefined) {
      const followers = new Set()
      const abortAll = ({ target }) => followers.forEach((handle) => abort(handle, target.reason))
      signal.addEventListener('abort', abortAll, { once: true })
      followersOf.set(signal, followers)
      this.#followers = followers
    }
    this.#followers.add(this.#handle)
  }

  /** Native code tells of each failure only while somebody listens. */
  #attend() {
    this.off('newListener', this.#attended).on('newListener', this.#attended)
    this.off('removeListener', this.#unattended).on('removeListener', this.#unattended)
    this.#listen()
  }

  /** Of subscribers of the channel nobody tells: they are looked for with each batch and load. */
  #listen(wanted = this.#isHeard()) {
    if (wanted === this.#listening) return
    this.#listening = wanted
    native.listen(this.#handle, wanted)
  }

  #isHeard() {
    if (this.listenerCount('failure') > 0 || wantsFailures()) return true
    return this.#loads.size > 0 && [...this.#loads.values()].some(({ listens }) => listens)
  }

  /** What a load needs of the pipeline. */
  #host() {
    return {
      bulk: this,
      handle: this.#handle,
      native,
      onNull: this.#options.onNull,
      problem: () => problemOf([], 0),
      hasCheckpoint: this.#options.checkpoint !== null,
      map: (map, row) => {
        this.#refused = ''
        this.#mapping = true
        try {
          map(row, this)
        } finally {
          this.#mapping = false
        }
      },
      isMapping: () => this.#mapping,
      refused: () => (typeof this.#refused === 'string' ? this.#refused.slice(0, MAX_NAME).toUpperCase() : ''),
      listen: () => this.#listen(true),
      attend: (load) => {
        this.#loads.set(load.number, load)
        this.#listen()
      },
      dismiss: (load, isComplete) => {
        this.#loads.delete(load.number)
        this.#hasLoaded ||= isComplete && !load.isRehearsal
        this.#listen()
      },
      isTaken: () => {
        if (this.#options.checkpoint === null) return false
        return this.#hasLoaded || [...this.#loads.values()].some(({ isRehearsal }) => !isRehearsal)
      },
      ended: () => (this.#ended === undefined ? undefined : this.#endedError(this.#ended)),
      rested: () => this.#ask('drain', (ticket) => native.rest(this.#handle, ticket)),
      idle: () => this.#ask('idle', (ticket) => native.idle(this.#handle, ticket)),
      report: (start) => this.#ticket('load', start),
      lastCheckpoint: () => this.#lastCheckpoint(),
      errorReplies: () => this.#errorReplies(),
    }
  }

  /** The same as `#ticket`, where anything can still be asked for. */
  #ask(kind, start) {
    if (this.#mapping && OF_LOADS.includes(kind)) return Promise.reject(mappingError(kind))
    return this.#ended === undefined ? this.#ticket(kind, start) : Promise.reject(this.#endedError(this.#ended))
  }

  /** A promise for what native code will say under a new ticket. */
  #ticket(kind, start) {
    return new Promise((resolve, reject) => this.#start({ resolve, reject, kind }, start))
  }

  /** Has native code settle `pending` under a new ticket. */
  #start(pending, start) {
    tickets = (tickets + 1) >>> 0
    const ticket = tickets
    this.#pending.set(ticket, pending)
    if (this.#pending.size === 1) hold(this)
    try {
      start(ticket)
    } catch (error) {
      this.#settled(ticket)
      pending.reject(error)
    }
  }

  /** Takes a ticket off the list; returns its promise's ends. */
  #settled(ticket) {
    const pending = this.#pending.get(ticket)
    if (this.#pending.delete(ticket) && this.#pending.size === 0) letGo(this)
    return pending
  }

  /** The promise of an `exec`, `drain`, `sync` or `close`: throws what nobody heard of before. */
  #watched(start) {
    const watch = new Watch('', this.#watcher)
    start().then(
      (value) => watch.resolve(value),
      (error) => watch.reject(error),
    )
    return watch.promise
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
        this.#listen()
        this.#watchIdle()
        return
      case MORE.EXPAND:
        this.#expand(command, args)
        return
      default:
        if (this.#mapping) this.#refused = command.trailing === 'call' ? args[0] : command.name
        throw problemOf(args, command.trailing === 'call' ? 1 : 0, command.describe, this.#reason)
    }
  }

  #expand(command, args) {
    let flat
    native.expand(this.#handle)
    try {
      flat = expand(command, args, this.#options.onNull)
    } finally {
      native.expanded(this.#handle)
    }
    const more = appendList(this.#handle, command.number, flat)
    if (more !== undefined) this.#more(more, command, flat)
  }

  /** `autoExec.ms` after the first command of a batch, it executes. */
  #arm(ms) {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      if (this.#ended !== undefined || this.length === 0) return
      this.#listen()
      native.execute(this.#handle, undefined)
      this.#watchIdle()
    }, ms)
  }

  #disarm() {
    if (this.#timer === undefined) return
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Automatic batches have no promise of their own; the process must not end before they do. */
  #watchIdle() {
    const watches = this.#watchesIdle
    if (watches.now) {
      // The answer may be on its way already, and then knows nothing of this batch.
      watches.again = true
      return
    }
    watches.now = true
    const lookAgain = () => {
      const { again } = watches
      watches.now = false
      watches.again = false
      if (again) this.#watchIdle()
    }
    this.#ask('idle', (ticket) => native.idle(this.#handle, ticket)).then(lookAgain, lookAgain)
  }

  /** Native code has something to say. */
  #hear(kind, details) {
    switch (kind) {
      case NOTICE.SUCCEEDED: {
        return this.#executed(details[0], allSucceeded(details[1], details[2]))
      }
      case NOTICE.EXECUTED:
        return this.#executed(details[0], asOutcome(details[1]), details[2])
      case NOTICE.SETTLED:
        return this.#settled(details[0])?.resolve()
      case NOTICE.QUERIED: {
        const error = details[2]
        const pending = this.#settled(details[0])
        return error === undefined ? pending?.resolve(details[1]) : pending?.reject(this.#error(error))
      }
      case NOTICE.FAILED:
        this.#loads.get(details[1])?.heard(details[0])
        publishFailure(this.#options, details[0])
        return this.emit('failure', details[0])
      case NOTICE.RECONNECTED: {
        publishReconnect(this.#options, details[0], details[1])
        return this.emit('reconnect', { reason: details[0], address: details[1] })
      }
      case NOTICE.GIVEN_UP:
        for (const load of this.#loads.values()) load.check()
        return this.#givenUp(details[0])
      case NOTICE.UNREPORTED:
        return this.#givenUpAutomatically(details[0], details[1])
      case NOTICE.BROKEN:
        return this.#broken(details[0])
    }
  }

  #executed(ticket, outcome, error) {
    const pending = this.#settled(ticket)
    if (pending?.kind === 'load') {
      if (error === undefined) return pending.resolve(outcome)
      return pending.reject(this.#error(error, outcome))
    }
    if (error === undefined) {
      // One that had nothing to do but to wait was cut short all the same.
      const cut = this.#cut !== undefined && outcome.commands === 0
      return cut ? pending?.reject(this.#endedError(this.#cut, outcome)) : pending?.resolve(outcome)
    }
    const automatic = this.#automatic
    this.#automatic = undefined
    if (automatic === undefined) return pending?.reject(this.#error(error, outcome))
    if (!automatic.thrown) {
      if (this.#unreported === automatic.error) this.#unreported = undefined
      return pending?.reject(retold(automatic.error, outcome))
    }
    automatic.error.outcome = unlisted(outcome)
    // What was thrown before does not come back; what was given up since then is news.
    if (givenUpOf(outcome) === automatic.givenUp) return pending?.resolve(outcome)
    pending?.reject(this.#error(error, outcome))
  }

  #givenUp({ code, message }) {
    if (this.listenerCount('error') > 0) this.emit('error', this.#error({ code, message }))
  }

  #givenUpAutomatically({ code, message }, outcome) {
    if (this.#automatic?.thrown === false) return
    const error = this.#error({ code, message }, asOutcome(outcome))
    this.#automatic = { error, thrown: false, givenUp: givenUpOf(outcome) }
    this.#unreported ??= error
  }

  #broken({ code, message }) {
    this.#ended ??= 'RESPIPE_CLOSED'
    native.end(this.#handle, false)
    for (const load of this.#loads.values()) load.cut(new RespipeError(code, message))
    for (const [ticket, { kind, reject }] of this.#pending) {
      if (kind === 'end') continue
      this.#settled(ticket)
      reject(new RespipeError(code, message))
    }
  }

  static {
    dispatch = (handle, kind, ...details) => {
      // Not at once: the event loop is to turn in between.
      if (kind === NOTICE.MORE) setImmediate(() => native.handOver())
      else pipelines.get(handle)?.deref()?.#hear(kind, details)
    }
    abort = (handle, reason) => pipelines.get(handle)?.deref()?.#end('RESPIPE_ABORTED', reason)

    isPipeline = (value) => typeof value === 'object' && value !== null && #handle in value

    // One closure a command, one native function for them all. Up to four arguments go on as they are; `arguments` itself
    // must not leave the function, or every call would have to make it.
    define = (command) => {
      const { name, number } = command
      const method = function (a, b, c, d, ...rest) {
        if (!isPipeline(this)) throw notAPipeline(name)
        let more
        switch (arguments.length) {
          case 0:
            more = append(this.#handle, number)
            break
          case 1:
            more = append(this.#handle, number, a)
            break
          case 2:
            more = append(this.#handle, number, a, b)
            break
          case 3:
            more = append(this.#handle, number, a, b, c)
            break
          case 4:
            more = append(this.#handle, number, a, b, c, d)
            break
          default:
            more =
              rest.length <= MAX_SPREAD
                ? append(this.#handle, number, a, b, c, d, ...rest)
                : appendList(this.#handle, number, [a, b, c, d, ...rest])
        }
        if (more !== undefined) this.#more(more, command, [a, b, c, d, ...rest].slice(0, arguments.length))
        return this
      }
      Object.defineProperty(method, 'name', { value: name })
      Object.defineProperty(BulkPipeline.prototype, name, { value: method, writable: true, configurable: true })
    }
  }
}

// Before Node.js 20.4 there is no such symbol.
if (Symbol.asyncDispose !== undefined) {
  BulkPipeline.prototype[Symbol.asyncDispose] = async function () {
    await this.close()
  }
}

// The addon is loaded once, this file perhaps several times: each time gets functions, handles and notices of its own.
const native = attach(dispatch, Uint8Array.prototype.at)
const { append, appendList } = native
native.commands().forEach((command, number) => define({ ...command, number }))

function bulkPipeline(urlOrOptions, options) {
  return new BulkPipeline(MAKER, readOptions(urlOrOptions, options))
}

bulkPipeline.fromIoredis = (client, options) =>
  new BulkPipeline(MAKER, readOptions(undefined, options, fromIoredis(client)))

bulkPipeline.fromNodeRedis = (client, options) =>
  new BulkPipeline(MAKER, readOptions(undefined, options, fromNodeRedis(client)))

/** Options for native code, which wants absent ones left out, and takes what somebody put on `Object.prototype` for none. */
function given(options) {
  const there = { __proto__: null }
  for (const name of Object.keys(options)) {
    const value = options[name]
    if (value !== null) there[name] = isPlain(value) ? given(value) : value
  }
  return there
}

function isPlain(value) {
  return typeof value === 'object' && !Buffer.isBuffer(value)
}

/** A promise whose rejection, where nobody handles it, does not end the process. */
function quiet(promise) {
  promise.catch(() => {})
  return promise
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
function problemOf(args, skipped, describeIt = describe, reason = undefined) {
  const { code, message, wrongType } = native.problem()
  const cause = code === 'RESPIPE_ABORTED' ? reason : undefined
  const text = wrongType === undefined ? message : `${message} is ${describeIt(args[wrongType + skipped])}`
  return new RespipeError(code, text, { cause })
}

/** A mapper makes commands of its row, and nothing else: batches are the load's. */
function mappingError(name) {
  return new RespipeError(
    'RESPIPE_INVALID_ARGUMENT',
    `a mapper cannot call ${name}(): the load executes what it appends`,
  )
}

/** For `const { hset } = bulk`. */
function notAPipeline(name) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', `${name} must be called on a pipeline: bulk.${name}(…)`)
}

/** Commands of which the server has said nothing. */
function givenUpOf({ unknown, errors }) {
  const own = Object.keys(errors).filter((code) => code.startsWith('RESPIPE_'))
  return own.reduce((sum, code) => sum + errors[code], unknown)
}

module.exports = { bulkPipeline, RespipeError }
