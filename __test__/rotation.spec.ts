// Connections that change after so many batches: nothing is lost, nothing waits, nothing stays behind.

import { readdirSync } from 'node:fs'

import test, { type ExecutionContext } from './helpers/test.ts'
import { Redis } from 'ioredis'

import { bulkPipeline, type BatchResult, type BulkPipelineOptions } from '../index.js'
import { until } from './helpers/outcomes.js'
import { startScripted } from './helpers/scripted.js'
import { startServer } from './helpers/server.js'

const BATCHES = 2_000
const COMMANDS = 500

async function serverFor(t: ExecutionContext) {
  const server = await startServer()
  t.teardown(() => server.stop())
  // Its word on itself is an error on servers before Redis 7.2, which count it.
  const client = new Redis({ port: server.port, disableClientInfo: true })
  t.teardown(() => client.disconnect())
  return { server, client }
}

/** Open descriptors and threads of this process. */
function opened(): number[] {
  return ['fd', 'task'].map((name) => readdirSync(`/proc/self/${name}`).length)
}

async function connections(client: Redis): Promise<number> {
  const list = String(await client.client('LIST', 'TYPE', 'NORMAL'))
  return list.trim().split('\n').length - 1
}

const MODES: [what: string, options: BulkPipelineOptions][] = [
  ['check', {}],
  ['check, in transactions', { transaction: true }],
  ['collect', { replies: 'collect' }],
  ['collect, in transactions', { replies: 'collect', transaction: true }],
  ['off', { replies: 'off' }],
  ['off, in transactions', { replies: 'off', transaction: true }],
  ['checkpoint', { checkpoint: 'checkpoint' }],
  ['checkpoint and collect', { checkpoint: 'checkpoint', replies: 'collect' }],
]

for (const [what, options] of MODES) {
  test(`${what}: 2,000 batches over 200 connections`, async (t) => {
    const { server, client } = await serverFor(t)
    const bulk = bulkPipeline({ port: server.port, reconnectEvery: 10, ...options })
    const reasons = new Map<string, number>()
    bulk.on('reconnect', ({ reason }) => reasons.set(reason, (reasons.get(reason) ?? 0) + 1))
    await client.set('string', 'x')
    const silent = options.replies === 'off'
    let refused = 0
    const checked = async (executed: Promise<BatchResult>, batch: number) => {
      const result = await executed
      refused += result.failed
      t.is(result.failures[0]?.index, silent ? undefined : COMMANDS)
      if (options.replies === 'collect') t.is(result.replies?.at(-1), batch + 1)
    }
    for (let batch = 0; batch < BATCHES; batch++) {
      for (let index = 0; index < COMMANDS; index++) bulk.hset(`key:${batch * COMMANDS + index}`, 'field', batch)
      // A refusal in every batch changes nothing.
      bulk.lpush('string', 'y').incr('counter')
      const executed = checked(bulk.exec(), batch)
      if (bulk.needsDrain) await executed
    }
    const { commands, succeeded, failed, unknown, batches, reconnects, resent, serverErrorReplies } = await bulk.sync()
    const all = BATCHES * (COMMANDS + 2)
    t.deepEqual(
      { commands, succeeded, failed, unknown, batches, resent, refused, serverErrorReplies },
      {
        commands: all,
        succeeded: silent ? 0 : all - BATCHES,
        failed: silent ? 0 : BATCHES,
        unknown: silent ? all : 0,
        batches: BATCHES,
        resent: 0,
        refused: silent ? 0 : BATCHES,
        serverErrorReplies: silent ? BATCHES : undefined,
      },
    )
    t.true(reconnects === 199 || reconnects === 200, `${reconnects} rotations`)
    // The server closes its end a moment later.
    await until(async () => (await connections(client)) === 1)
    t.deepEqual([...reasons.keys()], ['rotation'])
    const keys = BATCHES * COMMANDS
    t.is(await client.dbsize(), keys + 2 + (options.checkpoint ? 1 : 0))
    for (let from = 0; from < keys; from += 50_000) {
      const looks = client.pipeline()
      for (let key = from; key < from + 50_000; key += 97) looks.hget(`key:${key}`, 'field')
      const found = ((await looks.exec()) ?? []).map(([, value]) => value)
      t.deepEqual(
        found,
        found.map((_, i) => String(Math.floor((from + i * 97) / COMMANDS))),
      )
    }
    t.is(await client.get('counter'), String(BATCHES))
    if (options.checkpoint) t.is(await client.hget('checkpoint', 'batch'), String(BATCHES))
    await bulk.close()
    await until(async () => (await connections(client)) === 0)
  })
}

