// Connections that are lost in mid-load, at a place in the stream, and what has to be there afterwards.

import type { ExecutionContext } from 'ava'
import { inspect } from 'node:util'
import { killOthers } from './kills.ts'
import {
  areDone,
  clientOf,
  type Column,
  COLUMNS,
  increments,
  isHonest,
  proxyFor,
  serverFor,
  sets,
  stale,
} from './loads.ts'
import { addsUp, bulkFor, randomNumbers, resolution } from './outcomes.ts'
import type { Fault, FaultProxy, Link } from './proxy.ts'

/** What is acknowledged survives a kill. */
export const AOF = ['--appendonly', 'yes', '--appendfsync', 'always']

interface Place {
  command: string
  nth: number
  connection?: number
}

/**
 * Runs `lose` while a command is in doubt for certain: the server has got it, and no reply to it comes. Where replies tell,
 * it is the one behind the nth; with replies off, and within the transaction of a checkpoint, the nth itself.
 */
export function loseAt(proxy: FaultProxy, column: Column, place: Place, lose: (link: Link) => unknown): Fault {
  if (column === 'off' || column === 'checkpoint') return proxy.at(place, lose)
  const { command: replyTo, nth, connection } = place
  const next = proxy.at({ ...place, nth: nth + 1 }, () => {})
  return proxy.at({ replyTo, nth, connection }, async (link) => {
    await next.happened
    await lose(link)
  })
}

interface Losses {
  /** Commands of the load. A checkpoint's batch is one transaction, of 100 of them: many, so that some are over. */
  commands: number
  /** How many connections are lost. */
  losses: number
}

/** Kills the server with SIGKILL and starts it again, so many times: what can be repeated is sent again, and all is there. */
export async function killsServer(t: ExecutionContext, column: Column, load: Losses): Promise<void> {
  const server = await serverFor(t, ...AOF)
  const proxy = await proxyFor(t, server)
  await loadsOver(t, column, load, proxy, { end: () => server.kill('SIGKILL'), goOn: () => server.restart() })
}

/** Ends the connection with CLIENT KILL, so many times: what can be repeated is sent again, and all is there. */
export async function killsClient(t: ExecutionContext, column: Column, load: Losses): Promise<void> {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  await loadsOver(t, column, load, proxy, { end: () => killOthers(client), goOn() {} })
}

async function loadsOver(
  t: ExecutionContext,
  column: Column,
  { commands, losses }: Losses,
  proxy: FaultProxy,
  { end, goOn }: { end: () => Promise<unknown>; goOn: () => unknown },
): Promise<void> {
  // On each connection: in the middle of a transaction, and long before the end of what is left of the load.
  const place = { command: 'SET', nth: Math.floor(commands / (losses + 2) / 100) * 100 + 50 }
  let lost = 0
  const order = () =>
    loseAt(proxy, column, place, async (link) => {
      await end()
      // Replies that are under way are lost.
      link.cut('reset')
      if (++lost < losses) order()
      await goOn()
    })
  order()
  const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 65_536 })
  const size = column === 'checkpoint' ? 100 : commands
  for (let from = 0; from < commands; from += size) void sets(bulk, size, `kill:${from}`).exec()
  const summary = await resolution(t, bulk.close())
  areDone(t, column, summary)
  t.deepEqual([lost, summary.reconnects], [losses, losses])
  // At most what 64 KiB hold.
  t.true(summary.resent >= losses && summary.resent <= (losses * 65_536) / 35, `${summary.resent} sent again`)
  const client = clientOf(t, proxy)
  for (let from = 0; from < commands; from += size) t.is(await stale(client, size, `kill:${from}`), 0)
}

/** Cuts the connection at random bytes, either way, once a round, where the round has as many. */
export async function cutsAnywhere(
  t: ExecutionContext,
  column: Column,
  { rounds, seed }: { rounds: number; seed: number },
) {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const random = randomNumbers(seed)
  const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 8_192 })
  await bulk.set('first', 0).exec()
  const counts: number[] = []
  let cuts = 0
  for (let round = 0; round < rounds; round++) {
    const direction = column !== 'off' && random(2) === 0 ? 'down' : 'up'
    const bytes = 1 + random(direction === 'up' ? 40_000 : 5_000)
    const cut = proxy.at({ bytes, direction }, random(2) === 0 ? 'reset' : 'fin')
    const count = 1 + random(1_000)
    counts.push(count)
    areDone(t, column, await resolution(t, sets(bulk, count, `cut:${round}`, round).exec()))
    if (cut.hasHappened) cuts++
    await proxy.heal()
  }
  const summary = await resolution(t, bulk.close())
  t.true(cuts > rounds / 6, `${cuts} cuts`)
  // Where the last one came behind all replies, nothing was left to connect for.
  t.true(summary.reconnects === cuts || summary.reconnects === cuts - 1, inspect(summary))
  t.true(summary.resent > 0, inspect(summary))
  for (const [round, count] of counts.entries()) t.is(await stale(client, count, `cut:${round}`, round), 0)
}

/** The same with what cannot be repeated, on a server that others use too: each is done once at most, and totals add up. */
export async function cutsIncrements(
  t: ExecutionContext,
  server: { port: number },
  { rounds, seed }: { rounds: number; seed: number },
): Promise<void> {
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const random = randomNumbers(seed)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 8_192 })
  await bulk.set('cut', 0).exec()
  const sums = { commands: 1, succeeded: 1, unknown: 0 }
  let doubtful = 0
  let cuts = 0
  for (let round = 0; round < rounds; round++) {
    const key = `cut:${round}`
    const direction = random(2) === 0 ? 'up' : 'down'
    const bytes = 1 + random(direction === 'up' ? 40_000 : 10_000)
    const cut = proxy.at({ bytes, direction }, random(2) === 0 ? 'reset' : 'fin')
    const count = 1 + random(3_000)
    const outcome = await resolution(t, increments(bulk, count, key).exec())
    t.is(outcome.failed, 0)
    t.true(outcome.unknown <= 8_192 / 22, `${outcome.unknown} in doubt`)
    await isHonest(t, client, key, outcome)
    sums.commands += count
    sums.succeeded += outcome.succeeded
    sums.unknown += outcome.unknown
    if (outcome.unknown > 0) doubtful++
    if (cut.hasHappened) cuts++
    else t.is(outcome.unknown, 0)
    await proxy.heal()
  }
  t.true(cuts > rounds / 3, `${cuts} cuts`)
  // Some come where nothing is under way, or behind all replies.
  t.true(doubtful > cuts / 2, `${doubtful} of ${cuts} cuts had something in doubt`)
  const summary = await bulk.close()
  addsUp(t, summary)
  t.like(summary, sums)
}
