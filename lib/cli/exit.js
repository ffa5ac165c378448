// Exit codes, and which error has which.
'use strict'

const EXIT = { WELL: 0, FAILED: 1, USAGE: 2, CONNECTION: 3 }

/** For --help. */
const EXIT_CODES = [
  [EXIT.WELL, 'all well'],
  [EXIT.FAILED, 'some commands failed or are unknown, some rows are broken, or --max-failed was reached'],
  [EXIT.USAGE, 'the command line or the template is wrong, or the file cannot be read'],
  [EXIT.CONNECTION, 'no connection, no login, connection lost for good, or the server is no place to write to'],
  ['130, 143', 'ended by Ctrl-C or SIGTERM before all was loaded'],
]

const OF_CODE = {
  RESPIPE_INVALID_ARGUMENT: EXIT.USAGE,
  RESPIPE_INVALID_OPTION: EXIT.USAGE,
  RESPIPE_FORBIDDEN_COMMAND: EXIT.USAGE,
  RESPIPE_UNSUPPORTED: EXIT.USAGE,
  RESPIPE_IO: EXIT.USAGE,
  RESPIPE_CONNECT: EXIT.CONNECTION,
  RESPIPE_TLS: EXIT.CONNECTION,
  RESPIPE_AUTH: EXIT.CONNECTION,
  RESPIPE_CONNECTION_LOST: EXIT.CONNECTION,
  RESPIPE_STALLED: EXIT.CONNECTION,
  RESPIPE_PROTOCOL: EXIT.CONNECTION,
  RESPIPE_REFUSED: EXIT.CONNECTION,
}

/** Of a RespipeError. */
function exitCodeOfError({ code }) {
  return OF_CODE[code] ?? EXIT.FAILED
}

/** Of a load that went to its end. With replies off nobody asked what became of the commands. */
function exitCodeOfOutcome({ failed, unknown, serverErrorReplies }, replies) {
  if (failed > 0 || serverErrorReplies > 0) return EXIT.FAILED
  return unknown > 0 && replies !== 'off' ? EXIT.FAILED : EXIT.WELL
}

module.exports = { EXIT, EXIT_CODES, exitCodeOfError, exitCodeOfOutcome }
