// What is wrong with a command line: one line for people, exit code 2.
'use strict'

class UsageError extends Error {}

/** What the system says of a file, without its code and without the path, which the message names already. */
function reason(error) {
  return /^\w+: (.*?), \w+/.exec(error.message)?.[1] ?? error.message
}

module.exports = { UsageError, reason }
