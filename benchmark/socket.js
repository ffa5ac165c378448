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

module.exports = { openSocket, write }
