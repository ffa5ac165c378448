'use strict'

// A server for generate-commands.js to ask, and just enough of a client to ask it.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')

/** A server that runs already (`host:port`), or one started from its binary, which `end` ends. */
async function reach(where) {
  const address = /^([^/\\]+):(\d+)$/.exec(where)
  if (address) {
    const client = await connect(address[1], Number(address[2]))
    return { client, end: async () => client.close() }
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-commands-'))
  const port = await freePort()
  const options = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'no' }
  const child = spawn(
    where,
    Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]),
    {
      stdio: 'ignore',
    },
  )
  const exited = once(child, 'exit').catch(() => undefined)
  const end = async () => {
    child.kill()
    await exited
    fs.rmSync(folder, { recursive: true, force: true })
  }
  try {
    await once(child, 'spawn')
    const client = await connectWhenUp(port, child)
    return { client, end: () => (client.close(), end()) }
  } catch (error) {
    await end()
    throw error
  }
}

async function connectWhenUp(port, child) {
  for (let tries = 0; ; tries++) {
    try {
      return await connect('127.0.0.1', port)
    } catch (error) {
      if (tries === 100 || child.exitCode !== null) throw error
      await sleep(50)
    }
  }
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** Just enough of a client: one command after the other, replies as strings, numbers, arrays, errors. */
async function connect(host, port) {
  const socket = net.connect(port, host)
  await once(socket, 'connect')
  const chunks = socket[Symbol.asyncIterator]()
  let buffer = Buffer.alloc(0)
  const call = async (...words) => {
    const bulks = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
    socket.write(`*${words.length}\r\n${bulks.join('')}`)
    for (;;) {
      const reply = readReply(buffer, 0)
      if (reply) {
        buffer = buffer.subarray(reply.end)
        return reply.value
      }
      const { value, done } = await chunks.next()
      if (done) throw new Error(`the server closed the connection at ${words.join(' ')}`)
      buffer = Buffer.concat([buffer, value])
    }
  }
  return { call, close: () => socket.destroy() }
}

/** The reply at `start`, and where it ends; null until it is complete. */
function readReply(buffer, start) {
  const crlf = buffer.indexOf('\r\n', start)
  if (crlf < 0) return null
  const line = buffer.toString('utf8', start + 1, crlf)
  let end = crlf + 2
  switch (String.fromCharCode(buffer[start])) {
    case '+':
      return { value: line, end }
    case '-':
      return { value: new Error(line), end }
    case ':':
      return { value: Number(line), end }
    case '$':
      if (line === '-1') return { value: null, end }
      end += Number(line) + 2
      return end > buffer.length ? null : { value: buffer.toString('utf8', crlf + 2, end - 2), end }
    case '*': {
      const value = []
      for (let left = Number(line); left > 0; left--) {
        const element = readReply(buffer, end)
        if (!element) return null
        value.push(element.value)
        end = element.end
      }
      return { value, end }
    }
    default:
      throw new Error(`not a RESP2 reply: ${buffer.toString('latin1', start, crlf)}`)
  }
}

module.exports = { reach }
