'use strict'

// NDJSON from an HTTP server to Redis, while it arrives: each line becomes a hash and an entry of a stream. The server is read no
// faster than Redis takes it. Where the download breaks off, the load rejects; it never looks complete.
//
//   node examples/ndjson-over-http.js [url]
//
// Wants objects with id, type and at. Without a url it serves some to itself.

const http = require('node:http')
const { bulkPipeline } = require('respipe')

async function main() {
  const [url = await startDemo()] = process.argv.slice(2)
  const bulk = bulkPipeline(process.env.REDIS_URL)
  try {
    const response = await fetch(url)
    if (!response.ok) throw new Error(`${url}: ${response.status} ${response.statusText}`)
    const { succeeded, commands, failures } = await bulk.load(objectsOf(response.body), [
      'HSET event:{id} type {type} at {at|ms} all {*|json}',
      'XADD events:{type} * id {id}',
    ])
    console.log(`${succeeded} of ${commands} commands`)
    for (const { row, code, message } of failures) console.error(`line ${row + 1}: ${code}: ${message}`)
    if (succeeded < commands) process.exitCode = 1
  } finally {
    await bulk.close()
  }
}

async function* objectsOf(body) {
  for await (const line of linesOf(body.pipeThrough(new TextDecoderStream()))) yield JSON.parse(line)
}

async function* linesOf(texts) {
  let rest = ''
  for await (const text of texts) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()
    yield* lines
  }
  if (rest !== '') yield rest
}

/** Events, a line each. */
async function startDemo() {
  const server = http.createServer(async (_, response) => {
    for (let id = 1; id <= 10_000; id++) {
      const event = { id, type: ['view', 'click', 'buy'][id % 3], at: new Date(1.7e12 + 1_000 * id), tags: ['a', 'b'] }
      if (!response.write(`${JSON.stringify(event)}\n`)) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end(() => server.close())
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${server.address().port}/events.ndjson`
}

main()
