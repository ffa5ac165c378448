'use strict'

// SETs over one connection after the other; nobody reads the replies. How a connection is left is the difference:
// `destroy` closes it as soon as all is written; `end` says that nothing more comes, and leaves the rest to the system;
// so does `stay`, and the process goes on with something else.

const net = require('node:net')

async function main({ host, port, commands, perConnection, how }) {
  const sockets = []
  for (let start = 0; start < commands; start += perConnection) {
    sockets.push(await send({ host, port }, requests(start, perConnection), how))
  }
  const lives = how === 'stay'
  process.send({ lives })
  // Sockets that nobody reads do not keep a process alive; the channel to the parent does.
  if (lives) process.once('message', () => process.send({ open: sockets.filter((socket) => !socket.destroyed).length }))
}

/** Resolves once the system has taken every byte: no error, and no proof of anything. */
function send(address, bytes, how) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(address).once('error', reject)
    if (how !== 'destroy') return socket.end(bytes, () => resolve(socket))
    socket.write(bytes, () => resolve(socket.destroy()))
  })
}

function requests(start, commands) {
  let text = ''
  for (let number = start; number < start + commands; number++) {
    text += `*3\r\n$3\r\nSET\r\n$11\r\nkey:${String(number).padStart(7, '0')}\r\n$1\r\nx\r\n`
  }
  return Buffer.from(text)
}

main(JSON.parse(process.argv[2]))
