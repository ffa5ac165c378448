// Connections that are lost, rows 9, 10, 11 and 33 of the fault matrix: what is sent again, what stays unknown, and that
// nothing of an old connection runs once the new one is in use. Checkpoints: checkpoint.spec.ts.
import test, { type ExecutionContext } from './helpers/test.ts'
import { inspect } from 'node:util'
import type { BulkPipeline, BulkPipelineOptions, RespipeError } from '../index.js'
import {
  areDone,
  clientOf,
  COLUMNS,
  columns,
  increments,
  isHonest,
  proxyFor,
  serverFor,
  sets,
  stale,
} from './helpers/loads.ts'
import { AOF, cutsAnywhere, cutsIncrements, killsClient, killsServer, loseAt } from './helpers/losses.ts'
import { addsUp, bulkFor, goesOn, randomNumbers, reasonOf, rejection, resolution, until } from './helpers/outcomes.ts'
import { sharedServer } from './helpers/shared.ts'

/** For tests that neither stop nor configure it; each has keys of its own. */
const { server: shared } = await sharedServer()

/** Where nothing else is waited for. Should a busy machine take as long for something else, that is tried again as often. */
const SOON = 300
const FOR_EVER = { firstConnect: 1_000_000 }

/**
 * Where the work is given up by it. What counts as progress, and from when on, is for the tests of the core to say, whose
 * clock stands still (`connection/task/tests.rs`).
 */
const STALL = 500

for (const column of columns) {
  const options = { ...COLUMNS[column], maxInFlightBytes: 32_768 }

  test(`fault 9, ${column}: kill -9 in mid-load: what can be repeated is sent again, and all is there`, (t) =>
    killsServer(t, column, { commands: 6_000, losses: 1 }))

  test(`fault 9, ${column}: CLIENT KILL in mid-load, again and again: all is there`, (t) =>
    killsClient(t, column, { commands: 6_000, losses: 3 }))

  test(`fault 9, ${column}: FIN and RST at any byte, either way: all is there`, (t) =>
    cutsAnywhere(t, column, { rounds: 30, seed: 90 }))

  test(`fault 10, ${column}: a peer that vanishes is given up, and what can be repeated is sent again`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const limits = { stallTimeoutMs: SOON, connectTimeoutMs: 1_000, retry: FOR_EVER }
    const bulk = bulkFor(t, { port: proxy.port, ...options, ...limits })
    const fault = proxy.at({ command: 'SET', nth: 550 }, 'blackhole')
    const result = sets(bulk, 1_000, 'vanished').exec()
    await fault.happened
    await until(() => !bulk.stats().connected)
    await proxy.heal()
    areDone(t, column, await resolution(t, result))
    t.true(bulk.stats().reconnects > 0)
    t.is(await stale(clientOf(t, server), 1_000, 'vanished'), 0)
  })

  test(`fault 11, ${column}: a server that stops and goes on runs nothing of the old connection`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const limits = { stallTimeoutMs: SOON, retry: FOR_EVER }
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], ...limits })
    await bulk.set('first', 0).exec()
    for (let round = 0; round < 3; round++) {
      await server.kill('SIGSTOP')
      // More than the server's system takes, and less than the window holds.
      const results = ['old', 'new'].map((value) => sets(bulk, 10_000, 'ghost', `${value}:${round}`).exec())
      await until(() => !bulk.stats().connected)
      await server.kill('SIGCONT')
      for (const result of results) areDone(t, column, await resolution(t, result))
      t.is(await stale(client, 10_000, 'ghost', `new:${round}`), 0)
    }
    t.true(bulk.stats().reconnects >= 3)
  })

  test(`fault 11, ${column}: so it is where the work was given up, and the next exec starts afresh`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const limits = { stallTimeoutMs: STALL, connectTimeoutMs: 600_000, retry: { attempts: 0 } }
    const bulk = bulkFor(t, { port: server.port, ...options, ...limits })
    await goesOn(t, STALL, () => bulk.set('first', 0).exec())
    await server.kill('SIGSTOP')
    // All of it is within the window: a transaction whose EXEC was not written has failed.
    const result = sets(bulk, 500, 'ghost', 'old').exec()
    const { outcome } = await rejection(t, result, 'RESPIPE_STALLED')
    t.true(outcome.unknown > 0 && outcome.succeeded === 0, inspect(outcome))
    const next = goesOn(t, STALL, () => sets(bulk, 500, 'ghost', 'new').exec())
    await server.kill('SIGCONT')
    areDone(t, column, await next)
    t.is(await stale(client, 500, 'ghost', 'new'), 0)
  })

  test(`fault 33, ${column}: within stallTimeoutMs no promise stays pending`, async (t) => {
    const proxy = await proxyFor(t, shared)
    const bulk = bulkFor(t, { port: proxy.port, ...options, stallTimeoutMs: STALL, retry: { attempts: 0 } })
    await goesOn(t, STALL, () => bulk.set('first', 0).exec())
    proxy.swallowReplies()
    const results = [100, 10].map((count) => sets(bulk, count, `late:${column}`).exec())
    const first = await rejection(t, results[0]!, 'RESPIPE_STALLED')
    t.true(first.outcome.unknown > 0, inspect(first.outcome))
    await rejection(t, results[1]!, 'RESPIPE_STALLED')
    await proxy.heal()
    areDone(t, column, await goesOn(t, STALL, () => sets(bulk, 10, `late:${column}`).exec()))
  })
}

