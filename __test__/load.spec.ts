// load(): which row each command comes from, what ends a load, and that nothing else is counted.

import { open, writeFile } from 'node:fs/promises'
import { Readable, Transform } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'

import test from './helpers/test.ts'

import { RespipeError, bulkPipeline, type CommandFailure, type LoadProgress, type Summary } from '../index.js'
import { fifoFor } from './helpers/files.ts'
import { until } from './helpers/outcomes.ts'
import { pipelineFor } from './helpers/pipelines.ts'
import { sharedServer } from './helpers/shared.ts'
import { countTurns, keepThread } from './helpers/turns.ts'

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
      t.like(summary, { commands: 10, succeeded: 10, failed: 0, unknown: 0, reconnects: 0, resent: 0 })
      t.true(summary.batches >= 1 && summary.batches <= 10)
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
  const failing = bulk.load(users('limit', 1e9), 'LPUSH limit:string {name}', { maxFailed: 1_000 })
  const error = await t.throwsAsync(failing, { instanceOf: RespipeError, code: 'RESPIPE_TOO_MANY_FAILURES' })
  t.true(error.outcome!.failed >= 1_000)
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
  const options = { progressIntervalMs: 1, onProgress: (progress: LoadProgress) => told.push(progress) }
  async function* inTwoParts() {
    yield* users('progress:1', 1_000)
    // While the load waits for a row, and has not ended.
    await until(() => told.some((progress) => progress.rows === 1_000))
    yield* users('progress:2', 1_000)
  }
  await bulk.load(inTwoParts(), 'SET {id} {name}', options)
  t.true(told.length > 1)
  t.like(told.at(-1), { rows: 2_000, commands: 2_000, succeeded: 2_000, bufferedBytes: 0, inFlightBytes: 0 })
  t.true(told.every(({ rows }, at) => at === 0 || rows >= told[at - 1]!.rows))
})

test('the event loop turns between rows that take long', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const turns = countTurns(t)
  const seen: number[] = []
  await bulk.load(users('turns', 20), (row) => {
    bulk.set(row.id, row.name)
    keepThread()
    seen.push(turns.count)
  })
  t.is(seen.length, 20)
  t.is(new Set(seen).size, seen.length, `${seen}`)
})

test('the event loop turns between failures that take long to hear of', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  await client.set('told:string', 'x')
  const turns = countTurns(t)
  const seen: number[] = []
  const summary = await bulk.load(users('told', 20), () => void bulk.lpush('told:string', 1), {
    onFailure() {
      keepThread()
      seen.push(turns.count)
    },
  })
  t.is(summary.failed, 20)
  t.is(seen.length, 20)
  t.is(new Set(seen).size, seen.length, `${seen}`)
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

// Odd sources

test('what is no source of rows is refused, and named', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const locked = Readable.toWeb(Readable.from([1]))
  locked.getReader()
  const { proxy, revoke } = Proxy.revocable([1], {})
  revoke()
  const sources: [unknown, RegExp][] = [
    [undefined, /not undefined$/],
    ['users.csv', /not a string: for a file there is importFile\(\)$/],
    [Buffer.from('a'), /not bytes: for a file/],
    [Promise.resolve([]), /not a promise: await it$/],
    [{}, /not an object that cannot be iterated$/],
    [proxy, /not a Proxy that was revoked$/],
    [new Transform(), /^rows is a stream of bytes, which have to be parsed/],
    [locked, /^rows is a web stream that is locked/],
  ]
  for (const [source, message] of sources) {
    await t.throwsAsync(bulk.load(source as never, 'SET {a} 1'), { instanceOf: RespipeError, code: INVALID, message })
  }
})

test('what is no row for a template is named', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const rows = [Promise.resolve({}), Buffer.from('a'), [1], 'x', null, new Date()]
  const { failures } = await bulk.load(rows, 'SET {a} 1')
  t.deepEqual(
    failures.map(({ message }) => message.replace(/^the row is (.*): a template takes objects$/, '$1')),
    [
      'a promise, which has to be awaited first',
      'bytes, which have to be parsed first',
      'an array',
      'a string',
      'null',
      'an object without fields of its own',
    ],
  )
})

const of = (iterator: object): unknown => ({ [Symbol.iterator]: () => iterator })
const fails = (): never => {
  throw new Error('end')
}
const ofAsync = (iterator: object, more = {}): unknown => ({ [Symbol.asyncIterator]: () => iterator, ...more })

