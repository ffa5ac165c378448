// Replies that are off: nothing is ever told of a command, so that nothing ever counts as succeeded; what the server
// refuses shows in `serverErrorReplies`, and a server where it would not is refused at the login.
import test, { type ExecutionContext } from './helpers/test.ts'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import type { Redis } from 'ioredis'
import type { BulkPipelineOptions, Summary } from '../index.js'
import { clientOf, increments, isHonest, proxyFor, serverFor, sets, settled, stale } from './helpers/loads.ts'
import { addsUp, bulkFor, goesOn, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import { scriptedFor } from './helpers/scripted.ts'
import type { Server } from './helpers/server.ts'

/** A port of which it is certain that nobody listens there: a replica of it keeps its data. */
const NOBODY = 1

/** One whose own questions at its start, some of which are refused, are over. */
async function quietClientOf(t: ExecutionContext, server: Server) {
  const client = clientOf(t, server)
  await client.ping()
  return client
}

function offFor(t: ExecutionContext, { port }: { port: number }, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port, replies: 'off', ...options })
}

/** Nothing succeeded as far as anybody knows, and nothing failed. */
function isUntold(t: ExecutionContext, summary: Summary, commands: number, errors: number | null) {
  addsUp(t, summary)
  const { succeeded, failed, unknown, serverErrorReplies } = summary
  t.deepEqual(
    { succeeded, failed, unknown, serverErrorReplies },
    { succeeded: 0, failed: 0, unknown: commands, serverErrorReplies: errors },
  )
}

test('all that is sent is there when exec() resolves, and the server counted no error', async (t) => {
  const server = await serverFor(t)
  const client = await quietClientOf(t, server)
  const bulk = offFor(t, server)
  for (let batch = 0; batch < 10; batch++) {
    const outcome = await resolution(t, sets(bulk, 1_000, `key:${batch}`).exec())
    t.deepEqual([outcome.succeeded, outcome.unknown], [0, 1_000])
    t.is(await client.dbsize(), 1_000 * (batch + 1))
  }
  isUntold(t, await bulk.close(), 10_000, 0)
})

test('fault 22, off: a connection for each batch loses nothing', async (t) => {
  const server = await serverFor(t)
  const bulk = offFor(t, server, { reconnectEvery: 1 })
  for (let batch = 0; batch < 20; batch++) void sets(bulk, 500, `key:${batch}`).exec()
  const summary = await bulk.close()
  isUntold(t, summary, 10_000, 0)
  // The question for the errors may take one more.
  t.true(summary.reconnects >= 19, inspect(summary))
  t.is(await clientOf(t, server).dbsize(), 10_000)
})

