// load() and writable(): which row each command comes from, what ends a load, and that nothing else is counted.

import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import test from 'ava'

import { RespipeError, bulkPipeline, type CommandFailure, type LoadProgress } from '../index.js'
import { pipelineFor } from './helpers/pipelines.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'

function* users(prefix: string, count: number): Generator<{ id: string; name: string }> {
  for (let at = 0; at < count; at++) yield { id: `${prefix}:${at}`, name: `name ${at}` }
}

test('all that can be iterated is loaded, by templates and functions', async (t) => {
  const sources: Record<string, (prefix: string) => Parameters<ReturnType<typeof bulkPipeline>['load']>[0]> = {
    array: (prefix) => [...users(prefix, 10)],
    generator: (prefix) => users(prefix, 10),
    set: (prefix) => new Set(users(prefix, 10)),
    async: async function* (prefix) {
      yield* users(prefix, 10)
    },
    readable: (prefix) => Readable.from(users(prefix, 10)),
    web: (prefix) => Readable.toWeb(Readable.from(users(prefix, 10))) as never,
  }
  const bulk = pipelineFor(t, { port: server.port })
  for (const [name, source] of Object.entries(sources)) {
    const mappers = [
      'HSET user:{id} name {name}',
      ['HSET user:{id} name {name}'],
      bulk.template('HSET user:{id} name {name}'),
      (row: { id: string; name: string }) => void bulk.hset(`user:${row.id}`, 'name', row.name),
    ]
    for (const [at, mapper] of mappers.entries()) {
      const summary = await bulk.load(source(`${name}:${at}`), mapper as never)
      t.like(summary, { commands: 10, succeeded: 10, failed: 0, unknown: 0, batches: 1, reconnects: 0, resent: 0 })
      t.is(await client.hget(`user:${name}:${at}:9`, 'name'), 'name 9')
    }
  }
})

test('rows without a command count as failed, with their row, and the others are loaded', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const heard: CommandFailure[] = []
  await client.set('rows:string', 'x')
  const rows = [{ key: 'rows:1' }, { key: null }, { key: 'rows:string' }, { key: 'rows:2' }, {}]
  const summary = await bulk.load(rows, ['LPUSH {key} 1', 'SADD rows:all {key}'], {
    onFailure: (failure) => heard.push(failure),
  })
  t.like(summary, { commands: 8, succeeded: 5, failed: 3, unknown: 0 })
  t.deepEqual(summary.errors, { [INVALID]: 2, WRONGTYPE: 1 })
  const told = summary.failures.map(({ index, row, command, code }) => [index, row, command, code])
  t.deepEqual(told.toSorted(), [
    [2, 1, 'LPUSH', INVALID],
    [3, 2, 'LPUSH', 'WRONGTYPE'],
    [7, 4, 'LPUSH', INVALID],
  ])
  t.deepEqual(heard.map(({ index }) => index).toSorted(), told.map(([index]) => index).toSorted())
  t.deepEqual((await client.smembers('rows:all')).toSorted(), ['rows:1', 'rows:2', 'rows:string'])
})

test('what else the pipeline does is told apart', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  bulk.incr('apart:own')
  const loading = bulk.load(users('apart', 5_000), (row) => void bulk.set(row.id, row.name))
  const own = await bulk.exec()
  t.like(own, { commands: 1, succeeded: 1 })
  t.like(await loading, { commands: 5_000, succeeded: 5_000 })
  t.like(await bulk.sync(), { commands: 5_001, succeeded: 5_001 })
})

test('a load ends with what a mapper, a callback or the source throws, and closes the source', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const boom = new Error('boom')
  let closed = 0
  function* rows(throwsAt = Infinity): Generator<number> {
    try {
      for (let at = 0; at < 100_000; at++) {
        if (at === throwsAt) throw boom
        yield at
      }
    } finally {
      closed++
    }
  }
  const ends: (() => Promise<unknown>)[] = [
    () => bulk.load(rows(), (row) => {
      if (row === 10) throw boom
      bulk.set(`end:${row}`, 1)
    }),
    () => bulk.load(rows(10), (row) => void bulk.set(`end:${row}`, 1)),
    () => bulk.load(rows(), () => void bulk.call('SET', 'end'), { onFailure: () => { throw boom } }),
    () => bulk.load(rows(), (row) => void bulk.set(`end:${row}`, 1), { progressIntervalMs: 1, onProgress: () => { throw boom } }),
  ] // prettier-ignore
  for (const [at, end] of ends.entries()) {
    t.is(await t.throwsAsync(end), boom)
    t.is(closed, at + 1)
  }
  t.is(await client.exists('end:9'), 1)
})

