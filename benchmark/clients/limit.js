'use strict'

const { requests } = require('../request.js')
const { sendReady } = require('../socket.js')

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
  const expected = silent ? '+OK\r\n'.length : commands * replyBytes
  await sendReady(server, bytes, expected, clock)
  return { succeeded: commands, failed: 0 }
}
