'use strict'

const { once } = require('node:events')
const net = require('node:net')
const tls = require('node:tls')

const READ_BYTES = 64 * 1024

/** A connected socket, with TLS where `ca` is given; onBytes(length, bytes) gets what arrives, in a buffer that is used again. */
async function openSocket({ host, port, ca }, onBytes) {
  const onread = {
    buffer: Buffer.alloc(READ_BYTES),
    callback: (length, bytes) => {
      onBytes(length, bytes)
      return true
    },
  }
  const socket = (ca ? tls : net).connect({ host, port, ca, noDelay: true, onread })
  await once(socket, ca ? 'secureConnect' : 'connect')
  return socket
}

/** Writes, and waits where the socket has enough for now. */
async function write(socket, data) {
  if (!socket.write(data)) await once(socket, 'drain')
}

/** Smaller and larger ones were no faster. */
const CHUNK = 64 * 1024

/** Sends bytes that lie ready, until so many bytes of replies are there, of which only the length is looked at. */
async function sendReady(server, bytes, replyBytes, clock) {
  let expected = replyBytes
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
}

module.exports = { openSocket, sendReady, write }
