'use strict'

// What arrives of 100,000 SETs that are spread over connections: sockets that are written, not read and closed, beside
// respipe changing connections as often. node benchmark/naive.js; exits with 1 where respipe loses anything.

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { installPackages } = require('./packages.js')
const { withServer } = require('./server.js')
const { table } = require('./table.js')

const COMMANDS = 100_000
const PER_CONNECTION = [1_000, 10_000, 100_000]

/** What a developer would write, by the file of `naive/` and its argument. */
const ways = [
  { title: 'write, destroy()', file: 'socket.js', how: 'destroy' },
  { title: 'write, end()', file: 'socket.js', how: 'end' },
  { title: 'write, end(), stay running', file: 'socket.js', how: 'stay' },
  { title: 'respipe, reconnectEvery: 1', file: 'respipe.js' },
]

async function main() {
  installPackages()
  // Needs the packages.
  const witness = require('./witness.js')
  const rows = []
  await withServer(async (server) => {
    for (const perConnection of PER_CONNECTION) {
      for (const { title, file, how } of ways) {
        const { arrived, open } = await outcome(server, witness, file, { perConnection, how })
        const lost = COMMANDS - arrived
        rows.push([title, count(perConnection), count(arrived), `${((lost / COMMANDS) * 100).toFixed(1)} %`, open])
        if (file === 'respipe.js' && lost !== 0) process.exitCode = 1
      }
    }
  })
  console.log(`${count(COMMANDS)} SETs of different keys; the server's keys, counted by another client in the end`)
  console.log(table([['way', 'SETs per connection', 'arrived', 'lost', 'sockets left open'], ...rows]))
}

/** How many keys there are once the work is over, and how many sockets its process still holds then. */
async function outcome(server, { ask, clear }, file, { perConnection, how }) {
  await clear(server)
  const work = JSON.stringify({ host: server.host, port: server.port, commands: COMMANDS, perConnection, how })
  const child = fork(path.join(__dirname, 'naive', file), [work])
  const exit = once(child, 'exit')
  try {
    const message = once(child, 'message')
    const failure = exit.then(([code, signal]) => {
      if (code !== 0) throw new Error(`${file} failed: ${signal ?? `exit code ${code}`}`)
      return message
    })
    const [{ lives }] = await Promise.race([message, failure])
    // The end of a process closes what it left open, which is where some of it is lost.
    if (!lives) await exit
    const arrived = await ask(server, settledKeys)
    if (!lives) return { arrived, open: '0' }
    child.send('count')
    const [{ open }] = await once(child, 'message')
    return { arrived, open: count(open) }
  } finally {
    child.kill('SIGKILL')
    await exit
  }
}

/** DBSIZE, once it does not change any more. */
async function settledKeys(redis) {
  for (let before = -1; ;) {
    const keys = await redis.dbsize()
    if (keys === before) return keys
    before = keys
    await delay(QUIET_MS)
  }
}

/** Long for a server that takes all of it in a quarter of a second, on a busy machine too. */
const QUIET_MS = 500

function count(number) {
  return number.toLocaleString('en-US')
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