/** What is refused, by whom, and how many of `commands` are. */
const REFUSED: [
  fault: string,
  args: string[],
  load: (t: ExecutionContext, place: { server: Server; client: Redis }) => Promise<[Summary, refused: number]>,
][] = [
  [
    '12, off: WRONGTYPE and unknown commands',
    [],
    async (t, { server, client }) => {
      await client.set('text', 'x')
      const bulk = offFor(t, server)
      for (let i = 0; i < 500; i++) bulk.lpush('text', 1).incr('n').call('NO.SUCH', 'x')
      await bulk.exec()
      t.is(await client.get('n'), '500')
      return [await bulk.close(), 1_000]
    },
  ],
  [
    '12, off: NOPERM on a key',
    [],
    async (t, { server, client }) => {
      await client.acl('SETUSER', 'loader', 'on', '>password', '~mine:*', '+@all')
      const bulk = offFor(t, server, { username: 'loader', password: 'password' })
      sets(sets(bulk, 100, 'mine'), 100, 'theirs')
      const summary = await bulk.close()
      t.is(await client.dbsize(), 100)
      return [summary, 100]
    },
  ],
  [
    '13, off: OOM',
    ['--maxmemory', '4mb', '--maxmemory-policy', 'noeviction'],
    async (t, { server, client }) => {
      const summary = await sets(offFor(t, server), 5_000, 'key', 'x'.repeat(2_000)).close()
      const present = await client.dbsize()
      t.true(present < 5_000)
      return [summary, 5_000 - present]
    },
  ],
  [
    '13, off: OOM in a transaction, of which nothing is done',
    ['--maxmemory', '1', '--maxmemory-policy', 'noeviction'],
    async (t, { server, client }) => {
      const summary = await sets(offFor(t, server, { transaction: true }), 100, 'key').close()
      t.is(await client.dbsize(), 0)
      // EXECABORT as well.
      return [summary, 101]
    },
  ],
  [
    '29, off: NOREPLICAS',
    ['--min-replicas-to-write', '1'],
    async (t, { server }) => [await increments(offFor(t, server), 500, 'n').close(), 500],
  ],
  [
    '29, off: MISCONF',
    ['--save', '3600 1'],
    async (t, { server, client }) => {
      const bulk = offFor(t, server)
      await bulk.set('first', 0).exec()
      // A file cannot take the place of a folder.
      mkdirSync(join(server.dir, 'dump.rdb'))
      await client.bgsave()
      await until(async () => (await client.info('persistence')).includes('rdb_last_bgsave_status:err'))
      const summary = await increments(bulk, 500, 'n').close()
      t.is(await client.exists('n'), 0)
      return [summary, 500]
    },
  ],
  [
    '6, off: LOADING, while the server reads its file again',
    [
      ...['--enable-debug-command', 'yes', '--rdbcompression', 'no'],
      ...['--loading-process-events-interval-bytes', '1024'],
    ],
    async (t, { server, client }) => {
      const observer = await quietClientOf(t, server)
      const bulk = offFor(t, server)
      await sets(bulk, 1_000, 'old', 'x'.repeat(1_000)).exec()
      // Each key would take 0.1 s, if it were left at that; connections are served in between.
      await client.config('SET', 'key-load-delay', '100000')
      const reloaded = client.call('DEBUG', 'RELOAD')
      const isLoading = () => observer.get('none').then(Boolean, (error: Error) => error.message.startsWith('LOADING'))
      await until(isLoading)
      await resolution(t, increments(bulk, 500, 'n').exec())
      await observer.config('SET', 'key-load-delay', '0')
      await reloaded
      t.is(await client.exists('n'), 0)
      // The last look was refused too.
      return [await bulk.close(), 501]
    },
  ],
  [
    '7, off: READONLY, when the master becomes a replica',
    [],
    async (t, { server, client }) => {
      const bulk = offFor(t, server)
      await sets(bulk, 100, 'before').exec()
      await client.replicaof('127.0.0.1', NOBODY)
      const summary = await sets(bulk, 500, 'after').close()
      t.is(await client.dbsize(), 100)
      return [summary, 500]
    },
  ],
]

for (const [fault, args, load] of REFUSED) {
  test(`fault ${fault}: never a success, and counted by the server`, async (t) => {
    const server = await serverFor(t, ...args)
    const [summary, refused] = await load(t, { server, client: await quietClientOf(t, server) })
    isUntold(t, summary, summary.commands, refused)
  })
}

test('fault 14, off: keys that the server evicts are no errors either', async (t) => {
  const server = await serverFor(t, '--maxmemory', '4mb', '--maxmemory-policy', 'allkeys-lru')
  const summary = await sets(offFor(t, server), 5_000, 'key', 'x'.repeat(2_000)).close()
  isUntold(t, summary, 5_000, 0)
  t.true((await clientOf(t, server).dbsize()) < 5_000)
})

test('fault 15, off: a member of a cluster is refused before anything is sent', async (t) => {
  const server = await serverFor(t, '--cluster-enabled', 'yes')
  const client = await quietClientOf(t, server)
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  const error = await rejection(t, sets(offFor(t, server), 100, 'key').exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /cluster/)
  t.deepEqual([error.outcome.failed, error.outcome.unknown], [100, 0])
  t.is(await client.dbsize(), 0)
})

for (const [missing, text] of [
  ['client|reply', /\+client\|reply/],
  ['client', /\+client\|reply/],
] as const) {
  test(`fault 3, off: a user without +${missing} is refused before anything is sent`, async (t) => {
    const server = await serverFor(t)
    const client = await quietClientOf(t, server)
    await client.acl('SETUSER', 'loader', 'on', '>password', '~*', '+@all', `-${missing}`)
    const bulk = offFor(t, server, { username: 'loader', password: 'password' })
    const error = await rejection(t, sets(bulk, 100, 'key').exec(), 'RESPIPE_AUTH')
    t.regex(error.message, text)
    t.deepEqual([error.outcome.failed, error.outcome.unknown], [100, 0])
    t.is(await client.dbsize(), 0)
  })
}