// What resend says

/** The server does all that is sent, and none of its replies arrives. */
async function doneAndUnheard(t: ExecutionContext, options: BulkPipelineOptions, append: (bulk: BulkPipeline) => void) {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const bulk = bulkFor(t, { port: proxy.port, replies: 'collect', ...options })
  await bulk.set('first', 0).exec()
  const fault = proxy.at({ bytes: 0, direction: 'down' }, async (link) => {
    await until(() => client.exists('last').then(Boolean))
    link.cut('reset')
  })
  append(bulk)
  const outcome = await resolution(t, bulk.exec())
  t.true(fault.hasHappened)
  const unknown = outcome.replies!.flatMap((reply, index) => (reply instanceof Error ? [index] : []))
  return { client, outcome, unknown, resent: bulk.stats().resent }
}

const MIXED = (bulk: BulkPipeline) =>
  bulk.set('a', 1).incr('a').set('b', 2).incr('c').set('d', 3).rename('first', 'e').mset({ e: 4, f: 5 }).set('last', 6)

test("resend 'idempotent': what cannot be repeated is unknown, and all that shares a key with it", async (t) => {
  const { client, outcome, unknown, resent } = await doneAndUnheard(t, {}, MIXED)
  t.deepEqual(unknown, [0, 1, 3, 5, 6])
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown, resent], [3, 0, 5, 3])
  t.deepEqual(await client.mget('a', 'b', 'c', 'd', 'e', 'f', 'last'), ['2', '2', '1', '3', '4', '5', '6'])
})

test("resend 'none': all that was written and not answered is unknown, and done once", async (t) => {
  const { client, outcome, resent } = await doneAndUnheard(t, { resend: 'none' }, MIXED)
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown, resent], [0, 0, 8, 0])
  t.deepEqual(await client.mget('a', 'b', 'c', 'd', 'e', 'f', 'last'), ['2', '2', '1', '3', '4', '5', '6'])
})

test("resend 'all': all of it is sent again, in order, and done twice", async (t) => {
  const { client, outcome, resent } = await doneAndUnheard(t, { resend: 'all' }, (bulk) =>
    bulk.set('a', 1).incr('a').rpush('list', 1).rpush('list', 2).incr('c').set('last', 3),
  )
  t.deepEqual([outcome.succeeded, outcome.unknown, resent], [6, 0, 6])
  t.deepEqual(outcome.replies, ['OK', 2, 3, 4, 2, 'OK'])
  t.deepEqual(await client.lrange('list', 0, -1), ['1', '2', '1', '2'])
  t.deepEqual(await client.mget('a', 'c'), ['2', '2'])
})

