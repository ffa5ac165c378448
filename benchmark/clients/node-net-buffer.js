'use strict'

const { countLines } = require('../replies.js')
const { openSocket, write } = require('../socket.js')

const WRITE_BYTES = 64 * 1024
/** The longest command fits behind them, three bytes for each of its characters. */
const ROOM = 8 * 1024

/** As node-net, but the commands are written into a Buffer one by one. */
module.exports = async function nodeNetBuffer({ workload, ...server }, clock) {
  const { commands, request } = workload
  const counter = countLines(commands)
  const socket = await openSocket(server, counter.onBytes)
  await clock(async () => {
    let buffer = Buffer.allocUnsafe(WRITE_BYTES + ROOM)
    let length = 0
    for (let number = 0; number < commands; number++) {
      length += buffer.write(request(number), length)
      if (length < WRITE_BYTES) continue
      await write(socket, buffer.subarray(0, length))
      // The socket may still hold the old one.
      buffer = Buffer.allocUnsafe(WRITE_BYTES + ROOM)
      length = 0
    }
    socket.write(buffer.subarray(0, length))
    await counter.finished
  })
  socket.destroy()
  return { succeeded: counter.lines, failed: 0 }
}
