// Each example, run as its header says, and what has arrived then.

import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import test, { type ExecutionContext } from './helpers/test.ts'

import { folderWith } from './helpers/cli.ts'
import { startProgram } from './helpers/command.ts'
import { clientOf, proxyFor, serverFor } from './helpers/loads.ts'
import { until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'

const example = (name: string): URL => new URL(`../examples/${name}.js`, import.meta.url)

/** A server, and what runs an example with it. Nothing of the environment leads elsewhere. */
async function stage(t: ExecutionContext) {
  const server = await serverFor(t)
  const env = { REDIS_URL: server.url, DATABASE_URL: undefined }
  const run = (name: string, ...args: string[]) => runScript(example(name), { args, env })
  return { server, client: clientOf(t, server), env, run }
}

test('csv to hashes', async (t) => {
  const { client, run } = await stage(t)
  const { code, stdout, stderr } = await run('csv-to-hashes')
  t.deepEqual([code, stderr], [0, ''])
  t.regex(stdout, /^10 of 10 commands in \d+ ms$/m)
  t.deepEqual(await client.hgetall('user:5'), {
    id: '5',
    name: 'Katherine "Kay" Johnson',
    email: 'katherine@example.com',
    country: 'US',
  })
  t.deepEqual((await client.smembers('users:GB')).toSorted(), ['1', '2'])
})

test('csv to hashes, with a line that is wrong', async (t) => {
  const { client, run } = await stage(t)
  const file = join(folderWith(t, { 'users.csv': 'id,country\n1,GB\n2\n3,US\n' }), 'users.csv')
  const { code, stdout, stderr } = await run('csv-to-hashes', file)
  t.is(code, 1)
  t.regex(stderr, /^line 3: /)
  t.regex(stdout, /^4 of 5 commands/m)
  t.deepEqual((await client.keys('user:*')).toSorted(), ['user:1', 'user:3'])
})

test('a query of Postgres to Redis', async (t) => {
  const { client, env } = await stage(t)
  // Most of its time goes into compiling Postgres: once is enough for one query.
  const ended = await runScript(example('postgres-to-redis'), { env, nodeArgs: ['--liftoff-only'] })
  t.like(ended, { stderr: '', stdout: '20000 of 20000 commands\n', code: 0 })
  t.deepEqual(await client.hgetall('user:9999'), {
    name: 'User 9999',
    email: 'user9999@example.com',
    created: '1700009999000',
  })
  // NULL.
  t.deepEqual(await client.hgetall('user:10000'), { name: 'User 10000', created: '1700010000000' })
  t.is(await client.zcard('users:by-age'), 10_000)
})

test('NDJSON over HTTP', async (t) => {
  const { client, run } = await stage(t)
  t.like(await run('ndjson-over-http'), { stderr: '', stdout: '20000 of 20000 commands\n', code: 0 })
  const event = await client.hgetall('event:10000')
  t.like(event, { type: 'click', at: '1700010000000' })
  t.deepEqual(JSON.parse(event.all!), { id: 10_000, type: 'click', at: '2023-11-15T01:00:00.000Z', tags: ['a', 'b'] }) // prettier-ignore
  const entries = await Promise.all(['view', 'click', 'buy'].map((type) => client.xlen(`events:${type}`)))
  t.deepEqual(entries, [3_333, 3_334, 3_333])
})

test('NDJSON over HTTP that breaks off is no success', async (t) => {
  const { client, run } = await stage(t)
  const http = createServer(async (_, response) => {
    response.write('{"id":1,"type":"view","at":"2026-01-31"}\n{"id":2,"ty')
    // An end that comes sooner would take the first line with it.
    await until(async () => (await client.exists('event:1')) === 1)
    response.destroy()
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => http.close())
  const { code, stdout } = await run('ndjson-over-http', `http://127.0.0.1:${(http.address() as AddressInfo).port}/`)
  t.deepEqual([code, stdout], [1, ''])
  t.deepEqual(await client.keys('event:*'), ['event:1'])
})

test('an ioredis script before and after: both load, and one says what has failed', async (t) => {
  const { client, run } = await stage(t)
  for (const name of ['ioredis-before', 'ioredis-after']) {
    await client.flushall()
    t.like(await run(name, '1000'), { code: 0, stderr: '' })
    t.is(await client.dbsize(), 1_000)
    t.deepEqual(await client.hgetall('user:1000'), { name: 'User 1000', email: 'user1000@example.com' })
    t.true((await client.ttl('user:1000')) > 86_000)
  }
  await client.set('user:7', 'no hash')
  t.like(await run('ioredis-before', '10'), { code: 0, stderr: '', stdout: 'done\n' })
  const after = await run('ioredis-after', '10')
  t.like(after, { code: 1, stdout: '19 of 20 commands\n' })
  t.regex(after.stderr, /^HSET user:7: WRONGTYPE/)
})

test('a nightly job that is killed in the middle goes on, and does nothing twice', async (t) => {
  const { server, client, run } = await stage(t)
  const date = '2026-01-31'
  const loaded = (): Promise<number> => client.llen(`orders:${date}`)
  const proxy = await proxyFor(t, server)
  const running: { kill?: () => Promise<unknown> } = {}
  const fault = proxy.at({ command: 'RPUSH', nth: 20_000 }, () => running.kill?.())
  const script = fileURLToPath(example('nightly'))
  const { child, ended } = startProgram(t, process.execPath, [script, date], { env: { REDIS_URL: proxy.url } })
  running.kill = () => {
    child.kill('SIGKILL')
    return ended
  }
  t.is((await ended).code, null)
  await fault.happened
  // What was under way, 1 MiB at most, has come, or never will.
  await until(
    async () =>
      String(await client.client('LIST'))
        .trimEnd()
        .split('\n').length === 1,
  )
  const before = await loaded()
  t.true(before > 0 && before < 200_000, `${before}`)

  const again = await run('nightly', date)
  t.deepEqual([again.code, again.stderr], [0, ''])
  const rest = 2 * (200_000 - before)
  t.regex(again.stdout, new RegExp(`^${date}: ${rest} of ${rest} commands`))
  const ids = await client.lrange(`orders:${date}`, 0, -1)
  t.deepEqual([ids.length, new Set(ids).size, ids.at(-1)], [200_000, 200_000, `${date}/200000`])
  const revenue = Object.values(await client.hgetall(`revenue:${date}`)).reduce((sum, cents) => sum + Number(cents), 0)
  const expected = Array.from({ length: 200_000 }, (_, at) => 100 + ((at + 1) % 900)).reduce(
    (sum, cents) => sum + cents,
  )
  t.is(revenue, expected)

  t.regex((await run('nightly', date)).stdout, /: 0 of 0 commands/)
  t.is(await loaded(), 200_000)
  t.true((await client.ttl(`nightly:${date}`)) > 0)
})
