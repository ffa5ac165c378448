// writable(): a real stream, which finishes once the server has everything.

import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate as turn } from 'node:timers/promises'
import { parse } from 'csv-parse'

import test from './helpers/test.ts'

import { RespipeError, bulkPipeline, type Summary } from '../index.js'
import { fileFor } from './helpers/files.ts'
import { clientOf, proxyFor, serverFor } from './helpers/loads.ts'
import { until } from './helpers/outcomes.ts'
import { pipelineFor } from './helpers/pipelines.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'
import { countTurns, keepThread } from './helpers/turns.ts'

const { server, client } = await sharedServer()

function* users(prefix: string, count: number): Generator<{ id: string; name: string }> {
  for (let at = 0; at < count; at++) yield { id: `${prefix}:${at}`, name: `name ${at}` }
}

test('a writable finishes once the server has everything', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const stream = bulk.writable<{ id: string; name: string }>('SET {id} {name}')
  await pipeline(Readable.from(users('written', 10_000)), stream)
  t.like(stream.summary, { commands: 10_000, succeeded: 10_000 })
  t.is(await client.get('written:9999'), 'name 9999')
})

test('finish comes behind the last fence, and not before', async (t) => {
  const held: string[] = []
  const scripted = await scriptedFor(t, ([name, word = ''], _, connection) => {
    // A query comes on another connection.
    if (connection > 0) return undefined
    if (name === 'SET') held.push(resp.ok)
    else if (held.length > 0 && name === 'ECHO') held.push(resp.bulk(word))
    else return undefined
    return null
  })
  const bulk = pipelineFor(t, { port: scripted.port })
  const stream = bulk.writable<object>('SET {a} 1')
  let finished = false
  stream.once('finish', () => (finished = true))
  stream.end({ a: 1 })
  const [socket] = await until(() => held.length === 2).then(() => scripted.sockets)
  t.false(finished)
  socket!.write(held[0]!)
  await until(() => bulk.stats().succeeded === 1)
  // Whatever there was to tell comes before the reply.
  t.is(await bulk.query('PING'), 'PONG')
  t.false(finished)
  socket!.write(held[1]!)
  await until(() => finished)
  t.like(stream.summary, { commands: 1, succeeded: 1 })
})

test('a file is loaded through a parser, with the server stopped half-way, and all arrives', async (t) => {
  const stopped = await serverFor(t)
  const proxy = await proxyFor(t, stopped)
  const lines = Array.from({ length: 10_000 }, (_, id) => `${id},name ${id},"city, ${id % 100}"\n`)
  const file = fileFor(t, 'users.csv', `id,name,city\n${lines.join('')}`)
  const bulk = pipelineFor(t, { port: proxy.port, maxBufferedBytes: 100_000 })
  const stream = bulk.writable('HSET user:{id} name {name} city {city}')
  const fault = proxy.at({ command: 'HSET', nth: 5_000 }, () => stopped.kill('SIGSTOP'))
  const loading = pipeline(createReadStream(file), parse({ columns: true }), stream)
  await fault.happened
  // A source that does not wait would be through.
  for (let turns = 0; turns < 2_000; turns++) await turn()
  t.true(bulk.stats().commands < 10_000)
  t.false(stream.writableFinished)
  await stopped.kill('SIGCONT')
  await loading
  t.like(stream.summary, { commands: 10_000, succeeded: 10_000, unknown: 0, resent: 0 })
  const looker = clientOf(t, stopped)
  t.is(await looker.dbsize(), 10_000)
  t.like(await looker.hgetall('user:9999'), { name: 'name 9999', city: 'city, 99' })
})

test('a writable that is destroyed, or whose load ends early, ends its source', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  await client.set('ended:string', 'x')
  const source = Readable.from(users('ended', 1e9))
  const failing = pipeline(source, bulk.writable('LPUSH ended:string {nothing}', { maxFailed: 100 }))
  await t.throwsAsync(failing, { instanceOf: RespipeError, code: 'RESPIPE_TOO_MANY_FAILURES' })
  t.true(source.destroyed)

  const stream = bulk.writable<{ id: string; name: string }>('SET {id} {name}')
  for (const row of users('ended', 100)) stream.write(row)
  const closed = once(stream, 'close')
  stream.destroy()
  await closed
  t.is(stream.summary, undefined)
  t.like(await bulk.exec(), { commands: 0 })
})

test('a source that fails destroys the writable, and what it had brought is not half a row', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const boom = new Error('boom')
  async function* rows(): AsyncGenerator<number> {
    for (let at = 0; at < 1_000; at++) yield at
    throw boom
  }
  const stream = bulk.writable<number>((row) => void bulk.rpush('fails:list', row).incr('fails:count'))
  t.is(await t.throwsAsync(pipeline(Readable.from(rows()), stream)), boom)
  t.true(stream.destroyed)
  t.is(Number(await client.get('fails:count')), await client.llen('fails:list'))
})

test('high-water marks are honoured', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const usual = bulk.writable('SET {a} 1')
  t.is(usual.writableHighWaterMark, 512)
  usual.end()
  const stream = bulk.writable<object>('SET {a} {a}', { highWaterMark: 3 })
  t.true(stream.writableObjectMode)
  t.deepEqual(
    [1, 2, 3, 4].map((row) => stream.write({ a: `mark:${row}` })),
    [true, true, false, false],
  )
  await once(stream, 'drain')
  stream.end()
  await once(stream, 'finish')
  t.like(stream.summary, { succeeded: 4 })
})

