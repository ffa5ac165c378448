// Commands that end their connection: the server cannot read them, or closes the connection each time. Each has an outcome
// of its own, by name, and costs no other command its outcome or its execution.
import test from './helpers/test.ts'
import { createWriteStream } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import type { BulkPipeline, CommandFailure, Outcome, Summary } from '../index.js'
import { clientOf, COLUMNS, increments, serverFor } from './helpers/loads.ts'
import { bulkFor, reasonOf, rejection, resolution } from './helpers/outcomes.ts'
import { scriptedFor } from './helpers/scripted.ts'

const SHORT = ['--proto-max-bulk-len', '1mb']
const BIG = Buffer.alloc(1 << 21)
const REFUSAL = 'ERR Protocol error: invalid bulk length'

const told = ['check', 'collect'] as const

/** A load with one command that the server cannot read among others that cannot be repeated. */
function load(bulk: BulkPipeline, before = 2_000, behind = 3_000): BulkPipeline {
  return increments(increments(bulk, before, 'n').set('big', BIG), behind, 'n')
}

/** That one has failed, by place and name. */
function isNamed(t: ExecutionContext, outcome: Outcome, index: number, row?: number) {
  const culprit = outcome.failures.find(({ code }) => code === 'ERR') as CommandFailure
  t.like(culprit, { index, command: 'SET', code: 'ERR', message: REFUSAL })
  t.is(culprit.key?.toString(), 'big')
  t.is(culprit.row, row)
}

function counts({ succeeded, failed, unknown }: Outcome) {
  return { succeeded, failed, unknown }
}

for (const column of told) {
  test(`${column}: a command that the server cannot read has failed, and all others are done once`, async (t) => {
    const server = await serverFor(t, ...SHORT)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    const result = await resolution(t, load(bulk).exec())
    t.deepEqual(counts(result), { succeeded: 5_000, failed: 1, unknown: 0 })
    isNamed(t, result, 2_000)
    if (column === 'collect') {
      const replies = result.replies ?? []
      t.is(replies.length, 5_001)
      t.is((replies[2_000] as Error).message, REFUSAL)
      t.deepEqual([replies[1_999], replies[2_001], replies[5_000]], [2_000, 2_001, 5_000])
    }
    t.is(await clientOf(t, server).get('n'), '5000')
    t.is(bulk.stats().reconnects, 1)
  })
}

test('an argument count that the server cannot read is told in the same way', async (t) => {
  const server = await scriptedFor(t, ([name, key], socket, connection) => {
    if (connection > 0 || name !== 'SADD' || key !== 'many') return undefined
    socket.end('-ERR Protocol error: invalid multibulk length\r\n')
    return null
  })
  const bulk = bulkFor(t, { port: server.port })
  bulk.set('a', 1).sadd('many', 1, 2, 3).set('b', 2)
  const result = await resolution(t, bulk.exec())
  t.deepEqual(counts(result), { succeeded: 2, failed: 1, unknown: 0 })
  t.like(result.failures[0], { index: 1, command: 'SADD', code: 'ERR' })
})

test('each of several is named, and their order is that of the commands', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port, replies: 'collect' })
  for (let i = 0; i < 5; i++) bulk.incr('n').set('big', BIG)
  const result = await resolution(t, bulk.incr('n').exec())
  t.deepEqual(counts(result), { succeeded: 6, failed: 5, unknown: 0 })
  t.deepEqual(
    result.failures.map(({ index }) => index),
    [1, 3, 5, 7, 9],
  )
  t.deepEqual(
    result.replies?.map((reply) => (reply instanceof Error ? 'error' : reply)),
    [1, 'error', 2, 'error', 3, 'error', 4, 'error', 5, 'error', 6],
  )
})

test('one that is the last of all, or the only one, is told too', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port })
  isNamed(t, await resolution(t, load(bulk, 10, 0).exec()), 10)
  isNamed(t, await resolution(t, bulk.set('big', BIG).exec()), 0)
  t.deepEqual(counts(await resolution(t, bulk.incr('n').exec())), { succeeded: 1, failed: 0, unknown: 0 })
})

test('a new connection for it counts as no repeat', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port, retry: { attempts: 0 } })
  t.deepEqual(counts(await resolution(t, load(bulk).exec())), { succeeded: 5_000, failed: 1, unknown: 0 })
})

test('failures are heard of as they happen', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port })
  const heard: CommandFailure[] = []
  bulk.on('failure', (failure) => heard.push(failure))
  await resolution(t, load(bulk, 5, 5).exec())
  t.deepEqual(
    heard.map(({ index, code }) => [index, code]),
    [[5, 'ERR']],
  )
})

