// Loads with a checkpoint, whose batches would each show it at once if they were done twice, not at all, or out of their
// turn; and the same loads with their connections and servers lost again and again.

import type { ExecutionContext } from 'ava'
import type { Redis } from 'ioredis'
import type { BulkPipeline, BulkPipelineOptions } from '../../index.js'
import { areDone, clientOf, increments, proxyFor, serverFor, watchedFor } from './loads.ts'
import { bulkFor, randomNumbers, resolution } from './outcomes.ts'
import type { Action, Direction, Fault, FaultProxy, Position } from './proxy.ts'

export const KEY = 'load:checkpoint'

/** Commands that stand for one batch. */
export const COMMANDS = 3

/** A server that keeps what it has acknowledged. */
export const AOF = ['--appendonly', 'yes', '--appendfsync', 'always']

export function checkpointed(t: ExecutionContext, options: BulkPipelineOptions): BulkPipeline {
  return bulkFor(t, { checkpoint: KEY, ...options })
}

/** None of it can be repeated. */
export function append(bulk: BulkPipeline, batch: number): BulkPipeline {
  return bulk.incr('count').lpush('list', batch).xadd('stream', '*', 'batch', batch)
}

/** Each of so many batches, once and in its turn. */
export async function isExactlyOnce(t: ExecutionContext, client: Redis, batches: number): Promise<void> {
  const wanted = Array.from({ length: batches }, (_, i) => String(i + 1))
  t.is(Number(await client.get('count')), batches)
  t.deepEqual((await client.lrange('list', 0, -1)).toReversed(), wanted)
  t.deepEqual(
    (await client.xrange('stream', '-', '+')).map(([, [, batch]]) => batch),
    wanted,
  )
}

/** Executes these batches, several under way at a time; all of them succeed, or none is known to have failed. */
export async function loads(t: ExecutionContext, bulk: BulkPipeline, from: number, to: number): Promise<void> {
  const executed: Promise<void>[] = []
  for (let batch = from; batch <= to; batch++) {
    const result = resolution(t, append(bulk, batch).exec())
    executed.push(result.then(({ succeeded }) => void t.is(succeeded, COMMANDS, `batch ${batch}`)))
    if (executed.length % 10 === 0) await executed.at(-5)
  }
  await Promise.all(executed)
}

/** Cuts off each of the next connections, or those at work, at a place of its own, which is decided now. */
export function cutEach(
  proxy: FaultProxy,
  connections: number,
  random: (below: number) => number,
  place: () => Position,
): Fault[] {
  const from = Math.max(proxy.connections, 1)
  return Array.from({ length: connections }, (_, i) => {
    return proxy.at({ ...place(), connection: from + i }, random(2) ? 'reset' : 'fin')
  })
}

interface Cuts {
  count: number
  direction: Direction
  seed: number
}

/** One connection after the other is cut off at any byte: each batch is done once. */
export async function survivesCuts(t: ExecutionContext, { count, direction, seed }: Cuts): Promise<void> {
  const { client, port } = await watchedFor(t)
  const proxy = await proxyFor(t, { port })
  const random = randomNumbers(seed)
  const bulk = checkpointed(t, { port: proxy.port })
  let reconnects = 0
  bulk.on('reconnect', ({ reason }) => {
    t.is(reason, 'lost')
    reconnects++
  })
  await loads(t, bulk, 1, 1)
  // A login has some 500 bytes of its own.
  const cuts = cutEach(proxy, count, random, () => ({ bytes: random(2_000), direction }))
  let batches = 1
  while (!cuts.every((cut) => cut.hasHappened)) {
    // One alone, then several under way at a time.
    for (const size of [1, 10]) {
      await loads(t, bulk, batches + 1, batches + size)
      batches += size
    }
  }
  await isExactlyOnce(t, client, batches)
  const summary = await bulk.close()
  t.like(summary, { succeeded: batches * COMMANDS, failed: 0, unknown: 0, batches, reconnects })
  t.true(reconnects > 0)
  if (direction === 'up') t.true(summary.resent > 0)
}

interface Losses {
  batches: number
  /** Commands of a batch. */
  size: number
  seed: number
}

/** The server is killed with SIGKILL so often, in mid-load, and comes back: counters are exact. */
export async function survivesKills(t: ExecutionContext, kills: number, losses: Losses): Promise<void> {
  const server = await serverFor(t, ...AOF)
  const proxy = await proxyFor(t, server)
  const random = randomNumbers(losses.seed)
  const share = Math.floor((losses.batches * losses.size) / (kills + 1))
  const faults: Fault[] = []
  // One after the other, so that none hits what was written to a server that is dead already.
  const kill = () => {
    const fault = proxy.at({ command: 'INCR', nth: 1 + random(share) }, async (link) => {
      await server.kill('SIGKILL')
      await server.restart()
      link.cut('reset')
      if (faults.length < kills) kill()
    })
    faults.push(fault)
  }
  kill()
  await countersAreExact(t, proxy, server, faults, losses)
  t.is(faults.length, kills)
}

/** So many connections, one after the other, are ended by CLIENT KILL in mid-load: counters are exact. */
export async function survivesClientKills(t: ExecutionContext, kills: number, losses: Losses): Promise<void> {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const random = randomNumbers(losses.seed)
  const kill: Action = () => client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  const faults = Array.from({ length: kills }, (_, i) => {
    // Behind one batch at least, so that the load gets on, and three at most, so that it is not over.
    const nth = losses.size + 1 + random(2 * losses.size)
    return proxy.at({ command: 'INCR', nth, connection: i + 1 }, kill)
  })
  await countersAreExact(t, proxy, server, faults, losses)
}

async function countersAreExact(
  t: ExecutionContext,
  proxy: FaultProxy,
  server: { port: number },
  faults: Fault[],
  { batches, size }: Losses,
): Promise<void> {
  const bulk = checkpointed(t, { port: proxy.port })
  for (let batch = 0; batch < batches; batch++) void increments(bulk, size, 'n').exec()
  const summary = await resolution(t, bulk.close())
  areDone(t, 'checkpoint', summary)
  for (const fault of faults) t.true(fault.hasHappened)
  t.is(summary.reconnects, faults.length)
  const client = clientOf(t, server)
  t.is(await client.get('n'), String(batches * size))
  t.is(await client.hget(KEY, 'batch'), String(batches))
}