test('an iterator that breaks the rules, or off, or hangs at its end, ends the load', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const boom = new Error('boom')
  const never = new Promise<never>(() => {})
  const one = { done: false, value: { a: 'odd' } }
  const rejects = (): never => {
    throw boom
  }
  const sources: unknown[] = [
    // What `next` returns is no step.
    of({ next: () => 5 }),
    of({ next: () => undefined }),
    ofAsync({ next: () => undefined }),
    of({}),
    of({ next: rejects }),
    ofAsync({ next: rejects }),
    ofAsync({ next: () => Promise.reject(boom) }),
    new ReadableStream({ pull: (controller) => controller.error(boom) }),
    Readable.from([1]).destroy(),
    Readable.from([1]).once('error', () => {}).destroy(boom), // prettier-ignore
  ]
  for (const source of sources) await t.throwsAsync(bulk.load(source as never, 'SET {a} 1'))

  // What happens at the end of a source does not hide why the load has ended, nor keep it.
  let hasFailed = false
  const fail = (callback: (error: Error) => void): void => {
    hasFailed = true
    callback(new Error('late'))
  }
  const ends: unknown[] = [
    of({ next: () => one, return: () => never }),
    ofAsync({ next: () => one, return: () => never }),
    ofAsync({ next: () => one, return: fails }),
    ofAsync({ next: () => one }, { on() {}, destroy: fails }),
    new ReadableStream({ pull: (controller) => controller.enqueue(one.value), cancel: () => never }),
    new ReadableStream({ pull: (controller) => controller.enqueue(one.value), cancel: fails }),
    new Readable({ objectMode: true, read() { this.push(1) }, destroy: (_, callback) => void setTimeout(fail, 10, callback) }),
  ] // prettier-ignore
  const ended = ends.map((source) => t.throwsAsync(bulk.load(source as never, rejects), { message: 'boom' }))
  await Promise.all(ended)
  // An error that nobody listens to would end the process.
  await until(() => hasFailed)
  await turn()
  t.like(await bulk.load([{ a: 'odd' }], 'SET {a} 1'), { succeeded: 1 })
})

test('a stream that fails before its first row is asked for', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const source = new Readable({ objectMode: true, read() {} })
  const loading = bulk.load(source, 'SET {a} 1')
  source.destroy(new Error('early'))
  await t.throwsAsync(loading, { message: 'early' })
})

async function* rowAndNoMore(onWait: () => void): AsyncGenerator<object> {
  yield { a: 'waits' }
  onWait()
  await new Promise(() => {})
}

test('a load that waits for a row hears of an abort, and of the end of its pipeline', async (t) => {
  const ends: [string, (bulk: ReturnType<typeof bulkPipeline>, abort: AbortController) => unknown][] = [
    ['RESPIPE_ABORTED', (_, abort) => abort.abort()],
    ['RESPIPE_CLOSED', (bulk) => bulk.destroy()],
    ['RESPIPE_CLOSED', (bulk) => bulk.close()],
  ]
  for (const [code, end] of ends) {
    for (const isOfLoad of [false, true]) {
      const abort = new AbortController()
      const options = { signal: abort.signal }
      const bulk = pipelineFor(t, { port: server.port, ...(isOfLoad ? {} : options) })
      let waits = false
      const onWait = (): void => void (waits = true)
      const loading = bulk.load(rowAndNoMore(onWait), 'SET {a} 1', isOfLoad ? options : {})
      await until(() => waits)
      void end(bulk as never, abort)
      await t.throwsAsync(loading, { instanceOf: RespipeError, code })
    }
  }
})

// Odd mappers

