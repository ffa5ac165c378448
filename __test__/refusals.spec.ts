// What a server refuses for now, rows 6, 7, 11, 13, 15, 29 of the fault matrix: it is held, and sent again once the
// server takes it. Real servers, which say so for real reasons.
import test, { type ExecutionContext } from './helpers/test.ts'
import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import {
  areDone,
  clientOf,
  COLUMNS,
  type Column,
  increments,
  proxyFor,
  serverFor,
  sets,
  settled,
  stale,
  told,
} from './helpers/loads.ts'
import { bulkFor, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import type { Action, Fault, FaultProxy } from './helpers/proxy.ts'
import { startServer } from './helpers/server.ts'

const NOEVICTION = ['--maxmemory-policy', 'noeviction']

/** More than an empty server uses, and less than the load needs. */
const SMALL = ['--maxmemory', '4mb', ...NOEVICTION]
/** Less than an empty server uses: no write at all. */
const NONE = ['--maxmemory', '1', ...NOEVICTION]

function large(column: Column, count: number) {
  const value = 'x'.repeat(2_000)
  return { value, batches: column === 'checkpoint' ? 50 : 1, each: count / (column === 'checkpoint' ? 50 : 1) }
}

/** Some of it was refused, as its server says. */
async function isHeld(client: Redis, code: string) {
  await until(async () => (await client.info('errorstats')).includes(`errorstat_${code}:`))
}

/**
 * Once all of a batch of so many commands was refused, and before that is sent again: the reply to the fence, which was
 * written in one go with them, is held back meanwhile.
 */
function onceRefused(proxy: FaultProxy, column: Column, command: string, count: number, action: Action): Fault {
  return proxy.at(column === 'checkpoint' ? { replyTo: 'EXEC' } : { replyTo: command, nth: count }, action)
}

/** A port of which it is certain that nobody listens there: a replica of it keeps its data. */
const NOBODY = 1

for (const column of told) {
  test(`fault 13, ${column}: out of memory: once the limit is raised, everything arrives`, async (t) => {
    const server = await serverFor(t, ...SMALL)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    const { value, batches, each } = large(column, 5_000)
    for (let batch = 0; batch < batches; batch++) void sets(bulk, each, `key:${batch}`, value).exec()
    await isHeld(client, 'OOM')
    const before = settled(bulk)
    t.true(before < 5_000, `${before} settled`)
    await client.config('SET', 'maxmemory', '0')
    const summary = await resolution(t, bulk.close())
    areDone(t, column, summary)
    // A checkpoint that is refused ends the connection.
    if (column !== 'checkpoint') t.is(summary.reconnects, 0)
    for (let batch = 0; batch < batches; batch++) t.is(await stale(client, each, `key:${batch}`, value), 0)
  })

  test(`fault 13, ${column}: commands of one key that are refused keep their order, and are done once`, async (t) => {
    const server = await serverFor(t, ...NONE)
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    // The checkpoint itself is refused as well.
    if (column === 'checkpoint') await client.config('SET', 'maxmemory', '0')
    await bulk.ping().exec()
    await client.config('SET', 'maxmemory', '1')
    const fault = onceRefused(proxy, column, 'RPUSH', 300, () => client.config('SET', 'maxmemory', '0'))
    for (let i = 0; i < 300; i++) bulk.rpush(`list:${i % 3}`, i)
    areDone(t, column, await resolution(t, bulk.exec()))
    t.true(fault.hasHappened)
    for (let list = 0; list < 3; list++) {
      const expected = Array.from({ length: 100 }, (_, i) => String(3 * i + list))
      t.deepEqual(await client.lrange(`list:${list}`, 0, -1), expected)
    }
  })

  test(`fault 11, ${column}: while a script runs on and on, commands wait`, async (t) => {
    const { server, proxy, bulk, end } = await busy(t, column)
    // The fence is refused as well: all is answered, and yet to be done.
    const fault = proxy.at({ replyTo: 'INCR' }, end)
    areDone(t, column, await resolution(t, bulk.set('key', 1).incr('n').exec()))
    t.true(fault.hasHappened)
    const client = clientOf(t, server)
    t.deepEqual(await client.mget('key', 'n'), ['1', '1'])
  })

  test(`fault 29, ${column}: MISCONF, while the server cannot save, is waited for`, async (t) => {
    const server = await serverFor(t, '--save', '3600 1')
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    await bulk.set('first', 0).exec()
    const isSaved = async (status: string) =>
      (await client.info('persistence')).includes(`last_bgsave_status:${status}`)
    // A file cannot take the place of a folder.
    const dump = join(server.dir, 'dump.rdb')
    mkdirSync(dump)
    await client.bgsave()
    await until(() => isSaved('err'))
    const fault = onceRefused(proxy, column, 'INCR', 500, async () => {
      rmdirSync(dump)
      await client.bgsave()
      await until(() => isSaved('ok'))
    })
    areDone(t, column, await resolution(t, increments(bulk, 500, 'n').exec()))
    t.true(fault.hasHappened)
    await isHeld(client, 'MISCONF')
    t.is(await client.get('n'), '500')
  })

  test(`fault 13, ${column}: a connection that is lost while commands wait is replaced: nothing is in doubt`, async (t) => {
    const { client, proxy, bulk } = await full(t, column)
    const fault = onceRefused(proxy, column, 'INCR', 500, async (link) => {
      await client.config('SET', 'maxmemory', '0')
      link.cut('fin')
    })
    areDone(t, column, await resolution(t, increments(bulk, 500, 'n').exec()))
    t.true(fault.hasHappened)
    t.is(await client.get('n'), '500')
    t.like(bulk.stats(), { reconnects: 1 })
  })

  test(`fault 13, ${column}: one that is lost once they were sent again leaves them in doubt`, async (t) => {
    const { client, proxy, bulk } = await full(t, column)
    const faults = [
      onceRefused(proxy, column, 'INCR', 500, () => client.config('SET', 'maxmemory', '0')),
      // What is said of those that were sent again is held back until the connection is lost.
      proxy.at({ replyTo: 'ECHO' }, () => again.happened),
    ]
    const again = proxy.at(
      column === 'checkpoint' ? { command: 'EXEC', nth: 2 } : { command: 'INCR', nth: 1_000 },
      (link) => link.cut('reset'),
    )
    const outcome = await resolution(t, increments(bulk, 500, 'n').exec())
    t.true([...faults, again].every((fault) => fault.hasHappened))
    // They may not be done twice; with a checkpoint the server can be asked.
    if (column === 'checkpoint') areDone(t, column, outcome)
    else t.like(outcome, { succeeded: 0, failed: 0, unknown: 500 })
    await until(async () => (await client.get('n')) === '500')
    t.like(bulk.stats(), { resent: 0 })
    areDone(t, column, await resolution(t, increments(bulk, 10, 'm').exec()))
    t.is(await client.get('n'), '500')
  })

  test(`fault 29, ${column}: NOREPLICAS, while there are too few, is waited for`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    await bulk.set('first', 0).exec()
    await client.config('SET', 'min-replicas-to-write', '1')
    const fault = onceRefused(proxy, column, 'INCR', 500, async () => {
      t.is(await client.exists('n'), 0)
      await client.config('SET', 'min-replicas-to-write', '0')
    })
    areDone(t, column, await resolution(t, increments(bulk, 500, 'n').exec()))
    t.true(fault.hasHappened)
    await isHeld(client, 'NOREPLICAS')
    t.is(await client.get('n'), '500')
  })

  test(`fault 7, ${column}: READONLY, when the master becomes a replica in mid-load, is waited for`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 16_384 })
    const moved: string[] = []
    bulk.on('reconnect', ({ reason }) => moved.push(reason))
    const batches = column === 'checkpoint' ? 50 : 2
    const fault = proxy.at({ replyTo: 'SET', nth: 2_050 }, () => client.replicaof('127.0.0.1', NOBODY))
    for (let batch = 0; batch < batches; batch++) void sets(bulk, 10_000 / batches, `moved:${batch}`).exec()
    await fault.happened
    await isHeld(client, 'READONLY')
    await until(() => !bulk.stats().connected)
    await client.replicaof('NO', 'ONE')
    const summary = await resolution(t, bulk.close())
    areDone(t, column, summary)
    t.true(moved.includes('moved'), inspect(moved))
    for (let batch = 0; batch < batches; batch++) {
      t.is(await stale(client, 10_000 / batches, `moved:${batch}`), 0)
    }
  })

  test(`fault 6, ${column}: LOADING, while a server reads its file again, is waited for`, async (t) => {
    const server = await serverFor(
      t,
      ...['--enable-debug-command', 'yes', '--rdbcompression', 'no'],
      ...['--loading-process-events-interval-bytes', '1024'],
    )
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    const value = 'x'.repeat(1_000)
    await resolution(t, sets(bulk, 1_000, 'old', value).exec())
    // Each key would take 0.1 s, if it were left at that; connections are served in between.
    await client.config('SET', 'key-load-delay', '100000')
    const observer = clientOf(t, server)
    await observer.ping()
    const reloaded = client.call('DEBUG', 'RELOAD')
    await until(() => observer.get('none').then(Boolean, ({ message }: Error) => message.startsWith('LOADING')))
    const fault = proxy.at({ replyTo: 'INCR' }, () => observer.config('SET', 'key-load-delay', '0'))
    areDone(t, column, await resolution(t, increments(bulk, 500, 'n').exec()))
    t.true(fault.hasHappened)
    t.regex(await observer.info('commandstats'), /cmdstat_incr:.*rejected_calls=[1-9]/)
    await reloaded
    t.is(await observer.get('n'), '500')
    t.is(await stale(observer, 1_000, 'old', value), 0)
  })

  test(`fault 6, ${column}: a server that starts again and reads a large file is waited for`, async (t) => {
    const server = await serverFor(
      t,
      ...['--appendonly', 'yes', '--appendfsync', 'always', '--aof-use-rdb-preamble', 'no'],
      ...['--key-load-delay', '200', '--loading-process-events-interval-bytes', '1024'],
    )
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 16_384 })
    const batches = column === 'checkpoint' ? 20 : 1
    const fault = proxy.at({ replyTo: 'SET', nth: 3_050 }, () => server.kill('SIGKILL'))
    for (let batch = 0; batch < batches; batch++) void sets(bulk, 6_000 / batches, `key:${batch}`).exec()
    await fault.happened
    await server.restart()
    const summary = await resolution(t, bulk.close())
    areDone(t, column, summary)
    const client = clientOf(t, server)
    await until(async () => (await client.info('persistence')).includes('loading:0'))
    for (let batch = 0; batch < batches; batch++) t.is(await stale(client, 6_000 / batches, `key:${batch}`), 0)
  })
}