for (const [what, append, again] of [
  ['that can be repeated is sent again whole', (bulk) => bulk.set('a', 1).sadd('set', 'x').set('last', 1), true],
  ['with one command that cannot is unknown whole', (bulk) => bulk.set('a', 1).incr('n').set('last', 1), false],
] as [string, (bulk: BulkPipeline) => void, boolean][]) {
  test(`resend 'idempotent': a transaction ${what}`, async (t) => {
    const { client, outcome, resent } = await doneAndUnheard(t, { transaction: true }, append)
    t.deepEqual([outcome.succeeded, outcome.unknown, resent], again ? [3, 0, 3] : [0, 3, 0])
    t.is(await client.get('a'), '1')
    t.is(await client.get('n'), again ? null : '1')
  })
}

test("resend 'all': counters end between what was asked for and that with what was sent twice", async (t) => {
  const proxy = await proxyFor(t, shared)
  const client = clientOf(t, shared)
  const random = randomNumbers(11)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 8_192, resend: 'all' })
  await bulk.set('all', 0).exec()
  let cuts = 0
  for (let round = 0; round < 20; round++) {
    const cut = proxy.resetAfter(1 + random(20_000), random(2) === 0 ? 'up' : 'down')
    const { unknown, failed } = await resolution(t, increments(bulk, 1_000, 'all').exec())
    t.deepEqual([unknown, failed], [0, 0])
    if (cut.hasHappened) cuts++
    await proxy.heal()
  }
  t.true(cuts > 5, `${cuts} cuts`)
  const { resent } = await bulk.close()
  const present = Number(await client.get('all'))
  t.true(resent > 0 && present >= 20_000 && present <= 20_000 + resent, `${present} present, ${resent} sent again`)
})

for (const ended of ['by the server', 'by us'] as const) {
  test(`fault 9: a user who may not use CLIENT KILL, and a connection that was ended ${ended}`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const client = clientOf(t, server)
    await client.acl('SETUSER', 'loader', 'on', '>password', '~*', '+@all', '-client|kill')
    const login = { username: 'loader', password: 'password' }
    const stallTimeoutMs = ended === 'by us' ? STALL : 600_000
    const bulk = bulkFor(t, { port: proxy.port, ...login, stallTimeoutMs })
    await bulk.set('first', 0).exec()
    const fault = proxy.at({ bytes: 0, direction: 'down', connection: proxy.connections }, async (link) => {
      if (ended === 'by us') return await result
      await until(() => client.exists('kept:99').then(Boolean))
      link.cut('reset')
    })
    const result = sets(bulk, 100, 'kept').exec()
    const outcome = await resolution(t, result)
    t.true(fault.hasHappened || ended === 'by us')
    // What was received may still run, over what would be sent again.
    t.deepEqual([outcome.succeeded, outcome.unknown], ended === 'by the server' ? [100, 0] : [0, 100])
    t.is(bulk.stats().resent, outcome.succeeded)
    // Ended by us once more, on a busy machine, it would be in doubt again.
    await until(async () => (await resolution(t, sets(bulk, 10, 'kept').exec())).succeeded === 10)
  })
}

// What cannot be repeated

test('fault 9: kill -9 in mid-load, and a restart with what was acknowledged', async (t) => {
  const server = await serverFor(t, ...AOF)
  const proxy = await proxyFor(t, server)
  const fault = loseAt(proxy, 'check', { command: 'INCR', nth: 5_000 }, async (link) => {
    await server.kill('SIGKILL')
    link.cut('reset')
    await server.restart()
  })
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 65_536 })
  const outcome = await resolution(t, increments(bulk, 20_000, 'n').exec())
  t.true(fault.hasHappened)
  t.is(outcome.failed, 0)
  // At most what 64 KiB hold.
  t.true(outcome.unknown > 0 && outcome.unknown <= 65_536 / 20, inspect(outcome))
  await isHonest(t, clientOf(t, server), 'n', outcome)
  t.is((await bulk.close()).reconnects, 1)
})

