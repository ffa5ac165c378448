// Connections that are lost, rows 9, 10, 11 and 33 of the fault matrix: what is sent again, what stays unknown, and that
// nothing of an old connection runs once the new one is in use. Checkpoints: checkpoint.spec.ts.
import test from 'ava'
import { inspect } from 'node:util'
import type { BulkPipelineOptions, Outcome } from '../index.js'
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
  settled,
  spin,
  stale,
} from './helpers/loads.ts'
import { addsUp, bulkFor, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { type Server, startServer } from './helpers/server.ts'

/** For tests that neither stop nor configure it; each has keys of its own. */
let shared: Server

test.before(async () => {
  shared = await startServer()
})

test.after.always(() => shared?.stop())

const AOF = ['--appendonly', 'yes', '--appendfsync', 'always']
/** Enough to be under way for a while. */
const MANY = 200_000

for (const column of columns) {
  const options = { ...COLUMNS[column], maxInFlightBytes: 65_536 }
  /** A checkpoint's batch is one transaction: many of them, so that some are over. */
  const batches = column === 'checkpoint' ? 200 : 1

  test(`fault 9, ${column}: kill -9 in mid-load: what can be repeated is sent again, and all is there`, async (t) => {
    const server = await serverFor(t, ...AOF)
    const bulk = bulkFor(t, { port: server.port, ...options })
    for (let i = 0; i < batches; i++) void sets(bulk, MANY / batches, `kill:${i}`).exec()
    spin(bulk, 20_000)
    await server.kill('SIGKILL')
    await until(() => !bulk.stats().connected)
    await server.restart()
    const summary = await resolution(t, bulk.close(), 60_000)
    areDone(t, column, summary)
    t.is(summary.reconnects, 1)
    t.true(summary.resent > 0 && summary.resent < 5_000, `${summary.resent} sent again`)
    const client = clientOf(t, server)
    for (let i = 0; i < batches; i++) t.is(await stale(client, MANY / batches, `kill:${i}`), 0)
  })

  test(`fault 9, ${column}: CLIENT KILL in mid-load, again and again: all is there`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...options })
    for (let i = 0; i < batches; i++) void sets(bulk, MANY / batches, `kill:${i}`).exec()
    for (const at of [20_000, 60_000, 100_000]) {
      await until(() => settled(bulk) >= at)
      await client.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    }
    const summary = await resolution(t, bulk.close(), 60_000)
    areDone(t, column, summary)
    t.true(summary.reconnects > 0, inspect(summary))
    for (let i = 0; i < batches; i++) t.is(await stale(client, MANY / batches, `kill:${i}`), 0)
  })

  test(`fault 9, ${column}: FIN and RST at any byte, either way: all is there`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const client = clientOf(t, server)
    const seed = 90
    t.log(`seed ${seed}`)
    const random = randomNumbers(seed)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 8_192 })
    await bulk.set('first', 0).exec()
    for (let round = 0; round < 30; round++) {
      const direction = column !== 'off' && random(2) === 0 ? 'down' : 'up'
      proxy[random(2) === 0 ? 'resetAfter' : 'finAfter'](1 + random(direction === 'up' ? 40_000 : 5_000), direction)
      areDone(t, column, await resolution(t, sets(bulk, 1 + random(1_000), `cut:${round}`, round).exec()))
      await proxy.heal()
    }
    const summary = await resolution(t, bulk.close())
    t.true(summary.resent > 0 && summary.reconnects > 5, inspect(summary))
    let rest = summary.commands - 1
    for (let round = 0, number = randomNumbers(seed); round < 30; round++) {
      const up = !(column !== 'off' && number(2) === 0)
      number(2)
      number(up ? 40_000 : 5_000)
      const count = 1 + number(1_000)
      t.is(await stale(client, count, `cut:${round}`, round), 0)
      rest -= count
    }
    t.is(rest, 0)
  })

  test(`fault 10, ${column}: a peer that vanishes is given up, and what can be repeated is sent again`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...options, stallTimeoutMs: 500, connectTimeoutMs: 500 })
    await bulk.set('first', 0).exec()
    proxy.blackhole()
    const result = sets(bulk, 5_000, 'vanished').exec()
    await until(() => !bulk.stats().connected)
    await proxy.heal()
    areDone(t, column, await resolution(t, result))
    t.is(await stale(clientOf(t, server), 5_000, 'vanished'), 0)
  })

  test(`fault 11, ${column}: a server that stops and goes on runs nothing of the old connection`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], stallTimeoutMs: 300, connectTimeoutMs: 300 })
    await bulk.set('first', 0).exec()
    for (let round = 0; round < 3; round++) {
      await server.kill('SIGSTOP')
      const results = ['old', 'new'].map((value) => sets(bulk, 25_000, 'ghost', `${value}:${round}`).exec())
      await until(() => bulk.stats().inFlightBytes > 0)
      await until(() => !bulk.stats().connected)
      await server.kill('SIGCONT')
      for (const result of results) areDone(t, column, await resolution(t, result))
      t.is(await stale(client, 25_000, 'ghost', `new:${round}`), 0)
    }
  })

  test(`fault 11, ${column}: so it is where the work was given up, and the next exec starts afresh`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], stallTimeoutMs: 300, retry: { attempts: 0 } })
    await bulk.set('first', 0).exec()
    await server.kill('SIGSTOP')
    const result = sets(bulk, 25_000, 'ghost', 'old').exec()
    const { outcome } = await rejection(t, result, 'RESPIPE_STALLED')
    t.true(outcome.unknown > 0 && outcome.succeeded === 0, inspect(outcome))
    const next = sets(bulk, 25_000, 'ghost', 'new').exec()
    await server.kill('SIGCONT')
    areDone(t, column, await resolution(t, next))
    t.is(await stale(client, 25_000, 'ghost', 'new'), 0)
  })

  test(`fault 33, ${column}: within stallTimeoutMs no promise stays pending`, async (t) => {
    const proxy = await proxyFor(t, shared)
    const bulk = bulkFor(t, { port: proxy.port, ...options, checkpoint: undefined, ...checkpointOf(column, 'late') })
    await bulk.set('late', 'value').exec()
    proxy.swallowReplies()
    const limited = bulkFor(t, { port: proxy.port, connectTimeoutMs: 200, retry: { attempts: 0 } })
    await rejection(t, sets(limited, 10, 'late').exec(), 'RESPIPE_CONNECT', 5_000)
    await proxy.heal()
    const stalled = bulkFor(t, {
      port: proxy.port,
      ...options,
      ...checkpointOf(column, 'late:2'),
      stallTimeoutMs: 500,
      retry: { attempts: 0 },
    })
    await stalled.set('late', 'value').exec()
    proxy.swallowReplies()
    const results = [100, 10].map((count) => sets(stalled, count, 'late').exec())
    const first = await rejection(t, results[0]!, 'RESPIPE_STALLED', 5_000)
    t.true(first.outcome.unknown > 0, inspect(first.outcome))
    await rejection(t, results[1]!, 'RESPIPE_STALLED', 5_000)
    await proxy.heal()
    areDone(t, column, await resolution(t, sets(stalled, 10, 'late').exec()))
  })
}

function checkpointOf(column: string, key: string): BulkPipelineOptions {
  return column === 'checkpoint' ? { checkpoint: key } : {}
}
