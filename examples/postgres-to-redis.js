'use strict'

// A query of Postgres to Redis, as a stream: neither side is ever held in memory, and the slower one sets the pace.
//
//   DATABASE_URL=postgres://… node examples/postgres-to-redis.js
//
// Wants a table users (id, name, email, created_at). Without DATABASE_URL it makes one, in a Postgres within this process (PGlite).

const pg = require('pg')
const QueryStream = require('pg-query-stream')
const { bulkPipeline } = require('respipe')

async function main() {
  const demo = process.env.DATABASE_URL ? undefined : await startDemo()
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL ?? demo.url })
  await client.connect()
  // NULL is left out of a hash.
  const bulk = bulkPipeline(process.env.REDIS_URL, { onNull: 'skip' })
  try {
    const query = 'SELECT id, name, email, created_at FROM users ORDER BY id'
    const rows = client.query(new QueryStream(query, [], { batchSize: 1_000 }))
    const { succeeded, commands, failures } = await bulk.load(rows, [
      'HSET user:{id} name {name} email {email} created {created_at|ms}',
      'ZADD users:by-age {created_at|ms} {id}',
    ])
    console.log(`${succeeded} of ${commands} commands`)
    for (const { row, code, message } of failures) console.error(`row ${row}: ${code}: ${message}`)
    if (succeeded < commands) process.exitCode = 1
  } finally {
    await bulk.close()
    await client.end()
    await demo?.stop()
  }
}

async function startDemo() {
  const { PGlite } = require('@electric-sql/pglite')
  const { PGLiteSocketServer } = require('@electric-sql/pglite-socket')
  const db = await PGlite.create()
  await db.exec(`
    CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL, email text, created_at timestamptz NOT NULL);
    INSERT INTO users
    SELECT id, 'User ' || id, CASE WHEN id % 10 > 0 THEN 'user' || id || '@example.com' END, to_timestamp(1.7e9 + id)
    FROM generate_series(1, 10000) AS id`)
  const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0 })
  await server.start()
  return {
    url: `postgres://postgres@${server.getServerConn()}/postgres`,
    async stop() {
      await server.stop()
      await db.close()
    },
  }
}

main()
