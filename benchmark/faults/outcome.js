'use strict'

/** The figures of an outcome that every experiment shows. */
function figures({ commands, succeeded, failed, unknown, resent }) {
  return { commands, succeeded, failed, unknown, resent }
}

/** What is wrong with an outcome, as text: `expected` has the counts that it must have. */
function complaints(what, outcome, expected) {
  const { commands, succeeded, failed, unknown } = outcome
  const found = []
  if (commands !== succeeded + failed + unknown) {
    found.push(`${what}: ${commands} commands, not ${succeeded} + ${failed} + ${unknown}`)
  }
  for (const [name, value] of Object.entries(expected)) {
    if (outcome[name] !== value) found.push(`${what}: ${name} ${outcome[name]}, not ${value}`)
  }
  return found
}

/** Of the promises of `exec()`, each with the number of its commands. */
async function batchComplaints(batches, expected) {
  const found = []
  for (const [index, { promise, commands }] of batches.entries()) {
    const outcome = await promise.catch((error) => {
      found.push(`batch ${index}: rejected with ${error.code}: ${error.message}`)
    })
    if (outcome) found.push(...complaints(`batch ${index}`, outcome, { commands, ...expected }))
  }
  return found
}

module.exports = { batchComplaints, complaints, figures }