for (const column of ['check', 'collect'] as const) {
  test(`fault 13, ${column}: lost amid the refusals: what was refused has failed where a newer one may be done`, async (t) => {
    const { client, proxy, bulk } = await full(t, column)
    const fault = proxy.at({ replyTo: 'INCR', nth: 200 }, (link) => link.cut('fin'))
    const outcome = await resolution(t, increments(bulk, 500, 'n').exec())
    t.true(fault.hasHappened)
    t.like(outcome, { succeeded: 0, failed: 200, unknown: 300, errors: { OOM: 200 } })
    await client.config('SET', 'maxmemory', '0')
    areDone(t, column, await resolution(t, increments(bulk, 10, 'n').exec()))
    t.is(await client.get('n'), '10')
  })
}

test('fault 13: once retry is used up, out of memory is counted, with each index', async (t) => {
  const server = await serverFor(t, ...SMALL)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port, maxFailures: 1_000_000, retry: { attempts: 2 } })
  sets(bulk, 5_000, 'key', 'x'.repeat(2_000))
  const outcome = await resolution(t, bulk.exec())
  t.true(outcome.succeeded > 0 && outcome.failed > 0, inspect({ ...outcome, failures: [] }))
  t.deepEqual(outcome.errors, { OOM: outcome.failed })
  t.is(await client.dbsize(), outcome.succeeded)
  t.is(outcome.failures.length, outcome.failed)
  const missing = new Set(outcome.failures.map(({ index }) => index))
  for (let i = 0; i < 5_000; i += 97) t.is(await client.exists(`key:${i}`), missing.has(i) ? 0 : 1)

  await client.config('SET', 'maxmemory', '0')
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
})

