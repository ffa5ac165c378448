'use strict'

const { setImmediate } = require('node:timers')
const { quieten } = require('./builtins.js')

/**
 * A promise that knows whether anyone handles it: `await` and `catch` come down to `then`.
 *
 * A rejection that nobody handles never ends the process; whoever made the promise learns of it, and of a handler that
 * comes later.
 */
class WatchedPromise extends Promise {
  #handled = false
  #onHandled

  /** What `then` returns is a plain promise. */
  static get [Symbol.species]() {
    return Promise
  }

  /** Rejected later, it does not end the process. True where nobody handles that so far: whoever does calls `onHandled`. */
  static quiet(promise, onHandled) {
    // Does not count as handling.
    quieten(promise)
    if (promise.#handled) return false
    promise.#onHandled = onHandled
    return true
  }

  // oxlint-disable-next-line unicorn/no-thenable -- it is a promise
  then(onFulfilled, onRejected) {
    if (!this.#handled) {
      this.#handled = true
      this.#onHandled?.()
    }
    return super.then(onFulfilled, onRejected)
  }
}

/**
 * A watched promise and its two ends. Few objects: there is one for each `exec()` that is under way, and some thousands may be.
 *
 * What was rejected before and nobody handled, it rejects with in place of its own.
 */
class Watch {
  #resolve
  #reject
  #watcher
  #overdue

  /**
   * @param {string} kind what is waited for
   * @param {object} watcher the same for all that belong together
   * @param {() => unknown} watcher.take what is overdue, if anything: from here on it is the caller's to reject with
   * @param {() => boolean} watcher.has whether there is anything
   * @param {(reason: unknown, wasOverdue: boolean) => void} watcher.unhandled told of a rejection that nobody handles so far
   * @param {(reason: unknown) => void} watcher.handled told when somebody handles it after all
   */
  constructor(kind, watcher) {
    this.kind = kind
    this.#watcher = watcher
    this.#overdue = watcher.take()
    this.promise = new WatchedPromise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /**
   * Settles in this very turn: of two that are over, the first has told its watcher when the second looks for what to
   * throw. But of a rejection that has just been told, a handler may come in the same turn.
   */
  resolve(value) {
    if (this.#overdue === undefined && this.#watcher.has()) setImmediate(() => this.#settle(value))
    else this.#settle(value)
  }

  reject(reason) {
    const watcher = this.#watcher
    const told = this.#overdue ?? reason
    if (WatchedPromise.quiet(this.promise, () => watcher.handled(told))) watcher.unhandled(told, told === this.#overdue)
    this.#reject(told)
  }

  #settle(value) {
    this.#overdue ??= this.#watcher.take()
    if (this.#overdue === undefined) this.#resolve(value)
    else this.reject(this.#overdue)
  }
}

module.exports = { Watch }
