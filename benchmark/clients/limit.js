'use strict'

const { once } = require('node:events')
const net = require('node:net')
const { REPLY_BYTES } = require('../workload.js')
const { requests } = require('../request.js')

/** Smaller and larger ones were no faster. */
const CHUNK = 64 * 1024

/** The server's limit: the commands lie ready as bytes, and of the replies only the length is looked at. */
module.exports = async function limit({ host, port, commands }, clock) {
  const bytes = requests(commands)
  let expected = commands * REPLY_BYTES
  let finish
  const finished = new Promise((resolve) => (finish = resolve))
  const drop = (count) => {
    expected -= count
    if (expected <= 0) finish()
    return true
  }
  const socket = net.connect({ host, port, noDelay: true, onread: { buffer: Buffer.alloc(CHUNK), callback: drop } })
  await once(socket, 'connect')
  await clock(async () => {
    for (let at = 0; at < bytes.length; at += CHUNK) {
      if (!socket.write(bytes.subarray(at, at + CHUNK))) await once(socket, 'drain')
    }
    await finished
  })
  socket.destroy()
  return { succeeded: commands, failed: 0 }
}