for (const [what, change] of [
  ['may not be asked', (client) => client.acl('SETUSER', 'default', '-info')],
  ['forgets them', (client) => client.config('RESETSTAT')],
] as [string, (client: Redis) => Promise<unknown>][]) {
  test(`where the server ${what}, serverErrorReplies is null`, async (t) => {
    const server = await serverFor(t)
    const client = await quietClientOf(t, server)
    await client.call('NO.SUCH').catch(() => {})
    const bulk = offFor(t, server)
    await bulk.set('key', 1).exec()
    await change(client)
    isUntold(t, await bulk.set('key', 2).close(), 2, null)
  })
}

test('where the server was started anew meanwhile, serverErrorReplies is null', async (t) => {
  const server = await serverFor(t)
  const bulk = offFor(t, server)
  await bulk.lpush('key', 1).set('key', 'x').lpush('key', 1).exec()
  t.is((await bulk.sync()).serverErrorReplies, 1)
  await server.restart()
  isUntold(t, await bulk.set('key', 2).close(), 4, null)
})

test('serverErrorReplies has the errors of other clients too', async (t) => {
  const server = await serverFor(t)
  const client = await quietClientOf(t, server)
  const bulk = offFor(t, server)
  await bulk.set('key', 1).exec()
  for (let i = 0; i < 3; i++) await t.throwsAsync(client.call('NO.SUCH'))
  isUntold(t, await bulk.close(), 1, 3)
})

// Faults

for (const resend of ['idempotent', 'none'] as const) {
  test(`fault 9, off, resend '${resend}': what cannot be repeated is done at most once`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const client = await quietClientOf(t, server)
    const random = randomNumbers(9)
    const bulk = offFor(t, proxy, { maxInFlightBytes: 8_192, resend })
    await bulk.set('first', 0).exec()
    let cuts = 0
    for (let round = 0; round < 30; round++) {
      const cut = proxy.at({ bytes: 1 + random(30_000) }, random(2) === 0 ? 'reset' : 'fin')
      const outcome = await resolution(t, increments(bulk, 1_000, `n:${round}`).exec())
      if (cut.hasHappened) cuts++
      await proxy.heal()
      await isHonest(t, client, `n:${round}`, outcome)
    }
    const summary = await bulk.close()
    isUntold(t, summary, 30_001, 0)
    t.true(cuts > 15, `${cuts} cuts`)
    t.like(summary, { reconnects: cuts, resent: 0 })
  })
}

test("fault 9, off, resend 'all': all that is in doubt is sent again", async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = await quietClientOf(t, server)
  const random = randomNumbers(19)
  const bulk = offFor(t, proxy, { maxInFlightBytes: 8_192, resend: 'all' })
  await bulk.set('n', 0).exec()
  for (let round = 0; round < 30; round++) {
    // Of 1,000 commands there are more bytes.
    const cut = proxy.resetAfter(1 + random(20_000))
    await resolution(t, increments(bulk, 1_000, 'n').exec())
    t.true(cut.hasHappened)
  }
  const { resent } = await bulk.close()
  const present = Number(await client.get('n'))
  t.true(resent > 0 && present >= 30_000 && present <= 30_000 + resent, `${present} present, ${resent} sent again`)
})

test('fault 9, off: without another attempt, what was written is unknown, and what was not has failed', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = await quietClientOf(t, server)
  const bulk = offFor(t, proxy, { maxInFlightBytes: 8_192, retry: { attempts: 0 } })
  await bulk.set('first', 0).exec()
  const cut = proxy.resetAfter(20_000)
  const error = await rejection(t, increments(bulk, 5_000, 'n').exec(), 'RESPIPE_CONNECTION_LOST')
  t.true(cut.hasHappened)
  t.is(error.outcome.succeeded, 0)
  t.true(error.outcome.unknown <= (20_000 + 8_192) / 20, inspect(error.outcome))
  await isHonest(t, client, 'n', error.outcome)
  const next = await resolution(t, increments(bulk, 10, 'm').exec())
  t.is(next.unknown, 10)
  t.is(await client.get('m'), '10')
})