test('rows that were corked come at once, in order', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const stream = bulk.writable<number>((row) => void bulk.rpush('corked', row))
  stream.cork()
  for (let row = 0; row < 5_000; row++) stream.write(row)
  stream.uncork()
  await new Promise<void>((resolve) => stream.end(resolve))
  t.deepEqual(
    await client.lrange('corked', 0, -1),
    Array.from({ length: 5_000 }, (_, row) => String(row)),
  )
})

test('the event loop turns between rows that take long', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const turns = countTurns(t)
  const seen: number[] = []
  const stream = bulk.writable<{ id: string; name: string }>(({ id, name }) => {
    bulk.set(id, name)
    keepThread()
    seen.push(turns.count)
  })
  await pipeline(Readable.from(users('turns', 20)), stream)
  t.is(seen.length, 20)
  t.is(new Set(seen).size, seen.length, `${seen}`)
})

test('a writable that waits for rows hears of an abort, and of the end of its pipeline', async (t) => {
  const aborted = pipelineFor(t, { port: server.port })
  const early = aborted.writable('SET {a} 1', { signal: AbortSignal.abort() })
  const [error] = await once(early, 'error')
  t.is(error.code, 'RESPIPE_ABORTED')
  t.true(early.destroyed)

  const abort = new AbortController()
  const later = aborted.writable('SET {a} 1', { signal: abort.signal })
  await new Promise(setImmediate)
  const told = once(later, 'error')
  abort.abort()
  t.is((await told)[0].code, 'RESPIPE_ABORTED')

  for (const end of ['destroy', 'close']) {
    const bulk = pipelineFor(t, { port: server.port })
    const stream = bulk.writable('SET {a} 1')
    stream.write({ a: 'waits' })
    const ended = once(stream, 'error')
    void bulk[end]!()
    t.is((await ended)[0].code, 'RESPIPE_CLOSED')
  }
})

test('rows that are all executed are not lost when the pipeline is closed', async (t) => {
  const stopped = await serverFor(t)
  const proxy = await proxyFor(t, stopped)
  const bulk = pipelineFor(t, { port: proxy.port })
  t.like(await bulk.set('connected', 1).exec(), { succeeded: 1 })
  await stopped.kill('SIGSTOP')
  const bothWritten = proxy.at({ command: 'SET', nth: 2 }, () => {})
  const stream = bulk.writable<object>('SET {a} 1')
  stream.end({ a: 'closing:1' })
  const finished = once(stream, 'finish')
  const loading = bulk.load([{ a: 'closing:2' }], 'SET {a} 1')
  await bothWritten.happened
  const closing = bulk.close()
  await stopped.kill('SIGCONT')
  t.like(await closing, { succeeded: 3 })
  t.like(await loading, { succeeded: 1 })
  await finished
  t.like(stream.summary, { succeeded: 1 })
})

test('a mapper that ends its own stream leaves the commands of others alone', async (t) => {
  const ends: ((stream: ReturnType<ReturnType<typeof bulkPipeline>['writable']>, abort: AbortController) => void)[] = [
    (_, abort) => abort.abort(),
    (stream) => stream.destroy(),
    (stream) => stream.destroy(new Error('ended')),
  ]
  for (const [at, end] of ends.entries()) {
    const bulk = pipelineFor(t, { port: server.port })
    const abort = new AbortController()
    bulk.set(`own:${at}`, 1)
    const stream = bulk.writable<number>(
      (row) => {
        bulk.set(`none:${at}`, row)
        end(stream, abort)
        bulk.set(`none:${at}`, row)
      },
      { signal: abort.signal },
    )
    stream.on('error', () => {})
    const closed = new Promise((resolve) => stream.once('close', resolve))
    stream.write(1)
    await closed
    t.is(bulk.length, 1)
    t.like(await bulk.exec(), { commands: 1, succeeded: 1 })
    t.deepEqual([await client.exists(`own:${at}`), await client.exists(`none:${at}`)], [1, 0])
  }
})

test('streams of bytes, and rows after the end, are refused as by any stream', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const piped = bulk.writable('SET {a} 1')
  const bytes = new PassThrough()
  bytes.end('a,b\n')
  await pipeline(bytes, piped)
  t.like(piped.summary, { failed: 1, errors: { RESPIPE_INVALID_ARGUMENT: 1 } })
  t.regex(piped.summary!.failures[0]!.message, /bytes, which have to be parsed first/)

  const stream = bulk.writable('SET {a} 1')
  stream.on('error', () => {})
  stream.end()
  const late = await new Promise<Error | null | undefined>((resolve) => stream.write({ a: 1 }, resolve))
  t.is((late as NodeJS.ErrnoException).code, 'ERR_STREAM_WRITE_AFTER_END')
})

test('two writables and a load share a pipeline, each with its own summary', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const streams = ['a', 'b'].map((name) => bulk.writable<{ id: string }>(`RPUSH shared:${name} {id}`))
  const loaded = bulk.load(users('shared', 2_000), 'RPUSH shared:c {id}')
  await Promise.all(streams.map((stream) => pipeline(Readable.from(users('shared', 2_000)), stream)))
  const summaries: (Summary | undefined)[] = [...streams.map(({ summary }) => summary), await loaded]
  for (const summary of summaries) t.like(summary, { commands: 2_000, succeeded: 2_000 })
  const lists = await Promise.all(['a', 'b', 'c'].map((name) => client.lrange(`shared:${name}`, 0, -1)))
  for (const list of lists) t.deepEqual(list, [...users('shared', 2_000)].map(({ id }) => id)) // prettier-ignore
})