test('a mapper may load, look and write elsewhere, and its own row stays whole', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const stream = bulk.writable<number>((row) => void bulk.rpush('nested:stream', row))
  let inner: Promise<Summary> | undefined
  let reply: Promise<unknown> | undefined
  bulk.set('nested:own', 1)
  const summary = await bulk.load([1, 2, 3], (row) => {
    bulk.rpush('nested:outer', row)
    stream.write(row)
    inner ??= bulk.load([7, 8], (other) => void bulk.rpush('nested:inner', other))
    reply ??= bulk.query('PING')
    bulk.rpush('nested:outer', -row)
  })
  t.like(summary, { commands: 6, succeeded: 6 })
  t.like(await inner, { commands: 2, succeeded: 2 })
  t.is(await reply, 'PONG')
  await new Promise<void>((resolve) => stream.end(resolve))
  t.like(stream.summary, { commands: 3, succeeded: 3 })
  t.like(await bulk.exec(), { commands: 1, succeeded: 1 })
  t.deepEqual(await client.lrange('nested:outer', 0, -1), ['1', '-1', '2', '-2', '3', '-3'])
  t.deepEqual(await client.lrange('nested:stream', 0, -1), ['1', '2', '3'])
  t.deepEqual(await client.lrange('nested:inner', 0, -1), ['7', '8'])
})

test('a mapper cannot execute, and ends its load where it ends the pipeline', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const refused: Promise<unknown>[] = []
  const summary = await bulk.load([1], () => {
    for (const method of ['exec', 'sync', 'drain', 'close']) {
      refused.push(t.throwsAsync(bulk[method]!(), { code: INVALID, message: /^a mapper cannot call/ }))
    }
    t.throws(() => bulk.discard(), { code: INVALID })
    bulk.set('mapper:1', 1)
  })
  await Promise.all(refused)
  t.like(summary, { commands: 1, succeeded: 1 })
  const ended = bulk.load([1, 2, 3], (row) => {
    bulk.set(`mapper:end:${row}`, 1)
    if (row === 2) bulk.destroy()
  })
  await t.throwsAsync(ended, { code: 'RESPIPE_CLOSED' })
})

test('a mapper that is async, or a generator, is refused', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const unsupported = { instanceOf: RespipeError, code: 'RESPIPE_UNSUPPORTED' }
  await t.throwsAsync(bulk.load([1], (async () => { throw new Error('unheard') }) as never), unsupported) // prettier-ignore
  await t.throwsAsync(bulk.load([1], function* () {} as never), unsupported)
})

test('whatever a mapper throws, the commands of others stay', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  bulk.set('odd:own', 1)
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  const odd = t.throws(() => bulk.set())
  odd.message = { toString: () => { throw new Error('odd') } } as never // prettier-ignore
  for (const thrown of [proxy, odd, null, undefined]) {
    const loading = bulk.load([1], () => {
      bulk.set('odd:row', 1)
      throw thrown
    })
    const rejected = await loading.then(() => false, () => true) // prettier-ignore
    t.true(rejected)
  }
  const hostile = [Object.create(null), { toString: () => { throw new Error('hostile') } }, 'X'.repeat(1e6)] // prettier-ignore
  const { failures } = await bulk.load(hostile, (name) => void bulk.call(name))
  t.deepEqual(
    failures.map(({ command, code }) => [command, code]),
    [
      ['', INVALID],
      ['', INVALID],
      ['X'.repeat(64), INVALID],
    ],
  )
  t.is(bulk.length, 1)
  t.like(await bulk.exec(), { commands: 1, succeeded: 1 })
  t.is(await client.exists('odd:row'), 0)
})

test('a row of many commands stays in one batch, and one that never finds room fails alone', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, checkpoint: 'wide:progress' })
  const wide = await bulk.load([1, 2], () => {
    for (let at = 0; at < 20_000; at++) bulk.incr('wide')
  })
  t.like(wide, { commands: 40_000, succeeded: 40_000, batches: 2 })
  t.deepEqual(await bulk.lastCheckpoint(), { batch: 2, row: 1 })

  for (const whenFull of ['throw', 'block'] as const) {
    const small = pipelineFor(t, { port: server.port, maxBufferedBytes: 2_000, whenFull })
    const summary = await small.load([10, 100, 5], (count) => {
      for (let at = 0; at < count; at++) small.set(`${whenFull}:${count}`, 'x'.repeat(30))
    })
    t.like(summary, { commands: 16, succeeded: 15, failed: 1, errors: { RESPIPE_BUFFER_FULL: 1 } })
    t.like(summary.failures[0], { row: 1, command: 'SET' })
    t.is(await client.exists(`${whenFull}:100`), 0)
  }
})

// Options of the pipeline