for (const [what, retry] of [
  ['attempts: 0', { attempts: 0 }],
  ['attempts: 3', { attempts: 3 }],
  // Twice at most: each wait takes half of it or more, and the last one what is left.
  ['maxElapsedMs', { minDelayMs: 100, maxDelayMs: 100, maxElapsedMs: 100 }],
] as const) {
  test(`fault 13: many refusals do not take as many back-offs: ${what}`, async (t) => {
    const server = await serverFor(t, ...NONE)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, retry, maxInFlightBytes: 65_536 })
    const outcome = await resolution(t, sets(bulk, 20_000, 'key').exec())
    t.deepEqual(outcome.errors, { OOM: 20_000 })
    const [, rejected] = /cmdstat_set:.*rejected_calls=(\d+)/.exec(await client.info('commandstats'))!
    // Those of one window, 35 bytes each, as often as it may, and each once at the end.
    t.true(Number(rejected) <= 20_000 + (4 * 65_536) / 35, `${rejected} tries`)
    if (what === 'attempts: 0') t.is(rejected, '20000')
    if (what === 'attempts: 3') t.true(Number(rejected) > 20_000)
  })
}

test('fault 13: a refused command whose key got a later success has failed, and the newer value stays', async (t) => {
  const server = await serverFor(t, ...NOEVICTION)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port })
  await bulk.mset({ b: 'new', c: 'gone' }).exec()
  await client.config('SET', 'maxmemory', '1')
  const fault = onceRefused(proxy, 'check', 'SET', 4, () => client.config('SET', 'maxmemory', '0'))
  // Without memory a server still renames and deletes.
  bulk.set('a', 'old').set('other', 1).rename('b', 'a').set('c', 'old').del('c').set('other', 2)
  const outcome = await resolution(t, bulk.exec())
  t.true(fault.hasHappened)
  t.deepEqual(outcome.errors, { OOM: 2 })
  t.deepEqual(
    outcome.failures.map(({ index, key, code }) => [index, String(key), code]),
    [
      [0, 'a', 'OOM'],
      [3, 'c', 'OOM'],
    ],
  )
  t.deepEqual(await client.mget('a', 'b', 'c', 'other'), ['new', null, null, '2'])
})

