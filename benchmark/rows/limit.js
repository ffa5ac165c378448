'use strict'

// The server's limit: the commands lie ready in memory, and of the replies only the length is looked at.

const fs = require('node:fs')
const { openSocket, write } = require('../socket.js')

const CHUNK = 64 * 1024
const REPLY = ':4\r\n'

module.exports = async function limit({ rows, file, ...server }, clock) {
  const bytes = fs.readFileSync(file)
  let expected = rows * REPLY.length
  let finish
  const finished = new Promise((resolve) => (finish = resolve))
  const socket = await openSocket(server, (length) => {
    expected -= length
    if (expected <= 0) finish()
  })
  await clock(async () => {
    for (let at = 0; at < bytes.length; at += CHUNK) await write(socket, bytes.subarray(at, at + CHUNK))
    await finished
  })
  socket.destroy()
  return { commands: rows, succeeded: rows, failed: 0 }
}