test('transaction: its own is not executed, as with any command that the server does not queue; all others are', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port, transaction: true })
  const before = increments(bulk, 1_000, 'n').exec()
  const own = load(bulk, 20, 30).exec()
  const behind = increments(bulk, 1_000, 'n').exec()
  t.is((await resolution(t, before)).succeeded, 1_000)
  const result = await resolution(t, own)
  t.deepEqual(counts(result), { succeeded: 0, failed: 51, unknown: 0 })
  t.deepEqual(result.errors, { ERR: 1, EXECABORT: 50 })
  isNamed(t, result, 20)
  t.is((await resolution(t, behind)).succeeded, 1_000)
  t.is(await clientOf(t, server).get('n'), '2000')
})

test('checkpoint: the others of its batch are done, once, and the load goes on behind it', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const bulk = bulkFor(t, { port: server.port, checkpoint: 'progress' })
  const before = increments(bulk, 1_000, 'n').exec()
  const own = load(bulk, 20, 30).exec()
  const behind = increments(bulk, 1_000, 'n').exec()
  t.is((await resolution(t, before)).succeeded, 1_000)
  const result = await resolution(t, own)
  t.deepEqual(counts(result), { succeeded: 50, failed: 1, unknown: 0 })
  isNamed(t, result, 20)
  t.is((await resolution(t, behind)).succeeded, 1_000)
  t.is(await clientOf(t, server).get('n'), '2050')
  t.is((await bulk.lastCheckpoint())?.batch, 3)
})

for (const reconnectEvery of [1, 3]) {
  test(`reconnectEvery ${reconnectEvery}: what the next connection was given is not lost either`, async (t) => {
    const server = await serverFor(t, ...SHORT)
    const bulk = bulkFor(t, { port: server.port, reconnectEvery })
    for (let batch = 0; batch < 30; batch++) {
      if (batch % 7 === 3) void load(bulk, 50, 50).exec()
      else void increments(bulk, 100, 'n').exec()
    }
    const summary = await resolution(t, bulk.sync())
    t.deepEqual(counts(summary), { succeeded: 3_000, failed: 4, unknown: 0 })
    t.is(await clientOf(t, server).get('n'), '3000')
  })
}

test('what a script says in the same words ends nothing', async (t) => {
  const server = await serverFor(t)
  const bulk = bulkFor(t, { port: server.port })
  const says = `return redis.error_reply('${REFUSAL}')`
  const result = await resolution(t, bulk.incr('n').eval(says, 0).incr('n').exec())
  t.deepEqual(counts(result), { succeeded: 2, failed: 1, unknown: 0 })
  t.is(result.failures[0]?.message, REFUSAL)
  t.is(bulk.stats().reconnects, 0)
})

test('a stream that the server calls garbled is another matter: nothing of it is believed', async (t) => {
  const server = await scriptedFor(t, ([name, key], socket) => {
    if (name !== 'SET' || key !== 'b') return undefined
    socket.end("-ERR Protocol error: expected '$', got 'x'\r\n")
    return null
  })
  const bulk = bulkFor(t, { port: server.port })
  const error = await rejection(t, bulk.set('a', 1).set('b', 2).set('c', 3).exec(), 'RESPIPE_PROTOCOL')
  t.true(reasonOf(error).endsWith("the server says: ERR Protocol error: expected '$', got 'x'"), error.message)
})

// Rows

/** Rows of which one makes a command that the server cannot read. */
function* rows(count: number, culprit: number) {
  for (let id = 0; id < count; id++)
    yield { id: id === culprit ? 'big' : id, text: id === culprit ? BIG.toString('latin1') : 'x' }
}

async function isLoaded(t: ExecutionContext, summary: Summary, port: number) {
  t.deepEqual(counts(summary), { succeeded: 2_999, failed: 1, unknown: 0 })
  isNamed(t, summary, 1_234, 1_234)
  t.is(await clientOf(t, { port }).dbsize(), 2_999)
}

for (const checkpoint of [false, true]) {
  test(`rows${checkpoint ? ', checkpoint' : ''}: the failure has its row, and all other rows arrive`, async (t) => {
    const server = await serverFor(t, ...SHORT)
    const bulk = bulkFor(t, { port: server.port, ...(checkpoint && { checkpoint: 'progress' }) })
    const summary = await resolution(t, bulk.load(rows(3_000, 1_234), 'SET {id} {text}'))
    t.deepEqual(counts(summary), { succeeded: 2_999, failed: 1, unknown: 0 })
    isNamed(t, summary, 1_234, 1_234)
    t.is(await clientOf(t, server).dbsize(), checkpoint ? 3_000 : 2_999)
  })
}

test('files: the same', async (t) => {
  const server = await serverFor(t, ...SHORT)
  const path = join(server.dir, 'rows.ndjson')
  const file = createWriteStream(path)
  for (const row of rows(3_000, 1_234)) file.write(`${JSON.stringify(row)}\n`)
  file.end()
  await once(file, 'finish')
  const bulk = bulkFor(t, { port: server.port })
  await isLoaded(t, await resolution(t, bulk.importFile(path, 'SET {id} {text}')), server.port)
})