test('fault 9: CLIENT KILL in mid-load, again and again', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, { port: server.port, maxInFlightBytes: 32_768 })
  await bulk.set('n', 0).exec()
  for (let kill = 0; kill < 3; kill++) {
    // Among the commands, so that it hits the connection that writes them: on a server that begins once more is written.
    await server.kill('SIGSTOP')
    increments(bulk, 200, 'n').call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no')
    const result = increments(bulk, 5_000, 'n').exec()
    await until(() => bulk.stats().inFlightBytes > 16_384)
    await server.kill('SIGCONT')
    const outcome = await resolution(t, result)
    t.is(outcome.failed, 0)
    // At most what 32 KiB hold.
    t.true(outcome.unknown > 300 && outcome.unknown <= 32_768 / 20, inspect(outcome))
  }
  const summary = await bulk.close()
  addsUp(t, summary)
  t.is(summary.reconnects, 3)
  // The first command sets it, and the kills are answered.
  await isHonest(t, clientOf(t, server), 'n', { ...summary, succeeded: summary.succeeded - 4 })
})

test('fault 9: FIN and RST at any byte, either way: the load goes on, and totals add up', (t) =>
  cutsIncrements(t, shared, { rounds: 30, seed: 9 }))

test('fault 9: commands of any size, cut at any byte', async (t) => {
  const proxy = await proxyFor(t, shared)
  const client = clientOf(t, shared)
  const random = randomNumbers(99)
  let cuts = 0
  for (let round = 0; round < 25; round++) {
    const key = `sized:${round}`
    const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 50_000, replies: 'collect' })
    await bulk.del(key).exec()
    const cut = proxy.finAfter(1 + random(300_000))
    const count = 20 + random(20)
    for (let i = 0; i < count; i++) bulk.rpush(key, `${i}:`.padEnd(1 + random(random(4) === 0 ? 100_000 : 100), 'x'))
    const outcome = await resolution(t, bulk.exec())
    if (cut.hasHappened) cuts++
    await proxy.heal()
    t.is(outcome.failed, 0)
    t.is(outcome.replies?.length, count)
    t.is(outcome.replies?.filter((reply) => reply instanceof Error).length, outcome.unknown)
    // Each at most once, in order, and those acknowledged for certain.
    const present = (await client.lrange(key, 0, -1)).map((value) => Number(value.split(':')[0]))
    t.deepEqual(
      present,
      present.toSorted((a, b) => a - b),
    )
    t.is(new Set(present).size, present.length)
    for (const [i, reply] of outcome.replies!.entries()) if (typeof reply === 'number') t.true(present.includes(i))
    await bulk.close()
  }
  t.true(cuts > 5, `${cuts} cuts`)
})

test('fault 9: once retry is used up, what was written is unknown, and what was not has failed', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 10_000, retry: { attempts: 2 } })
  const heard: RespipeError[] = []
  bulk.on('error', (error) => heard.push(error))
  await increments(bulk, 10, 'n').exec()
  proxy.blackhole()
  const results = [5_000, 1, 1].map((count) => increments(bulk, count, 'n').exec())
  await until(() => bulk.stats().inFlightBytes > 0)
  proxy.blockNew()
  proxy.resetAll()
  const first = await rejection(t, results[0]!, 'RESPIPE_CONNECT')
  t.true(first.outcome.unknown > 0 && first.outcome.unknown <= 10_000 / 20, inspect(first.outcome))
  t.deepEqual(first.outcome.errors, { RESPIPE_CONNECT: 5_000 - first.outcome.unknown })
  for (const result of results.slice(1)) {
    const error = await rejection(t, result, 'RESPIPE_CONNECT')
    t.is(reasonOf(error), reasonOf(first))
    t.deepEqual(error.outcome.errors, { RESPIPE_CONNECT: 1 })
  }
  t.is(heard.length, 1)
  t.is(heard[0]?.message, reasonOf(first))

  await proxy.heal()
  t.is((await resolution(t, increments(bulk, 10, 'n').exec())).succeeded, 10)
  t.is(await clientOf(t, server).get('n'), '20')
  t.like(await bulk.close(), { commands: 5_022, succeeded: 20, unknown: first.outcome.unknown })
})

