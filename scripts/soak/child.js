'use strict'

// Processes that end with this one, whatever happens.

const { fork } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')

const running = new Set()

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** `file`: relative to this folder, or absolute. */
function startChild(file, argument) {
  const child = fork(path.resolve(__dirname, file), [argument])
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function endChild(child) {
  if (!running.has(child)) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

/** The proxy in front of a server: `call` is for each method and field of the tests' one; resolves once it is done, to what it returned. */
async function startProxyChild(port) {
  const child = startChild('proxy.js', String(port))
  const [{ port: own }] = await once(child, 'message')
  let last = 0
  const call = async (method, ...args) => {
    const id = ++last
    const done = new Promise((resolve) => {
      child.on('message', function listen(message) {
        if (message.id !== id) return
        child.off('message', listen)
        resolve(message.value)
      })
    })
    child.send({ id, method, args })
    return done
  }
  return { url: `redis://127.0.0.1:${own}`, call, end: () => endChild(child) }
}

/** A writer: `stats` and `rss` are what it told last, `failure` what it ended of. */
function startWriter(work) {
  const child = startChild('writer.js', JSON.stringify(work))
  const writer = { file: work.file, stats: {}, rss: 0, end: () => endChild(child) }
  child.on('message', (message) => Object.assign(writer, message))
  const exit = once(child, 'exit')
  child.once('exit', (code, signal) => {
    if (code !== 0) writer.failure ??= `ended by ${signal ?? `exit code ${code}`}`
  })
  /** Lets it finish what is under way. */
  writer.stop = async (limitMs) => {
    if (child.connected) child.send('stop')
    const timer = setTimeout(() => {
      writer.failure = `did not end within ${limitMs} ms`
      child.kill('SIGKILL')
    }, limitMs)
    await exit
    clearTimeout(timer)
  }
  return writer
}

module.exports = { endChild, startChild, startProxyChild, startWriter }
