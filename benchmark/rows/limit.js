'use strict'

// The server's limit: the commands lie ready in memory.

const fs = require('node:fs')
const { sendReady } = require('../socket.js')

const REPLY = ':4\r\n'

module.exports = async function limit({ rows, file, ...server }, clock) {
  await sendReady(server, fs.readFileSync(file), rows * REPLY.length, clock)
  return { commands: rows, succeeded: rows, failed: 0 }
}