test('fault 13: whatever passes and whatever does not, each list is in order, and holds what succeeded', async (t) => {
  const server = await serverFor(t, ...NOEVICTION)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const random = randomNumbers(13)
  const bulk = bulkFor(t, {
    port: proxy.port,
    replies: 'collect',
    // 120 commands.
    maxInFlightBytes: 4_096,
    retry: { maxDelayMs: 3 },
  })
  const commands = Array.from({ length: 6_000 }, () => `list:${random(500)}`)
  const faults: Fault[] = []
  // Further apart than what is in the window; refusals count as well, so all of them come.
  for (let nth = 200, limit = 1; nth < 5_500; nth += 150 + random(200), limit = 1 - limit) {
    faults.push(proxy.at({ replyTo: 'RPUSH', nth }, () => client.config('SET', 'maxmemory', limit)))
  }
  if (faults.length % 2 > 0) {
    faults.push(proxy.at({ replyTo: 'RPUSH', nth: 5_900 }, () => client.config('SET', 'maxmemory', 0)))
  }
  for (const [i, key] of commands.entries()) bulk.rpush(key, i)
  const outcome = await resolution(t, bulk.exec())
  t.true(faults.every((fault) => fault.hasHappened))
  await isHeld(client, 'OOM')
  t.is(outcome.unknown, 0)
  t.is(outcome.errors['OOM'] ?? 0, outcome.failed)
  const expected = new Map<string, string[]>()
  for (const [i, key] of commands.entries()) {
    if (outcome.replies![i] instanceof Error) continue
    expected.set(key, [...(expected.get(key) ?? []), String(i)])
  }
  for (const [key, values] of expected) t.deepEqual(await client.lrange(key, 0, -1), values)
})

test('fault 13: a transaction is refused whole, waited for, and done whole', async (t) => {
  const server = await serverFor(t, ...NONE)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, transaction: true })
  const fault = proxy.at({ replyTo: 'EXEC' }, async () => {
    t.is(await client.dbsize(), 0)
    await client.config('SET', 'maxmemory', '0')
  })
  const outcome = await resolution(t, bulk.ping().set('a', 1).rpush('b', 2).exec())
  t.true(fault.hasHappened)
  t.like(outcome, { commands: 3, succeeded: 3 })
  t.deepEqual(await client.lrange('b', 0, -1), ['2'])
})

