'use strict'

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

  /**
   * Settles in the very turn in which `work` does: of two that are over, the first has told its watcher when the
   * second looks for what to throw.
   *
   * @param {Promise<T>} work
   * @param {object} watcher
   * @param {(reason: unknown) => unknown} watcher.thrown what to reject with, if anything; `reason` is the work's own
   * @param {(reason: unknown) => void} watcher.unhandled told of a rejection that nobody handles so far
   * @param {() => boolean} watcher.mayBeHandled whether what would be thrown came up since this was asked for
   * @param {(reason: unknown) => void} watcher.handled told when somebody handles it after all
   */
  static watch(work, watcher) {
    const watched = new WatchedPromise((resolve, reject) => {
      // Refers to `watched` a turn later, when it is there.
      const refuse = (reason) => {
        if (!watched.#handled) {
          watched.#onHandled = () => watcher.handled(reason)
          watcher.unhandled(reason)
        }
        reject(reason)
      }
      const settle = (value) => {
        const reason = watcher.thrown()
        if (reason === undefined) resolve(value)
        else refuse(reason)
      }
      // Of a rejection that has just been told, a handler may come in the same turn.
      const fulfil = (value) => (watcher.mayBeHandled() ? setImmediate(settle, value) : settle(value))
      work.then(fulfil, (reason) => refuse(watcher.thrown(reason)))
    })
    // Keeps Node.js from ending the process; does not count as handling.
    super.prototype.then.call(watched, undefined, () => {})
    return watched
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

module.exports = { WatchedPromise }
