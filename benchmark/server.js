'use strict'

// A server of the benchmark's own: on a free port, without persistence, ended with the benchmark.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { findRedisServer } = require('../scripts/setup.js')

const HOST = '127.0.0.1'

/** So that Ctrl-C ends in `exit` too, and the server with it. */
function interrupted() {
  process.exit(1)
}

/** Runs `work` beside a server, which it is given. */
async function withServer(work) {
  const server = await startServer()
  const kill = () => {
    server.child.kill('SIGKILL')
    fs.rmSync(server.dir, { recursive: true, force: true })
  }
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted).once('exit', kill)
  try {
    return await work(server)
  } finally {
    await stopServer(server)
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted).off('exit', kill)
  }
}

async function startServer() {
  const binary = findRedisServer()
  if (!binary) throw new Error('no redis-server: node scripts/setup.js server')
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-benchmark-'))
  const port = await freePort()
  const child = spawn(binary, ['--bind', HOST, '--port', String(port), '--save', '', '--dir', dir], { stdio: 'ignore' })
  const server = { child, dir, host: HOST, pid: child.pid, port, url: `redis://${HOST}:${port}` }
  const deadline = Date.now() + 10_000
  while (!(await accepts(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stopServer(server)
      throw new Error(`${binary} does not start`)
    }
    await delay(20)
  }
  return server
}

async function stopServer({ child, dir }) {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  fs.rmSync(dir, { recursive: true, force: true })
}

async function freePort() {
  const probe = net.createServer().listen(0, HOST)
  await once(probe, 'listening')
  const { port } = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  return port
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

module.exports = { withServer }