test('automatic batches count', async (t) => {
  const { server, client } = await serverFor(t)
  const bulk = bulkPipeline({ port: server.port, reconnectEvery: 5, autoExec: { commands: 100 } })
  for (let index = 0; index < 10_000; index++) bulk.rpush('list', index)
  const { succeeded, batches, reconnects } = await bulk.close()
  t.deepEqual([succeeded, batches], [10_000, 100])
  t.true(reconnects === 19 || reconnects === 20, `${reconnects}`)
  const list = await client.lrange('list', 0, -1)
  t.true(
    list.every((value, index) => value === String(index)),
    'in order',
  )
})

for (const [mode, options] of Object.entries<BulkPipelineOptions>({
  check: {},
  transactions: { transaction: true },
  off: { replies: 'off' },
})) {
  test(`${mode}: what is written to the next connection comes behind all of the one before`, async (t) => {
    const { server, client } = await serverFor(t)
    const bulk = bulkPipeline({ port: server.port, reconnectEvery: 3, ...options })
    // More than is written to the next one beforehand, and less: some shares are of one kind, some of the other.
    let next = 0
    for (let batch = 0; batch < 240; batch++) {
      const commands = batch % 20 < 10 ? 3_000 : 100
      for (let i = 0; i < commands; i++) bulk.rpush('list', next++)
      void bulk.exec()
      if (bulk.needsDrain) await bulk.drain()
    }
    const { commands, failed, reconnects } = await bulk.close()
    t.deepEqual([commands, failed], [next, 0])
    t.true(reconnects >= 79, `${reconnects}`)
    const list = await client.lrange('list', 0, -1)
    t.deepEqual([list.length, list.findIndex((value, index) => value !== String(index))], [next, -1])
  })
}

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

onLinux('10,000 rotations leave no descriptor and no thread behind', async (t) => {
  const { server, client } = await serverFor(t)
  const bulk = bulkPipeline({ port: server.port, reconnectEvery: 1 })
  const load = async (batches: number) => {
    for (let batch = 0; batch < batches; batch++) {
      bulk.incr('counter')
      const executed = bulk.exec()
      if (batch % 100 === 99) await executed
    }
    await bulk.sync()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  await load(200)
  const [descriptors = 0, threads = 0] = opened()
  await load(10_000)
  const [descriptorsThen = 0, threadsThen = 0] = opened()
  t.true(Math.abs(descriptorsThen - descriptors) <= 2, `${descriptors} descriptors, then ${descriptorsThen}`)
  t.is(threadsThen, threads)
  t.is(await client.get('counter'), '10200')
  const { succeeded, unknown, reconnects } = await bulk.close()
  t.deepEqual([succeeded, unknown], [10_200, 0])
  t.true(reconnects >= 10_199, `${reconnects}`)
})

test('the old connection ends with nothing unread', async (t) => {
  // A socket that is closed with unread bytes is reset, and the peer hears of it.
  const resets: Error[] = []
  const scripted = await startScripted()
  t.teardown(() => scripted.stop())
  const options: BulkPipelineOptions = { port: scripted.port, reconnectEvery: 2 }
  const bulk = bulkPipeline(options)
  for (let batch = 0; batch < 20; batch++) {
    bulk.set('key', batch)
    await bulk.exec()
    for (const socket of scripted.sockets) socket.once('error', (error) => resets.push(error))
  }
  const { succeeded, reconnects } = await bulk.close()
  t.deepEqual([succeeded, reconnects], [20, 10])
  t.deepEqual(resets, [])
})
