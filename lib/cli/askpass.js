// A password, asked for on the terminal and not shown there.
'use strict'

const { closeSync, openSync } = require('node:fs')
const { ReadStream } = require('node:tty')

const { UsageError } = require('./usage.js')

const [INTERRUPT, END, BACKSPACE, DELETE, ERASE_LINE] = ['\x03', '\x04', '\b', '\x7f', '\x15']

/** So long a line is no password; what comes then is no person. */
const MAX_LENGTH = 4096

/**
 * Standard input may be the data: the terminal itself is asked.
 *
 * @throws {UsageError} where there is none, and where the user does not want to
 */
async function askPassword(stderr, open = openTerminal) {
  const terminal = open()
  stderr.write('Please input password: ')
  terminal.setRawMode(true)
  try {
    return await readLine(terminal)
  } finally {
    terminal.setRawMode(false)
    terminal.destroy()
    stderr.write('\n')
  }
}

function openTerminal() {
  if (process.platform === 'win32') {
    if (!process.stdin.isTTY) throw noTerminal()
    return process.stdin
  }
  let fd
  try {
    fd = openSync('/dev/tty', 'r+')
    return new ReadStream(fd)
  } catch {
    if (fd !== undefined) closeSync(fd)
    throw noTerminal()
  }
}

function noTerminal() {
  return new UsageError('--askpass needs a terminal: elsewhere REDISCLI_AUTH has the password')
}

function readLine(terminal) {
  return new Promise((resolve, reject) => {
    let letters = []
    terminal.setEncoding('utf8')
    terminal.on('error', reject)
    terminal.on('end', () => reject(new UsageError('--askpass: the terminal was closed')))
    terminal.on('data', (text) => {
      for (const letter of text) {
        if (letter === '\r' || letter === '\n' || letter === END) return resolve(letters.join(''))
        if (letter === INTERRUPT) return reject(new UsageError('--askpass: no password was given'))
        if (letter === BACKSPACE || letter === DELETE) letters.pop()
        else if (letter === ERASE_LINE) letters = []
        else if (letters.length < MAX_LENGTH) letters.push(letter)
      }
    })
  })
}

module.exports = { askPassword }
