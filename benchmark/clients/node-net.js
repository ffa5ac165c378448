'use strict'

const { countLines } = require('../replies.js')
const { openSocket, write } = require('../socket.js')

/** Longer strings, and those of 10,000 commands, were no faster. */
const WRITE_UNITS = 64 * 1024

/** What one writes without a library: strings in RESP, newlines counted. */
module.exports = async function nodeNet({ workload, ...server }, clock) {
  const { commands, request } = workload
  const counter = countLines(commands)
  const socket = await openSocket(server, counter.onBytes)
  await clock(async () => {
    let text = ''
    for (let number = 0; number < commands; number++) {
      text += request(number)
      if (text.length < WRITE_UNITS) continue
      await write(socket, text)
      text = ''
    }
    socket.write(text)
    await counter.finished
  })
  socket.destroy()
  return { succeeded: counter.lines, failed: 0 }
}
