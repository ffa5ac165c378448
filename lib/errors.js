// The one error class of the package. `code` is public and meant to be matched; the message is for people.
'use strict'

class RespipeError extends Error {
  /**
   * @param {string} code RESPIPE_…
   * @param {string} message
   * @param {{ outcome?: object, cause?: unknown }} [details] `outcome`: what was known of the commands when it happened
   */
  constructor(code, message, { outcome, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    if (outcome !== undefined) this.outcome = outcome
  }
}

// On the prototype, as the built-in errors have it: the head of `stack` shows it, `Object.keys` does not.
Object.defineProperty(RespipeError.prototype, 'name', { value: 'RespipeError', configurable: true, writable: true })

module.exports = { RespipeError }
