'use strict'

// ioredis-before.js with respipe: memory stays flat, each command is accounted for, and a connection that is lost in between is
// mended, with what was in doubt sent again.
//
//   node examples/ioredis-after.js [count]

const { bulkPipeline } = require('respipe')

const [count = 100_000] = process.argv.slice(2)

function* users() {
  for (let id = 1; id <= count; id++) yield { id, name: `User ${id}`, email: `user${id}@example.com` }
}

async function main() {
  const bulk = bulkPipeline(process.env.REDIS_URL)
  try {
    const { succeeded, commands, failures } = await bulk.load(users(), ({ id, name, email }) => {
      bulk.hset(`user:${id}`, { name, email })
      bulk.expire(`user:${id}`, 86_400)
    })
    console.log(`${succeeded} of ${commands} commands`)
    for (const { command, key, message } of failures) console.error(`${command} ${key}: ${message}`)
    if (succeeded < commands) process.exitCode = 1
  } finally {
    await bulk.close()
  }
}

main()