test('fault 9: attempts: 0 gives up at the first loss, and the next exec starts afresh', async (t) => {
  const proxy = await proxyFor(t, shared)
  const client = clientOf(t, shared)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 4_096, retry: { attempts: 0 } })
  await bulk.set('once', 0).exec()
  const fault = proxy.resetAfter(10_000)
  const error = await rejection(t, increments(bulk, 5_000, 'once').exec(), 'RESPIPE_CONNECTION_LOST')
  t.true(fault.hasHappened)
  t.regex(error.message, new RegExp(`^connection to 127\\.0\\.0\\.1:${proxy.port} lost: `))
  t.true(error.outcome.failed > 4_000)
  await isHonest(t, client, 'once', error.outcome)
  t.is((await resolution(t, increments(bulk, 5, 'once').exec())).succeeded, 5)
})

test('fault 9: a transaction is done whole or not at all', async (t) => {
  const proxy = await proxyFor(t, shared)
  const client = clientOf(t, shared)
  const random = randomNumbers(10)
  const bulk = bulkFor(t, { port: proxy.port, transaction: true })
  await bulk.set('whole', 0).exec()
  let cuts = 0
  for (let round = 0; round < 30; round++) {
    const key = `whole:${round}`
    const cut = proxy.finAfter(1 + random(3_000), random(2) === 0 ? 'up' : 'down')
    const outcome = await resolution(t, increments(bulk, 100, key).exec())
    if (cut.hasHappened) cuts++
    await proxy.heal()
    const present = Number(await client.get(key))
    t.is(outcome.failed, 0)
    // The replies to EXEC may be cut off, and what came of them shows that it was done.
    if (outcome.succeeded > 0) t.is(present, 100)
    else t.true(present === 0 || present === 100, `${present}`)
  }
  t.true(cuts > 10, `${cuts} cuts`)
})

// Servers that do not move

test('fault 11: a stopped server: stalled, in doubt, and taken up again', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, {
    port: server.port,
    maxInFlightBytes: 10_000,
    stallTimeoutMs: STALL,
    retry: { attempts: 0 },
  })
  await goesOn(t, STALL, () => bulk.set('first', 0).exec())
  await server.kill('SIGSTOP')
  const results = [5_000, 10].map((count) => increments(bulk, count, 'n').exec())
  const error = await rejection(t, results[0]!, 'RESPIPE_STALLED')
  await server.kill('SIGCONT')
  t.regex(error.message, /stalled: no progress for 500 ms/)
  t.true(error.outcome.unknown > 0 && error.outcome.unknown <= 10_000 / 20, inspect(error.outcome))
  t.is(error.outcome.succeeded, 0)
  const second = await rejection(t, results[1]!, 'RESPIPE_STALLED')
  t.is(second.outcome.failed, 10)
  t.is((await goesOn(t, STALL, () => increments(bulk, 10, 'next').exec())).succeeded, 10)
  await isHonest(t, clientOf(t, server), 'n', error.outcome)
})

test('fault 33: replies that come too late never belong to the next batch', async (t) => {
  const proxy = await proxyFor(t, shared)
  const options = { replies: 'collect', stallTimeoutMs: STALL, retry: { attempts: 0 } } as const
  const bulk = bulkFor(t, { port: proxy.port, ...options })
  await goesOn(t, STALL, () => bulk.set('late', 'value').exec())
  proxy.stall()
  const stalled = await rejection(t, increments(bulk, 100, 'late:n').exec(), 'RESPIPE_STALLED')
  t.is(stalled.outcome.unknown, 100)
  proxy.resume()
  const next = await goesOn(t, STALL, () => bulk.echo('first').get('late').echo('last').exec())
  t.deepEqual(next.replies, ['first', 'value', 'last'])
})
