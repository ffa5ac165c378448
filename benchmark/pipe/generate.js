'use strict'

// SETs in RESP on standard output, of so many bytes at least and of few enough keys for any server: node generate.js BYTES.
// How many there were goes to standard error.

const { setRequest } = require('../request.js')

const KEYS = 50_000
/** Made once, and written over and over. */
const BLOCKS = 50

const least = Number(process.argv[2])
const inBlock = KEYS / BLOCKS
const blocks = Array.from({ length: BLOCKS }, (_, block) => {
  let text = ''
  for (let number = block * inBlock; number < (block + 1) * inBlock; number++) {
    text += setRequest(`key:${number}`, 'v'.repeat(60 + (number % 100)))
  }
  return Buffer.from(text)
})

let written = 0
let rounds = 0

function write() {
  while (written < least) {
    const block = blocks[rounds++ % BLOCKS]
    written += block.length
    if (!process.stdout.write(block)) return process.stdout.once('drain', write)
  }
  process.stderr.write(String(rounds * inBlock))
}

write()