test('every row arrives, in order, whatever the options', async (t) => {
  const options = [
    { transaction: true },
    { replies: 'collect' },
    { replies: 'off' },
    { autoExec: { commands: 7 } },
    { autoExec: { ms: 1 } },
    { reconnectEvery: 1 },
    { reconnectEvery: 3, transaction: true },
    { maxInFlightBytes: 100, maxBufferedBytes: 2_000 },
    { maxBufferedBytes: 300 },
    { maxBufferedBytes: 300, replies: 'collect' },
    { maxBufferedBytes: 5_000, whenFull: 'block' },
    { maxBufferedBytes: 4_000, checkpoint: 'options:progress' },
  ] as const
  for (const [at, option] of options.entries()) {
    const bulk = pipelineFor(t, { port: server.port, ...option })
    const key = `options:${at}`
    const summary = await bulk.load(users(key, 2_000), (row) => void bulk.rpush(key, row.id))
    const isTold = !('replies' in option) || option.replies !== 'off'
    t.like(summary, isTold ? { succeeded: 2_000 } : { unknown: 2_000 }, key)
    t.false('replies' in summary)
    t.deepEqual(await client.lrange(key, 0, -1), [...users(key, 2_000)].map(({ id }) => id)) // prettier-ignore
    await bulk.close()
  }
})

test('a checkpoint is that of one load', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, checkpoint: 'single:progress' })
  const refused = { instanceOf: RespipeError, code: 'RESPIPE_INVALID_OPTION', message: /one load/ }
  const loading = bulk.load(users('single', 100), 'SET {id} 1')
  await t.throwsAsync(bulk.load(users('single', 100), 'SET {id} 1'), refused)
  await loading
  // It would go on behind the rows of the other one.
  await t.throwsAsync(bulk.load(users('single', 200), 'SET {id} 1', { resume: true }), refused)
})

test('a callback that throws in the last moment is heard', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const boom = new Error('boom')
  const onFailure = ({ row }: CommandFailure): void => {
    if (row === 999) throw boom
  }
  const onProgress = ({ rows }: LoadProgress): void => {
    if (rows === 1_000) throw boom
  }
  t.is(await t.throwsAsync(bulk.load(users('last', 1_000), () => void bulk.call('SET', 'x'), { onFailure })), boom)
  t.is(await t.throwsAsync(bulk.load(users('last', 1_000), 'SET {none} 1', { onFailure })), boom)
  t.is(await t.throwsAsync(bulk.load(users('last', 1_000), 'SET {id} 1', { onProgress })), boom)
})

test('maxFailed holds up to the last command', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  for (const mapper of [(): void => void bulk.call('SET', 'x'), 'SET {none} 1']) {
    const load = (maxFailed: number): Promise<Summary> => bulk.load(users('max', 10), mapper as never, { maxFailed })
    await t.throwsAsync(load(10), { code: 'RESPIPE_TOO_MANY_FAILURES' })
    t.like(await load(11), { failed: 10 })
  }
})

test('what a slow file has brought is executed, before there is more', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const path = fifoFor(t, 'rows.csv')
  const importing = bulk.importFile(path, 'SET slow:{a} 1')
  const writer = await open(path, 'w')
  await writer.write('a\n1\n')
  await until(async () => (await client.exists('slow:1')) === 1)
  await writer.write('2\n')
  await writer.close()
  t.like(await importing, { commands: 2, succeeded: 2 })
})

test('an import that waits for its file hears of the end of its pipeline', async (t) => {
  for (const end of ['destroy', 'close']) {
    const bulk = pipelineFor(t, { port: server.port })
    const path = fifoFor(t, 'rows.csv')
    const importing = bulk.importFile(path, 'SET {a} 1')
    const writer = await open(path, 'w')
    await writer.write('a\n')
    void bulk[end]!()
    await t.throwsAsync(importing, { instanceOf: RespipeError, code: 'RESPIPE_CLOSED' })
    await writer.close()
  }
})

test('a look at a file is no load that a checkpoint tells of', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, checkpoint: 'look:progress' })
  const path = fifoFor(t, 'rows.csv')
  for (const read of [() => bulk.checkFile(path, 'SET look:{a} 1'), () => bulk.importFile(path, 'SET look:{a} 1')]) {
    const reading = read()
    await writeFile(path, 'a\n1\n')
    t.like(await reading, { commands: 1 })
  }
  t.deepEqual(await bulk.lastCheckpoint(), { batch: 1, row: 0 })
})
