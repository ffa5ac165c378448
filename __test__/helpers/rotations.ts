// Connections that change after so many batches, and what has to be there afterwards.

import type { ExecutionContext } from 'ava'
import { readdirSync } from 'node:fs'
import type { Redis } from 'ioredis'
import type { BatchResult, BulkPipelineOptions } from '../../index.js'
import { watchedFor } from './loads.ts'
import { bulkFor, until } from './outcomes.ts'
import { waitingFor } from './test.ts'

/** Every way in which batches are written and answered. */
export const MODES: [what: string, options: BulkPipelineOptions][] = [
  ['check', {}],
  ['check, in transactions', { transaction: true }],
  ['collect', { replies: 'collect' }],
  ['collect, in transactions', { replies: 'collect', transaction: true }],
  ['off', { replies: 'off' }],
  ['off, in transactions', { replies: 'off', transaction: true }],
  ['checkpoint', { checkpoint: 'checkpoint' }],
  ['checkpoint and collect', { checkpoint: 'checkpoint', replies: 'collect' }],
]

/** Where a connection changes because it had its share, and for no other reason. */
export const PATIENT = { connectTimeoutMs: 600_000, stallTimeoutMs: 600_000 }

/** Commands of a batch, beside one that is refused and one that counts. */
const COMMANDS = 500

/** Connections of a server but that of `client`. */
async function connections(client: Redis): Promise<number> {
  const list = String(await client.client('LIST', 'TYPE', 'NORMAL'))
  return list.trim().split('\n').length - 1
}

/** A load over a connection for every ten batches: all is there, each command once, and no connection stays behind. */
export async function rotates(t: ExecutionContext, options: BulkPipelineOptions, batches: number): Promise<void> {
  const { client, port } = await watchedFor(t)
  const bulk = bulkFor(t, { port, reconnectEvery: 10, ...PATIENT, ...options })
  const reasons = new Set<string>()
  bulk.on('reconnect', ({ reason }) => reasons.add(reason))
  await client.set('string', 'x')
  const silent = options.replies === 'off'
  let refused = 0
  const checked = async (executed: Promise<BatchResult>, batch: number) => {
    const result = await executed
    refused += result.failed
    t.is(result.failures[0]?.index, silent ? undefined : COMMANDS)
    if (options.replies === 'collect') t.is(result.replies?.at(-1), batch + 1)
  }
  const results: Promise<void>[] = []
  for (let batch = 0; batch < batches; batch++) {
    for (let index = 0; index < COMMANDS; index++) bulk.hset(`key:${batch * COMMANDS + index}`, 'field', batch)
    // A refusal in every batch changes nothing.
    bulk.lpush('string', 'y').incr('counter')
    results.push(checked(bulk.exec(), batch))
    if (bulk.needsDrain) await results.at(-1)
  }
  await waitingFor('every batch', Promise.all(results))
  const { commands, succeeded, failed, unknown, reconnects, resent, serverErrorReplies, ...rest } = await bulk.sync()
  const all = batches * (COMMANDS + 2)
  t.deepEqual(
    { commands, succeeded, failed, unknown, batches: rest.batches, resent, refused, serverErrorReplies },
    {
      commands: all,
      succeeded: silent ? 0 : all - batches,
      failed: silent ? 0 : batches,
      unknown: silent ? all : 0,
      batches,
      resent: 0,
      refused: silent ? 0 : batches,
      serverErrorReplies: silent ? batches : undefined,
    },
  )
  // The last one had its share as well, and its successor may be there by now.
  t.true(reconnects === batches / 10 - 1 || reconnects === batches / 10, `${reconnects} rotations`)
  // The server closes its end a moment later.
  await until(async () => (await connections(client)) === 1)
  t.deepEqual([...reasons], ['rotation'])
  const keys = batches * COMMANDS
  t.is(await client.dbsize(), keys + 2 + (options.checkpoint ? 1 : 0))
  for (let from = 0; from < keys; from += 50_000) {
    const looks = client.pipeline()
    for (let key = from; key < Math.min(from + 50_000, keys); key += 97) looks.hget(`key:${key}`, 'field')
    const found = ((await looks.exec()) ?? []).map(([, value]) => value)
    t.deepEqual(
      found,
      found.map((_, i) => String(Math.floor((from + i * 97) / COMMANDS))),
    )
  }
  t.is(await client.get('counter'), String(batches))
  if (options.checkpoint) t.is(await client.hget('checkpoint', 'batch'), String(batches))
  await bulk.close()
  await until(async () => (await connections(client)) === 0)
}

/** Batches of many sizes: what is written to the next connection comes behind all of the one before. */
export async function keepsOrder(
  t: ExecutionContext,
  options: BulkPipelineOptions,
  { batches, large }: { batches: number; large: number },
): Promise<void> {
  const { client, port } = await watchedFor(t)
  const bulk = bulkFor(t, { port, reconnectEvery: 3, ...PATIENT, ...options })
  // More than is written to the next one beforehand, and less: some shares are of one kind, some of the other.
  let next = 0
  for (let batch = 0; batch < batches; batch++) {
    const commands = batch % 20 < 10 ? large : 100
    for (let i = 0; i < commands; i++) bulk.rpush('list', next++)
    void bulk.exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  const { commands, failed, reconnects } = await bulk.close()
  t.deepEqual([commands, failed], [next, 0])
  t.true(reconnects >= Math.ceil(batches / 3) - 1, `${reconnects} rotations`)
  const list = await client.lrange('list', 0, -1)
  t.deepEqual([list.length, list.findIndex((value, index) => value !== String(index))], [next, -1])
}

/** Open descriptors and threads of this process. */
function opened() {
  const [descriptors = 0, threads = 0] = ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
  return { descriptors, threads }
}

/** Rotations, one a batch, leave no descriptor and no thread of this process behind: for a test that runs alone. */
export async function leavesNothing(t: ExecutionContext, batches: number): Promise<void> {
  const { client, port } = await watchedFor(t)
  const bulk = bulkFor(t, { port, reconnectEvery: 1, ...PATIENT })
  const load = async (count: number) => {
    for (let batch = 0; batch < count; batch++) {
      bulk.incr('counter')
      const executed = bulk.exec()
      if (batch % 100 === 99) await executed
    }
    await bulk.sync()
    await until(async () => (await connections(client)) <= 1)
  }
  await load(200)
  const before = opened()
  await load(batches)
  // The connections that had their share, and the one that is opened beforehand.
  await until(() => Math.abs(opened().descriptors - before.descriptors) <= 2)
  await until(() => opened().threads <= before.threads)
  t.is(await client.get('counter'), String(200 + batches))
  const { succeeded, unknown, reconnects } = await bulk.close()
  t.deepEqual([succeeded, unknown], [200 + batches, 0])
  t.true(reconnects >= 200 + batches - 1, `${reconnects} rotations`)
}
