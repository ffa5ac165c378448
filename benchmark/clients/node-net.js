'use strict'

const { once } = require('node:events')
const net = require('node:net')
const { request } = require('../request.js')

/** Longer strings, and those of 10,000 commands, were no faster. */
const WRITE_UNITS = 64 * 1024
const READ_BYTES = 64 * 1024
const NEWLINE = 10

/** What one writes without a library: strings in RESP, newlines counted. An error reply counts like any other. */
module.exports = async function nodeNet({ host, port, commands }, clock) {
  let replies = 0
  let finish
  const finished = new Promise((resolve) => (finish = resolve))
  const count = (length, bytes) => {
    for (let at = 0; at < length; at++) if (bytes[at] === NEWLINE) replies++
    if (replies === commands) finish()
    return true
  }
  const socket = net.connect({
    host,
    port,
    noDelay: true,
    onread: { buffer: Buffer.alloc(READ_BYTES), callback: count },
  })
  await once(socket, 'connect')
  await clock(async () => {
    let text = ''
    for (let number = 0; number < commands; number++) {
      text += request(number)
      if (text.length < WRITE_UNITS) continue
      if (!socket.write(text)) await once(socket, 'drain')
      text = ''
    }
    socket.write(text)
    await finished
  })
  socket.destroy()
  return { succeeded: replies, failed: 0 }
}
