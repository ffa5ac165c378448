'use strict'

// What stands between a client and a server in many networks: it delivers what it holds, also from a client that is gone,
// and tells the server nothing of a reset.

const { once } = require('node:events')
const net = require('node:net')

/** Starts one on a free port; `end` closes everything. */
async function startRelay({ host, port }) {
  const sockets = new Set()
  const keep = (socket) => {
    sockets.add(socket.once('close', () => sockets.delete(socket)).on('error', () => {}))
  }
  const listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const server = net.connect({ host, port, allowHalfOpen: true, noDelay: true })
    keep(client)
    keep(server)
    client.on('data', (chunk) => server.write(chunk)).once('close', () => server.end())
    // What comes for a client that is gone is read all the same: else the server could not go on.
    server.on('data', (chunk) => client.destroyed || client.write(chunk)).once('close', () => client.destroy())
    client.once('end', () => server.end())
    server.once('end', () => client.end())
  })
  listener.listen(0, host)
  await once(listener, 'listening')
  const end = () => {
    listener.close()
    for (const socket of sockets) socket.destroy()
  }
  return { url: `redis://${host}:${listener.address().port}`, end }
}

module.exports = { startRelay }