test('fault 11, off: while a script runs on and on, nothing counts as done', async (t) => {
  const server = await serverFor(t, '--busy-reply-threshold', '10')
  const proxy = await proxyFor(t, server)
  const bulk = offFor(t, proxy, { stallTimeoutMs: 600_000 })
  await bulk.set('key', 0).exec()
  const client = await quietClientOf(t, server)
  const killer = clientOf(t, server)
  // Connected before: a client of ioredis asks for INFO first, and fails on BUSY.
  await killer.ping()
  const script = client.eval('while true do end', 0).catch(() => {})
  t.teardown(() => killer.call('SCRIPT', 'KILL').catch(() => {}))
  await until(() => killer.ping().then(() => false, () => true)) // prettier-ignore
  const written = proxy.at({ command: 'INCR' }, () => {})
  const result = bulk.set('key', 1).incr('n').exec()
  await written.happened
  // What came before this one has been read, and refused.
  await t.throwsAsync(killer.ping(), { message: /^BUSY/ })
  await until(() => !bulk.stats().connected)
  await killer.call('SCRIPT', 'KILL')
  await script
  const outcome = await resolution(t, result)
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown], [0, 0, 2])
  // Sent again, since it can be; the other one never ran.
  t.deepEqual(await client.mget('key', 'n'), ['1', null])
})

test('fault 11, off: close() waits for a paused server', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = await quietClientOf(t, server)
  const bulk = offFor(t, proxy)
  await bulk.set('first', 0).exec()
  await client.client('PAUSE', 600_000, 'WRITE')
  const written = proxy.at({ command: 'ECHO' }, () => {})
  const state = { isClosed: false }
  const closed = sets(bulk, 2_000, 'key')
    .close()
    .finally(() => {
      state.isClosed = true
    })
  await written.happened
  // It serves whoever writes nothing, and has got all by now.
  t.is(await client.dbsize(), 1)
  t.false(state.isClosed)
  await client.call('CLIENT', 'UNPAUSE')
  isUntold(t, await closed, 2_001, 0)
  t.is(await stale(client, 2_000, 'key'), 0)
})

test('fault 17, off: a zombie, which executes nothing more and never says so, is given up', async (t) => {
  let zombie: number | undefined
  const server = await scriptedFor(t, ([name], _, connection) => {
    if (name === 'SET') zombie ??= connection
    return connection === zombie ? null : undefined
  })
  const stallTimeoutMs = 500
  const bulk = offFor(t, server, { stallTimeoutMs, retry: { attempts: 0 } })
  const error = await rejection(t, sets(bulk, 10, 'key').exec(), 'RESPIPE_STALLED')
  t.deepEqual([error.outcome.succeeded, error.outcome.failed, error.outcome.unknown], [0, 0, 10])
  t.is((await goesOn(t, stallTimeoutMs, () => sets(bulk, 10, 'key').exec())).unknown, 10)
})

for (const [what, said, text] of [
  ['18, off: garbage', '\0garbage\r\n', /got \\x00garbage/],
  ['12, off: an error, though replies are off', '-ERR what\r\n', /ERR what/],
  ['18, off: a reply that nothing asked for', '+OK\r\n:1\r\n', /expected|nothing asked for/],
] as const) {
  test(`fault ${what}: is a protocol error, and all of the batch is in doubt`, async (t) => {
    const server = await scriptedFor(t, ([name], socket, connection) => {
      if (connection === 0 && name === 'SET') socket.write(said)
      return undefined
    })
    const bulk = offFor(t, server)
    const error = await rejection(t, sets(bulk, 10, 'key').exec(), 'RESPIPE_PROTOCOL')
    t.regex(error.message, text)
    t.deepEqual([error.outcome.succeeded, error.outcome.failed, error.outcome.unknown], [0, 0, 10])
    t.is((await resolution(t, sets(bulk, 10, 'key').exec())).unknown, 10)
  })
}

test('no more is in doubt than the window holds: a fence stands at least every maxInFlightBytes', async (t) => {
  const server = await scriptedFor(t, {})
  const bulk = offFor(t, server, { maxInFlightBytes: 10_000 })
  await resolution(t, sets(bulk, 5_000, 'key').exec())
  let bytes = 0
  let most = 0
  for (const command of server.commands) {
    bytes = command[0] === 'ECHO' ? 0 : bytes + 10 * command.length + command.join('').length
    most = Math.max(most, bytes)
  }
  t.true(most <= 10_000, `${most} bytes without a fence`)
  t.true(settled(bulk) === 5_000)
})
