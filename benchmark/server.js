'use strict'

// A server of the benchmark's own: on a free port, without persistence, ended with the benchmark.

const { execFileSync, spawn } = require('node:child_process')
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

/** Runs `work` beside a server, which it is given. With `tls` the server also has a port for that, as `server.tls`. */
async function withServer(work, { tls = false } = {}) {
  const server = await startServer(tls)
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

async function startServer(tls) {
  const binary = findRedisServer()
  if (!binary) throw new Error('no redis-server: node scripts/setup.js server')
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-benchmark-'))
  const port = await freePort()
  const secure = tls ? await prepareTls(dir) : undefined
  const args = ['--bind', HOST, '--port', String(port), '--save', '', '--dir', dir, ...(secure?.args ?? [])]
  const child = spawn(binary, args, { stdio: 'ignore' })
  const server = { child, dir, host: HOST, pid: child.pid, port, url: `redis://${HOST}:${port}` }
  if (secure) server.tls = { ...server, port: secure.port, url: `rediss://${HOST}:${secure.port}`, ca: secure.ca }
  const deadline = Date.now() + 10_000
  while (!(await accepts(port))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stopServer(server)
      throw new Error(`${binary} does not start${tls ? ', perhaps as it was built without TLS' : ''}`)
    }
    await delay(20)
  }
  return server
}

/** A port, a certificate that signs itself, and what the server has to be told. */
async function prepareTls(dir) {
  const [port, cert, key] = [await freePort(), path.join(dir, 'server.crt'), path.join(dir, 'server.key')]
  const request = ['req', '-x509', '-nodes', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '30']
  const names = ['-subj', '/CN=respipe', '-addext', `subjectAltName=IP:${HOST}`, '-addext', 'basicConstraints=CA:FALSE']
  execFileSync('openssl', [...request, ...names, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
  const args = ['--tls-port', String(port), ...files, '--tls-auth-clients', 'no']
  return { port, ca: fs.readFileSync(cert, 'utf8'), args }
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
