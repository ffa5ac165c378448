'use strict'

// How such a script often looks; ioredis-after.js is the same with respipe. Three things are wrong with it:
// - every command and every reply is held in memory until the end: with some millions of users it dies;
// - exec() resolves though commands have failed: the errors are in its result, at which nobody looks;
// - a connection that is lost in between has done some of it, and nobody knows what.
//
//   node examples/ioredis-before.js [count]

const { Redis } = require('ioredis')

const [count = 100_000] = process.argv.slice(2)

async function main() {
  const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379')
  const pipeline = redis.pipeline()
  for (let id = 1; id <= count; id++) {
    pipeline.hset(`user:${id}`, { name: `User ${id}`, email: `user${id}@example.com` })
    pipeline.expire(`user:${id}`, 86_400)
  }
  await pipeline.exec()
  console.log('done')
  redis.disconnect()
}

main()
