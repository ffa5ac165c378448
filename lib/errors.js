// The one error class of the package. `code` is public and meant to be matched; the message is for people.
'use strict'

const { inspect } = require('node:util')

/** Failures that a look at an error shows; all that are kept are in `outcome.failures`. */
const SHOWN_FAILURES = 3

class RespipeError extends Error {
  code

  /**
   * @param {string} code RESPIPE_…
   * @param {string} message
   * @param {{ outcome?: object, cause?: unknown }} [details] `outcome`: what was known of the commands when it happened
   */
  constructor(code, message, { outcome, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    if (outcome !== undefined) this.outcome = unlisted(outcome)
  }

  /** So that an error that nobody catches does not fill the terminal. */
  [inspect.custom](depth, options) {
    const { stack, code, outcome, cause } = this
    const shown = { code, ...(outcome && { outcome: shorten(outcome) }), ...(cause !== undefined && { cause }) }
    return `${stack} ${inspect(shown, options)}`
  }
}

/** Its failures are there to be read, and not printed with an error that nobody catches. */
function unlisted(outcome) {
  return Object.defineProperty(outcome, 'failures', { enumerable: false })
}

function shorten({ failures = [], ...counts }) {
  const shown = failures.slice(0, SHOWN_FAILURES).map(({ key, ...failure }) => ({ ...failure, key: key?.toString() }))
  const more = failures.length - shown.length
  return { ...counts, failures: more > 0 ? [...shown, `… ${more} more`] : shown }
}

// On the prototype, as the built-in errors have it: the head of `stack` shows it, `Object.keys` does not.
Object.defineProperty(RespipeError.prototype, 'name', { value: 'RespipeError', configurable: true, writable: true })

module.exports = { RespipeError, unlisted }