test('maxFailed and a signal end a load with what is known', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  await client.set('limit:string', 'x')
  const failing = bulk.load(users('limit', 100_000), 'LPUSH limit:string {name}', { maxFailed: 1_000 })
  const error = await t.throwsAsync(failing, { instanceOf: RespipeError, code: 'RESPIPE_TOO_MANY_FAILURES' })
  t.true(error.outcome!.failed >= 1_000 && error.outcome!.failed < 100_000)
  t.is(error.outcome!.failed, error.outcome!.commands)

  const abort = new AbortController()
  const aborted = bulk.load(users('limit', 1e9), 'SET limit:{id} {name}', {
    signal: abort.signal,
    progressIntervalMs: 10,
    onProgress: ({ rows }) => rows > 1_000 && abort.abort(),
  })
  const { outcome } = await t.throwsAsync(aborted, { instanceOf: RespipeError, code: 'RESPIPE_ABORTED' })
  t.is(outcome!.commands, outcome!.succeeded)
  t.like(await bulk.set('limit:after', 1).exec(), { succeeded: 1 })
})

test('progress is told, the last time of all rows', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const told: LoadProgress[] = []
  const options = { progressIntervalMs: 5, onProgress: (progress: LoadProgress) => told.push(progress) }
  await bulk.load(users('progress', 50_000), 'SET {id} {name}', options)
  t.true(told.length > 1)
  t.like(told.at(-1), { rows: 50_000, commands: 50_000, succeeded: 50_000, bufferedBytes: 0, inFlightBytes: 0 })
  t.true(told.every(({ rows }, at) => at === 0 || rows >= told[at - 1]!.rows))
})

test('the thread is not kept for long', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  let turns = 0
  let loading = true
  const count = (): void => {
    turns++
    if (loading) setImmediate(count)
  }
  count()
  await bulk.load(users('turns', 100_000), (row) => void bulk.hset(row.id, 'name', row.name, 'again', row.name))
  loading = false
  t.true(turns > 10, `${turns} turns`)
})

test('a checkpointed load goes on where it was, row by row', async (t) => {
  const seen: number[] = []
  const rows = Array.from({ length: 20_000 }, (_, at) => ({ at }))
  const load = (resume: boolean, stopAt = Infinity): Promise<unknown> => {
    const bulk = pipelineFor(t, { port: server.port, checkpoint: 'exactly:once' })
    const push = (row: { at: number }): void => {
      if (row.at === stopAt) throw new Error('stop')
      seen.push(row.at)
      bulk.rpush('exactly:list', row.at)
    }
    return bulk.load(rows, push, { resume }).finally(() => bulk.close())
  }
  await t.throwsAsync(load(false, 7_000), { message: 'stop' })
  const summary = await load(true)
  t.like(summary, { commands: 13_000, succeeded: 13_000 })
  t.deepEqual(
    seen,
    rows.map(({ at }) => at),
  )
  t.deepEqual(await client.lrange('exactly:list', 0, -1), rows.map(({ at }) => String(at))) // prettier-ignore
  t.like(await load(true), { commands: 0 })
})

test('a writable finishes once the server has everything', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const stream = bulk.writable<{ id: string; name: string }>('SET {id} {name}')
  await pipeline(Readable.from(users('written', 10_000)), stream)
  t.like(stream.summary, { commands: 10_000, succeeded: 10_000 })
  t.is(await client.get('written:9999'), 'name 9999')
})

test('a writable that is destroyed, or whose load ends early, ends its source', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const source = Readable.from(users('ended', 1e9))
  const failing = pipeline(source, bulk.writable('LPUSH limit:string {nothing}', { maxFailed: 100 }))
  await t.throwsAsync(failing, { instanceOf: RespipeError, code: 'RESPIPE_TOO_MANY_FAILURES' })
  t.true(source.destroyed)

  const stream = bulk.writable<{ id: string; name: string }>('SET {id} {name}')
  for (const row of users('ended', 100)) stream.write(row)
  const closed = new Promise((resolve) => stream.once('close', resolve))
  stream.destroy()
  await closed
  t.is(stream.summary, undefined)
  t.like(await bulk.exec(), { commands: 0 })
})
