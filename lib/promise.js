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
   * @param {Promise<T>} work
   * @param {(reason: unknown) => void} onUnhandled told of a rejection that nobody handles so far
   * @param {(reason: unknown) => void} onHandled told when somebody handles it after all
   */
  static watch(work, onUnhandled, onHandled) {
    const watched = new WatchedPromise((resolve, reject) => {
      work.then(resolve, (reason) => {
        // Refers to `watched` a turn later, when it is there.
        if (!watched.#handled) {
          watched.#onHandled = () => onHandled(reason)
          onUnhandled(reason)
        }
        reject(reason)
      })
    })
    // Keeps Node.js from ending the process; does not count as handling.
    super.prototype.then.call(watched, undefined, () => {})
    return watched
  }

  then(onFulfilled, onRejected) {
    if (!this.#handled) {
      this.#handled = true
      this.#onHandled?.()
    }
    return super.then(onFulfilled, onRejected)
  }
}

module.exports = { WatchedPromise }
