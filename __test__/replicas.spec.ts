// `waitReplicas`: `sync` and `close` resolve only once so many replicas hold everything. A server counts them for the
// connection that asks, and for what was written before it: also by another one.
import test, { type ExecutionContext } from './helpers/test.ts'
import type { Redis } from 'ioredis'
import type { BulkPipeline, BulkPipelineOptions } from '../index.js'
import { proxyFor, serverFor, witnessOf } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import type { Server } from './helpers/server.ts'

interface Place {
  port: number
  master: Redis
  replica: Server
  copy: Redis
}

/** A master, and a replica that is up with it. */
async function placeFor(t: ExecutionContext): Promise<Place> {
  const server = await serverFor(t, '--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '0')
  const replica = await serverFor(t, '--replicaof', server.host, String(server.port))
  const master = witnessOf(t, server)
  await until(async () => (await master.wait(1, 10)) === 1)
  return { port: server.port, master, replica, copy: witnessOf(t, replica) }
}

/** A replica may take its time: this is never over. Where it is stopped, none can come in time. */
const LONG = 3_600_000
const SHORT = 50

function replicated(t: ExecutionContext, options: BulkPipelineOptions, timeoutMs = LONG) {
  return bulkFor(t, { waitReplicas: { count: 1, timeoutMs }, ...options })
}

function sets(bulk: BulkPipeline, count: number, first = 0) {
  for (let i = first; i < first + count; i++) bulk.set(`key:${i}`, i)
  return bulk
}

const MODES: [what: string, options: BulkPipelineOptions, known: boolean][] = [
  ['check', {}, true],
  ['collect', { replies: 'collect' }, true],
  ['off', { replies: 'off' }, false],
  ['a transaction', { transaction: true }, true],
  ['checkpoint', { checkpoint: 'load:checkpoint' }, true],
]

for (const [what, options, known] of MODES) {
  const keys = options.checkpoint ? 1 : 0

  test(`${what}: at the end of sync and close the replica holds everything`, async (t) => {
    const { port, copy } = await placeFor(t)
    const bulk = replicated(t, { port, ...options })
    for (let round = 1; round <= 20; round++) {
      t.like(await resolution(t, sets(bulk, 500, (round - 1) * 500).sync()), { commands: round * 500 })
      t.is(await copy.dbsize(), round * 500 + keys)
    }
    t.like(await resolution(t, sets(bulk, 500, 10_000).close()), { [known ? 'succeeded' : 'unknown']: 10_500 })
    t.is(await copy.dbsize(), 10_500 + keys)
  })

  for (const [when, reconnectEvery] of [
    ['', 0],
    [', on a connection for each batch', 1],
  ] as const) {
    test(`${what}${when}: with the replica stopped, sync and close tell so`, async (t) => {
      const { port, master, replica, copy } = await placeFor(t)
      const bulk = replicated(t, { port, reconnectEvery, ...options }, SHORT)
      t.like(await resolution(t, sets(replicated(t, { port, ...options }), 10).sync()), { commands: 10 })
      await replica.kill('SIGSTOP')
      // `exec` does not wait for them.
      await resolution(t, sets(bulk, 10, 10).exec())
      await resolution(t, sets(bulk, 10, 20).exec())
      const error = await rejection(t, sets(bulk, 10, 30).sync(), 'RESPIPE_REFUSED')
      t.regex(error.message, /only 0 of 1 replicas hold the data/)
      t.like(error.outcome, { commands: 30, [known ? 'succeeded' : 'unknown']: 30, failed: 0 })
      // Nothing is written in between.
      await rejection(t, bulk.sync(), 'RESPIPE_REFUSED')
      const { outcome } = await rejection(t, sets(bulk, 10, 40).close(), 'RESPIPE_REFUSED')
      t.like(outcome, { commands: 40, [known ? 'succeeded' : 'unknown']: 40 })
      t.throws(() => bulk.ping(), { code: 'RESPIPE_CLOSED' })
      t.false(bulk.stats().connected)
      t.is(await master.dbsize(), 50 + keys)
      await replica.kill('SIGCONT')
      await until(async () => (await copy.dbsize()) === 50 + keys)
    })
  }
}

test('the replica comes back in time', async (t) => {
  const { port, replica, copy } = await placeFor(t)
  const bulk = replicated(t, { port })
  await sets(bulk, 10).sync()
  await replica.kill('SIGSTOP')
  const synced = resolution(t, sets(bulk, 10, 10).sync())
  await until(() => bulk.stats().succeeded === 20)
  await replica.kill('SIGCONT')
  t.like(await synced, { succeeded: 20 })
  t.is(await copy.dbsize(), 20)
})

test('a replica that has none of it yet does not count because the connection is new', async (t) => {
  const { port, master, replica } = await placeFor(t)
  const bulk = replicated(t, { port }, SHORT)
  await sets(bulk, 10).exec()
  await replica.kill('SIGSTOP')
  await sets(bulk, 10, 10).exec()
  const reconnected = new Promise((resolve) => bulk.once('reconnect', resolve))
  await master.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until(() => !bulk.stats().connected)
  // Nothing more is written: the next connection is made to ask.
  await rejection(t, bulk.sync(), 'RESPIPE_REFUSED')
  await reconnected
  t.is(bulk.stats().reconnects, 1)
})

for (const [what, options] of MODES) {
  test(`${what}: with the connection cut while it waits, it asks again`, async (t) => {
    const { port, replica, copy } = await placeFor(t)
    const proxy = await proxyFor(t, { port })
    const bulk = replicated(t, { port: proxy.port, ...options })
    await sets(bulk, 10).exec()
    await replica.kill('SIGSTOP')
    const lost = proxy.at({ command: 'WAIT', connection: 1 }, async (link) => {
      // The answers to the rest may be on their way until then.
      await until(() => bulk.stats().commands === 20)
      link.cut('reset')
    })
    const askedAgain = proxy.at({ command: 'WAIT', connection: 2 }, () => {})
    const synced = resolution(t, sets(bulk, 10, 10).sync())
    await lost.happened
    await askedAgain.happened
    await replica.kill('SIGCONT')
    t.like(await synced, { commands: 20, reconnects: 1, resent: 0 })
    t.is(await copy.dbsize(), 20 + (options.checkpoint ? 1 : 0))
  })
}

test('more replicas than there are fall short', async (t) => {
  const { port } = await placeFor(t)
  const wait = { count: 2, timeoutMs: SHORT }
  const bulk = bulkFor(t, { port, waitReplicas: wait })
  const error = await rejection(t, sets(bulk, 10).sync(), 'RESPIPE_REFUSED')
  t.regex(error.message, /only [01] of 2 replicas/)
  // Whether the one that there is makes it in time is the server's to say.
  const server = await scriptedFor(t, ([name]) => (name === 'WAIT' ? resp.integer(1) : undefined))
  const scripted = bulkFor(t, { port: server.port, waitReplicas: wait })
  t.regex((await rejection(t, sets(scripted, 10).sync(), 'RESPIPE_REFUSED')).message, /only 1 of 2 replicas/)
})

test('a server that leaves the question open keeps sync open, and nothing else', async (t) => {
  const server = await scriptedFor(t, ([name]) => (name === 'WAIT' ? null : undefined))
  const bulk = replicated(t, { port: server.port })
  const synced = sets(bulk, 10).sync()
  await until(() => server.commands.some(([name]) => name === 'WAIT'))
  await until(() => bulk.stats().succeeded === 10)
  bulk.destroy()
  const error = await rejection(t, synced, 'RESPIPE_CLOSED')
  t.like(error.outcome, { succeeded: 10, unknown: 0 })
})

test('nonsense for an answer is told', async (t) => {
  for (const [reply, code] of [
    [resp.ok, 'RESPIPE_PROTOCOL'],
    [resp.error("ERR unknown command 'WAIT'"), 'RESPIPE_REFUSED'],
    [resp.error("NOPERM this user has no permissions to run the 'wait' command"), 'RESPIPE_AUTH'],
  ] as const) {
    const server = await scriptedFor(t, ([name]) => (name === 'WAIT' ? reply : undefined))
    const bulk = replicated(t, { port: server.port })
    const error = await rejection(t, sets(bulk, 10).close(), code)
    t.regex(error.message, /WAIT/)
    t.like(error.outcome, { succeeded: 10 })
    await until(() => server.sockets.size === 0)
  }
})

test('where nothing was executed, nobody is asked', async (t) => {
  const server = await scriptedFor(t, {})
  const bulk = replicated(t, { port: server.port })
  t.like(await bulk.sync(), { commands: 0 })
  t.like(await bulk.close(), { commands: 0 })
  t.is(server.connections, 0)
})
