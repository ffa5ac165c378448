'use strict'

// What a writer knows, a line of JSON for each batch that is over, on the disk before the next one.

const fs = require('node:fs')

class Journal {
  #fd

  constructor(file) {
    this.#fd = fs.openSync(file, 'ax')
  }

  write(line) {
    fs.writeSync(this.#fd, `${JSON.stringify(line)}\n`)
    fs.fsyncSync(this.#fd)
  }

  close() {
    fs.closeSync(this.#fd)
  }
}

/** Its lines; not a last one that was being written when the writer was killed. */
function readJournal(file) {
  if (!fs.existsSync(file)) return []
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

module.exports = { Journal, readJournal }
