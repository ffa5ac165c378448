'use strict'

// `redis-cli --pipe`, from a file that is ready. Its start counts, as it does for who uses it.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')

module.exports = async function redisCli({ host, port, file }, clock) {
  let text = ''
  await clock(async () => {
    const input = fs.openSync(file)
    const child = spawn('redis-cli', ['-h', host, '-p', String(port), '--pipe'], { stdio: [input, 'pipe', 'inherit'] })
    child.stdout.setEncoding('latin1').on('data', (chunk) => (text += chunk))
    await once(child, 'close')
    fs.closeSync(input)
  })
  const [failed, commands] = /errors: (\d+), replies: (\d+)/.exec(text)?.slice(1).map(Number) ?? []
  return { commands, succeeded: commands - failed, failed }
}