test('fault 13: once retry is used up, out of memory discards a transaction whole', async (t) => {
  const server = await serverFor(t, ...NONE)
  const bulk = bulkFor(t, { port: server.port, transaction: true, retry: { attempts: 2 } })
  const outcome = await resolution(t, bulk.ping().set('a', 1).set('b', 2).exec())
  // Before Redis 7.2 PING is refused too; since then it is queued, and discarded with the others.
  const { OOM = 0, EXECABORT = 0 } = outcome.errors
  t.true(OOM >= 2 && OOM + EXECABORT === 3, inspect(outcome.errors))
  t.is(outcome.failed, 3)
  t.is(await clientOf(t, server).dbsize(), 0)
})

test('fault 11: once retry is used up, commands that a busy server refuses have failed', async (t) => {
  const { server, bulk, end } = await busy(t, 'check', 2)
  const error = await rejection(t, bulk.set('key', 1).set('key', 2).exec(), 'RESPIPE_CONNECTION_LOST')
  await end()
  t.regex(error.message, /BUSY (Redis|Valkey) is busy running a script/)
  t.deepEqual(error.outcome.errors, { BUSY: 2 })
  t.deepEqual([error.outcome.succeeded, error.outcome.failed, error.outcome.unknown], [0, 2, 0])
  t.is(await clientOf(t, server).get('key'), '0')
})

test('fault 29: once retry is used up, NOREPLICAS is counted', async (t) => {
  const server = await serverFor(t, '--min-replicas-to-write', '1')
  const bulk = bulkFor(t, { port: server.port, retry: { attempts: 2 } })
  const outcome = await resolution(t, increments(bulk, 100, 'n').exec())
  t.deepEqual(outcome.errors, { NOREPLICAS: 100 })
})

test('fault 7: once retry is used up, a server that stays a replica is given up', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: server.port, retry: { attempts: 2 } })
  await bulk.set('key', 1).exec()
  await client.replicaof('127.0.0.1', NOBODY)
  const error = await rejection(t, bulk.set('key', 2).set('key', 3).exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /it is a replica/)
  t.deepEqual([error.outcome.failed, error.outcome.unknown], [2, 0])
  t.is(await client.get('key'), '1')
})

test('fault 15: CLUSTERDOWN, while a slot is nobody’s, is waited for', async (t) => {
  const server = await startServer({ args: ['--cluster-enabled', 'yes'] })
  t.teardown(() => server.stop())
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port })
  const fault = onceRefused(proxy, 'check', 'INCR', 500, async () => {
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until(async () => String(await client.call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
  })
  const outcome = await resolution(t, increments(bulk, 500, 'n').exec())
  t.true(fault.hasHappened)
  t.is(outcome.succeeded, 500)
  t.is(await client.get('n'), '500')
})

/** A server that does nothing but run a script. */
async function busy(t: ExecutionContext, column: Column, attempts = Infinity) {
  const server = await serverFor(t, '--busy-reply-threshold', '10')
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], retry: { attempts } })
  await bulk.set('key', 0).exec()
  const client = clientOf(t, server)
  const killer = clientOf(t, server)
  // Connected before: a client of ioredis asks for INFO first, and fails on BUSY.
  await killer.ping()
  const script = client.eval('while true do end', 0).catch(() => {})
  await until(() =>
    killer.ping().then(
      () => false,
      () => true,
    ),
  )
  const end = async () => {
    await killer.call('SCRIPT', 'KILL')
    await script
  }
  t.teardown(() => killer.call('SCRIPT', 'KILL').catch(() => {}))
  return { server, proxy, bulk, end }
}

/** A server that has no room for more, and a load that has a connection to it by way of a proxy. */
async function full(t: ExecutionContext, column: Column) {
  const server = await serverFor(t, ...NOEVICTION)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
  await bulk.set('first', 0).exec()
  await client.config('SET', 'maxmemory', '1')
  return { client, proxy, bulk }
}
