// writable(): a real stream, which finishes once the server has everything.

import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'

import test from './helpers/test.ts'

import { RespipeError, bulkPipeline, type Summary } from '../index.js'
import { clientOf, serverFor } from './helpers/loads.ts'
import { until } from './helpers/outcomes.ts'
import { pipelineFor } from './helpers/pipelines.ts'
import { runScript } from './helpers/rss.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

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
  const scripted = await scriptedFor(t, ([name, word = '']) => {
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
  for (const reply of held) {
    await delay(30)
    t.false(finished)
    socket!.write(reply)
  }
  await until(() => finished)
  t.like(stream.summary, { commands: 1, succeeded: 1 })
})

test('a file is loaded through a parser, with the server stopped half-way: memory flat, and all arrives', async (t) => {
  const stopped = await serverFor(t)
  const folder = mkdtempSync(join(tmpdir(), 'respipe-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'users.csv')
  const rows = 150_000
  const lines = Array.from({ length: rows }, (_, id) => `${id},name ${id},user${id}@example.com,"city, ${id % 100}"\n`)
  writeFileSync(file, `id,name,email,city\n${lines.join('')}`)
  const source = `
    import { createReadStream } from 'node:fs'
    import { setTimeout as delay } from 'node:timers/promises'
    import { pipeline } from 'node:stream/promises'
    import { parse } from 'csv-parse'
    import { bulkPipeline } from './index.js'
    const [port, pid, file] = process.argv.slice(1)
    const bulk = bulkPipeline({ port: Number(port), maxBufferedBytes: 8 * 1024 * 1024 })
    const stream = bulk.writable('HSET user:{id} name {name} email {email} city {city}')
    let before
    const stop = async () => {
      while (bulk.stats().succeeded < ${rows / 2}) await delay(1)
      before = process.memoryUsage().rss
      process.kill(Number(pid), 'SIGSTOP')
      await delay(2_000)
      const grown = process.memoryUsage().rss - before
      const { succeeded } = bulk.stats()
      await delay(1_000)
      const stands = succeeded === bulk.stats().succeeded && !stream.writableFinished
      process.kill(Number(pid), 'SIGCONT')
      return { grown, stands }
    }
    const parser = parse({ columns: true })
    const [told] = await Promise.all([stop(), pipeline(createReadStream(file), parser, stream)])
    console.log(JSON.stringify({ ...told, ...stream.summary, dbsize: await bulk.query('DBSIZE') }))
    await bulk.close()
  `
  const { stdout, stderr } = await runScript({ source }, { args: [String(stopped.port), String(stopped.pid), file] })
  const told = JSON.parse(stdout || `{"stderr": ${JSON.stringify(stderr)}}`)
  t.like(told, { stands: true, commands: rows, succeeded: rows, unknown: 0, dbsize: rows })
  // 8 MiB for the pipeline's bytes, and what the parser makes garbage of meanwhile.
  t.true(told.grown < 32 * 1024 * 1024, `${told.grown} bytes`)
  t.like(await clientOf(t, stopped).hgetall('user:149999'), { name: 'name 149999', city: 'city, 99' })
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

test('the event loop turns while rows are written without a pause', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  let turns = 0
  let loading = true
  const count = (): void => {
    turns++
    if (loading) setImmediate(count)
  }
  count()
  await pipeline(Readable.from(users('turns', 50_000)), bulk.writable('SET {id} {name}'))
  loading = false
  t.true(turns > 10, `${turns} turns`)
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
  const slow = await serverFor(t)
  const bulk = pipelineFor(t, { port: slow.port })
  await clientOf(t, slow).client('PAUSE', 200)
  const stream = bulk.writable<object>('SET {a} 1')
  stream.end({ a: 'closing:1' })
  const finished = once(stream, 'finish')
  const loading = bulk.load([{ a: 'closing:2' }], 'SET {a} 1')
  await delay(20)
  t.like(await bulk.close(), { succeeded: 2 })
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
