'use strict'

const { requests } = require('../request.js')
const { openSocket, write } = require('../socket.js')

/** Smaller and larger ones were no faster. */
const CHUNK = 64 * 1024

/**
 * The server's limit: the commands lie ready as bytes, and of the replies only the length is looked at. `silent`: without replies, but for one
 * behind the last command.
 */
module.exports = async function limit({ silent, workload, ...server }, clock) {
  const { commands, replyBytes } = workload
  const ready = requests(workload, commands)
  const bytes = silent
    ? Buffer.concat([Buffer.from('CLIENT REPLY OFF\r\n'), ready, Buffer.from('CLIENT REPLY ON\r\n')])
    : ready
  let expected = silent ? '+OK\r\n'.length : commands * replyBytes
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
  return { succeeded: commands, failed: 0 }
}
