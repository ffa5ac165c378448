// Ctrl-C: the first one ends the load at a fence, the second one the process.
'use strict'

/** As shells report them. SIGHUP is left alone, or `nohup` would have no effect. */
const NUMBERS = { SIGINT: 2, SIGTERM: 15 }

/** The same key can send two signals by way of a wrapper such as npx: so soon is no second wish. In milliseconds. */
const SAME_WISH_MS = 100

/**
 * @param {import('node:events').EventEmitter} signals the process
 * @param {() => number} now
 * @param {{ first: (signal: string) => void, second: (exitCode: number) => void }} wishes
 * @returns {() => void} stops listening
 */
function onSignals(signals, now, { first, second }) {
  let since
  const listeners = Object.entries(NUMBERS).map(([signal, number]) => {
    const listener = () => {
      if (since === undefined) {
        since = now()
        first(signal)
      } else if (now() - since >= SAME_WISH_MS) {
        second(128 + number)
      }
    }
    signals.on(signal, listener)
    return [signal, listener]
  })
  return () => listeners.forEach(([signal, listener]) => signals.off(signal, listener))
}

function exitCodeOf(signal) {
  return 128 + NUMBERS[signal]
}

module.exports = { exitCodeOf, onSignals }
