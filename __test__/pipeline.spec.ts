import test, { type ExecutionContext } from './helpers/test.ts'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type BatchResult, type BulkPipelineOptions, type CommandFailure, RespipeError } from '../index.js'
import { proxyFor, serverFor } from './helpers/loads.ts'
import { bulkFor, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

// What goes in, what comes out, and the ceilings in between. Each test has keys of its own. Memory: long/pipeline.spec.ts.

const { server, client } = await sharedServer()
/** Where nothing listens, and nothing ever will. */
const NOWHERE = 1

function open(t: ExecutionContext, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port: server.port, ...options })
}

const full = { instanceOf: RespipeError, code: 'RESPIPE_BUFFER_FULL' }

/** What a batch resolves with if nothing in it fails. */
function success(commands: number, bytes: number): Omit<BatchResult, 'throwIfFailed'> {
  return { commands, succeeded: commands, failed: 0, unknown: 0, bytes, errors: {}, failures: [] }
}

/** Bytes of a command on the wire. */
function wire(...words: string[]): number {
  return Buffer.byteLength(resp.array(...words.map(resp.bulk)))
}

// exec

test('commands are executed in order, over batches that nobody awaits', async (t) => {
  const bulk = open(t)
  for (let number = 0; number < 2_000; number++) {
    bulk.rpush('order', number)
    if (number % 300 === 299) void bulk.exec()
  }
  t.is(bulk.length, 200)
  t.is((await bulk.exec()).commands, 200)
  t.deepEqual(
    await client.lrange('order', 0, -1),
    Array.from({ length: 2_000 }, (_, number) => String(number)),
  )
})

test('a loop that never lets go of the thread is under way before it ends', async (t) => {
  // In a process of its own: whoever keeps the thread keeps it from all other tests.
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], JSON.parse(process.argv[2]))
    let batches = 0
    while (bulk.stats().succeeded < 5_000) {
      // So far ahead at most: whether the ceiling is reached is for the options to say, not for the faster of the two.
      if (batches - bulk.stats().succeeded < 1_000) void bulk.set('loop', batches++).exec()
    }
    const { commands, succeeded } = await bulk.sync()
    console.log(commands - batches, succeeded - batches, (await bulk.query('GET', 'loop')) - batches)
  `
  for (const options of [{}, { maxBufferedBytes: 20_000, whenFull: 'block' as const }]) {
    const { stdout, stderr } = await runScript({ source }, { args: [server.url, JSON.stringify(options)] })
    t.deepEqual([stdout, stderr], ['0 0 -1\n', ''])
  }
})

test('batches that come one by one are each sent at once', async (t) => {
  const bulk = open(t)
  // Behind more than a window, and each of the few behind that.
  for (let number = 0; number < 100; number++) void bulk.set('one by one', 'x'.repeat(50_000)).exec()
  for (let number = 0; number < 200; number++) {
    void bulk.set('one by one', number).exec()
    if (number % 3 === 0) await delay(1)
    if (number % 7 === 0) t.is((await bulk.get('one by one').exec()).succeeded, 1)
  }
  t.like(await bulk.sync(), { commands: 329, succeeded: 329 })
  t.is(await client.get('one by one'), '199')
})

test('an exec tells what was sent', async (t) => {
  const bulk = open(t)
  bulk.set('told', 'é').hset('told:hash', 'a', 1, 'b', 2.5)
  const bytes = wire('SET', 'told', 'é') + wire('HSET', 'told:hash', 'a', '1', 'b', '2.5')
  t.deepEqual(await bulk.exec(), success(2, bytes))
})

test('an empty batch needs no server', async (t) => {
  const bulk = open(t, { port: NOWHERE, retry: { attempts: 0 } })
  t.deepEqual(await bulk.exec(), success(0, 0))
  const { elapsedMs, ...summary } = await bulk.sync()
  t.true(elapsedMs >= 0)
  t.deepEqual(summary, { ...success(0, 0), batches: 0, reconnects: 0, resent: 0 })
  await bulk.drain()
  t.is((await bulk.close()).commands, 0)
})

test('nothing is written before exec', async (t) => {
  const scripted = await scriptedFor(t, {})
  const bulk = open(t, { port: scripted.port })
  for (let number = 0; number < 5_000; number++) bulk.set(`key:${number}`, 'x'.repeat(100))
  // Whatever the first one had begun would be there before what this one begins.
  t.is(await open(t, { port: scripted.port }).query('PING'), 'PONG')
  t.is(scripted.connections, 1)
  t.is(bulk.length, 5_000)
  t.is((await bulk.exec()).succeeded, 5_000)
  t.is(scripted.commands.filter(([name]) => name === 'SET').length, 5_000)
})

test('commands appended while a batch runs belong to the next', async (t) => {
  const bulk = open(t)
  const first = bulk.set('next:1', 1).exec()
  bulk.set('next:2', 2).set('next:3', 3)
  t.is((await first).commands, 1)
  t.is(bulk.length, 2)
  t.is((await bulk.exec()).commands, 2)
})

test('discard forgets what is appended, and nothing else', async (t) => {
  const bulk = open(t)
  const kept = bulk.set('discard:kept', 1).exec()
  t.is(bulk.set('discard:1', 1).set('discard:2', 2).discard(), 2)
  t.is(bulk.length, 0)
  t.is(bulk.discard(), 0)
  t.is((await kept).succeeded, 1)
  t.is((await bulk.exec()).commands, 0)
  t.is(await client.exists('discard:1', 'discard:2', 'discard:kept'), 1)
})

// Failures

test('a refused command is reported with its place, key, code and text', async (t) => {
  const bulk = open(t)
  await bulk.set('text', 'x').exec()
  const places = [0, 1, 4_999, 9_998, 9_999]
  for (let index = 0; index < 10_000; index++) {
    if (places.includes(index)) bulk.lpush('text', index)
    else bulk.set(`places:${index}`, index)
  }
  const { commands, succeeded, failed, unknown, errors, failures } = await bulk.exec()
  t.deepEqual({ commands, succeeded, failed, unknown }, { commands: 10_000, succeeded: 9_995, failed: 5, unknown: 0 })
  t.deepEqual(errors, { WRONGTYPE: 5 })
  const message = 'WRONGTYPE Operation against a key holding the wrong kind of value'
  const failure = { command: 'LPUSH', key: Buffer.from('text'), code: 'WRONGTYPE', message }
  t.deepEqual(
    failures,
    places.map((index) => ({ index, ...failure })),
  )
})

test('a failure has a key only where one is known', async (t) => {
  const bulk = open(t)
  bulk
    .set('key', 1)
    .call('NO.SUCH', 'word')
    .call('incrby', Buffer.from([0xff, 0]), 'x')
  const { failures, errors } = await bulk.exec()
  t.deepEqual(errors, { ERR: 2 })
  t.deepEqual(
    failures.map(({ index, command, key }) => ({ index, command, key })),
    [
      { index: 1, command: 'NO.SUCH', key: undefined },
      { index: 2, command: 'INCRBY', key: Buffer.from([0xff, 0]) },
    ],
  )
  t.false('key' in (failures[0] as CommandFailure))
})

for (const maxFailures of [0, 5]) {
  test(`of all failures ${maxFailures} keep their details`, async (t) => {
    const bulk = open(t, { maxFailures })
    await bulk.set(`details:${maxFailures}`, 'x').exec()
    for (let batch = 0; batch < 2; batch++) {
      for (let index = 0; index < 20; index++) bulk.lpush(`details:${maxFailures}`, index)
      const { failed, errors, failures } = await bulk.exec()
      t.deepEqual({ failed, errors }, { failed: 20, errors: { WRONGTYPE: 20 } })
      t.deepEqual(
        failures.map(({ index }) => index),
        [0, 1, 2, 3, 4].slice(0, maxFailures),
      )
    }
    const { failed, failures } = await bulk.sync()
    t.deepEqual([failed, failures.length], [40, maxFailures])
  })
}

test('a code that a hostile server made up is counted under its name', async (t) => {
  const scripted = await scriptedFor(t, ([name]) => (name === 'SET' ? resp.error('__proto__ gotcha') : undefined))
  const { errors } = await open(t, { port: scripted.port }).set('key', 1).exec()
  t.deepEqual(Object.entries(errors), [['__proto__', 1]])
})

test('of many refused commands only the first are kept', async (t) => {
  const bulk = open(t)
  await bulk.set('many', 'x').exec()
  for (let batch = 0; batch < 2; batch++) {
    for (let index = 0; index < 5_000; index++) bulk.lpush('many', 'x')
    const { failed, failures } = await bulk.exec()
    t.deepEqual([failed, failures.length], [5_000, 100])
  }
  const { failed, errors, failures } = await bulk.close()
  t.deepEqual({ failed, errors, kept: failures.length }, { failed: 10_000, errors: { WRONGTYPE: 10_000 }, kept: 100 })
})

// Giving up

test('batches behind one that is given up end with its cause, and the next exec starts afresh', async (t) => {
  const proxy = await proxyFor(t, server)
  const fault = proxy.at({ bytes: 0 }, 'reset')
  const bulk = open(t, { port: proxy.port, retry: { attempts: 0, firstConnect: 0 } })
  const batches = [1, 2, 3].map((commands) => {
    for (let index = 0; index < commands; index++) bulk.set(`afresh:${index}`, index)
    return bulk.exec()
  })
  for (const [at, batch] of batches.entries()) {
    const error = await t.throwsAsync(batch, { instanceOf: RespipeError, code: 'RESPIPE_CONNECT' })
    const { commands, succeeded, failed, unknown, errors, failures } = error.outcome ?? t.fail()
    t.deepEqual(
      { commands, succeeded, failed, unknown },
      { commands: at + 1, succeeded: 0, failed: at + 1, unknown: 0 },
    )
    t.deepEqual(errors, { RESPIPE_CONNECT: at + 1 })
    t.deepEqual(
      failures.map(({ index, command, key, code }) => [index, command, String(key), code]),
      failures.map((_, index) => [index, 'SET', `afresh:${index}`, 'RESPIPE_CONNECT']),
    )
  }
  t.true(fault.hasHappened)
  t.is((await bulk.set('afresh', 1).exec()).succeeded, 1)
  const { commands, succeeded, failed } = await bulk.sync()
  t.deepEqual({ commands, succeeded, failed }, { commands: 7, succeeded: 1, failed: 6 })
})

// drain

test('needsDrain is above an eighth, drain below a sixteenth, of what is executed', async (t) => {
  const gate = await startGated(t)
  const bulk = open(t, { port: gate.port, maxBufferedBytes: 64_000 })
  const fill = (bytes: number) => bulk.set('key', 'x'.repeat(bytes - wire('SET', 'key', 'x'.repeat(bytes)) + bytes))
  t.false(bulk.needsDrain)
  fill(5_000)
  t.is(bulk.length, 1)
  const executed = [bulk.exec()]
  fill(20_000)
  t.false(bulk.needsDrain, 'what is only appended does not count')
  bulk.discard()
  fill(3_000)
  executed.push(bulk.exec())
  t.false(bulk.needsDrain, 'exactly an eighth')
  bulk.set('k', '')
  executed.push(bulk.exec())
  t.true(bulk.needsDrain)

  let drained = false
  const drain = bulk.drain().then(() => (drained = true))
  await gate.holds(6)
  t.false(drained)
  gate.letGo(2)
  await executed[0]
  await drain
  t.false(bulk.needsDrain)
  gate.letGo(4)
  t.is((await Promise.all(executed)).length, 3)
})

test('drain resolves where there is nothing to wait for', async (t) => {
  const bulk = open(t, { port: NOWHERE })
  await bulk.drain()
  bulk.set('key', 'x'.repeat(1_000_000))
  t.is(await bulk.drain(), undefined)
})

// autoExec

test('by itself it executes at so many commands, and the next exec reports on them all', async (t) => {
  const bulk = open(t, { autoExec: { commands: 10 }, replies: 'collect' })
  await bulk.set('auto', 'x').exec()
  for (let round = 0; round < 2; round++) {
    for (let index = 0; index < 25; index++) {
      if ([3, 12, 24].includes(index)) bulk.lpush('auto', index)
      else bulk.echo(String(index))
    }
    t.is(bulk.length, 5)
    const { commands, failures, replies } = await bulk.exec()
    t.is(commands, 25)
    t.deepEqual(
      failures.map(({ index }) => index),
      [3, 12, 24],
    )
    t.deepEqual(
      replies?.map((reply) => (reply instanceof Error ? 'error' : reply)),
      Array.from({ length: 25 }, (_, index) => ([3, 12, 24].includes(index) ? 'error' : String(index))),
    )
  }
  t.is((await bulk.sync()).batches, 1 + 2 * 3)
})

test('by itself it executes at so many bytes', async (t) => {
  for (const [autoExec, bytes] of [
    [true, 65_536],
    [{ bytes: 1_000 }, 1_000],
  ] as const) {
    const bulk = open(t, { autoExec })
    const each = wire('SET', 'auto:bytes', 'x'.repeat(100))
    const needed = Math.ceil(bytes / each)
    for (let count = 1; count < needed; count++) bulk.set('auto:bytes', 'x'.repeat(100))
    t.is(bulk.length, needed - 1)
    bulk.set('auto:bytes', 'x'.repeat(100))
    t.is(bulk.length, 0)
    t.is((await bulk.exec()).succeeded, needed)
  }
})

test('by itself it executes after so long', async (t) => {
  const bulk = open(t, { autoExec: { ms: 20 } })
  bulk.set('auto:ms', 1).set('auto:ms', 2)
  t.is(bulk.length, 2)
  await until(async () => (await client.get('auto:ms')) === '2')
  t.is(bulk.length, 0)
  t.is((await bulk.set('auto:ms', 3).exec()).commands, 3)
})

test('an automatic batch that is given up is told by the next exec, with all that belongs to it', async (t) => {
  const bulk = open(t, { port: NOWHERE, retry: { attempts: 0 }, autoExec: { commands: 2 } })
  const given = once(bulk as never, 'error')
  bulk.set('a', 1).set('b', 2).set('c', 3)
  const [error] = await given
  t.is(error.code, 'RESPIPE_CONNECT')
  const told = await t.throwsAsync(bulk.exec(), { instanceOf: RespipeError, code: 'RESPIPE_CONNECT' })
  t.like(told.outcome, { commands: 3, failed: 3 })
  t.is((await bulk.exec()).commands, 0)
})

// whenFull

test('at the ceiling an append throws, appends nothing, and works again after drain', async (t) => {
  const bulk = open(t, { maxBufferedBytes: 10_000 })
  const each = wire('SET', 'full:000', 'x'.repeat(100))
  const fits = Math.floor(10_000 / each)
  const append = (number: number) => bulk.set(`full:${String(number).padStart(3, '0')}`, 'x'.repeat(100))
  for (let number = 0; number < fits; number++) append(number)
  for (const _ of [1, 2]) t.throws(() => append(fits), full)
  t.throws(() => bulk.hset('full:hash', { field: 'x'.repeat(100) }), full)
  t.throws(() => bulk.set('full:long', 'x'.repeat(10_000)), full)
  t.is(bulk.length, fits)
  void bulk.exec()
  await bulk.drain()
  append(fits)
  t.is((await bulk.exec()).succeeded, 1)
  const { commands, succeeded } = await bulk.sync()
  t.deepEqual({ commands, succeeded }, { commands: fits + 1, succeeded: fits + 1 })
  t.is(await client.exists('full:hash', 'full:long', 'full:000'), 1)
})

// In processes of their own: whoever waits keeps the thread from all other tests.

test('at the ceiling an append waits where it is told to', async (t) => {
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { maxBufferedBytes: 100_000, whenFull: 'block' })
    for (let number = 0; number < 20_000; number++) {
      bulk.rpush('block', number + ':' + 'x'.repeat(100))
      if (number % 100 === 99) void bulk.exec()
    }
    console.log((await bulk.sync()).succeeded)
  `
  const { stdout, stderr } = await runScript({ source }, { args: [server.url] })
  t.deepEqual([stdout, stderr], ['20000\n', ''])
  t.is(await client.llen('block'), 20_000)
})

test('where waiting cannot help, an append throws all the same', async (t) => {
  // It accepts, and never says a word.
  const silent = await scriptedFor(t, { silent: true })
  const source = `
    import assert from 'node:assert'
    import { bulkPipeline } from './index.js'
    const [, url, silent] = process.argv
    const full = { code: 'RESPIPE_BUFFER_FULL' }
    const block = { maxBufferedBytes: 10_000, whenFull: 'block' }
    const idle = bulkPipeline(url, block)
    idle.set('key', 'x'.repeat(9_000))
    assert.throws(() => idle.set('key', 'x'.repeat(2_000)), { ...full, message: /exec\\(\\)/ })
    assert.equal(idle.length, 1)

    // Given up while the append waits: the only thing that ends it, and long after its begin.
    const lost = bulkPipeline(silent, { ...block, connectTimeoutMs: 1_000, retry: { attempts: 0, firstConnect: 0 } })
    const executed = lost.set('key', 'x'.repeat(9_000)).exec()
    assert.throws(() => lost.set('key', 'x'.repeat(2_000)), full)
    await assert.rejects(executed, { code: 'RESPIPE_CONNECT' })
    assert.equal(lost.set('key', 'x'.repeat(2_000)).length, 1)
  `
  const { code, stderr } = await runScript({ source }, { args: [server.url, silent.url] })
  t.deepEqual([code, stderr], [0, ''])
})

test('an append that waits throws once only replies that nobody has taken are in its way', async (t) => {
  await client.set('full:big', 'x'.repeat(8_000))
  const source = `
    import assert from 'node:assert'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { maxBufferedBytes: 10_000, whenFull: 'block', replies: 'collect' })
    const replies = bulk.get('full:big').get('full:big').exec()
    const full = { code: 'RESPIPE_BUFFER_FULL', message: /event loop/ }
    assert.throws(() => bulk.set('key', 'x'.repeat(9_940)), full)
    assert.equal((await replies).replies.length, 2)
    assert.equal(bulk.set('key', 'x'.repeat(9_940)).length, 1)
  `
  const { code, stderr } = await runScript({ source }, { args: [server.url] })
  t.deepEqual([code, stderr], [0, ''])
})

test('a server that stands still takes no more than the ceiling, and is given up', async (t) => {
  const stopped = await serverFor(t)
  const { port } = stopped
  const patient = open(t, { port, maxBufferedBytes: 1 << 20, stallTimeoutMs: 600_000 })
  const lost = open(t, { port, stallTimeoutMs: 1_000, retry: { attempts: 0 } })
  for (const bulk of [patient, lost]) await bulk.set('first', 1).exec()
  await stopped.kill('SIGSTOP')

  const append = () => patient.set('key', 'x'.repeat(1_000))
  for (let index = 0; index < 500; index++) append()
  const executed = patient.exec()
  t.throws(() => {
    for (;;) append()
  }, full)
  const { length } = patient
  for (let index = 0; index < 100; index++) t.throws(append, full)
  t.is(patient.length, length)

  const { outcome } = await t.throwsAsync<RespipeError>(lost.set('a', 1).exec(), { code: 'RESPIPE_STALLED' })
  t.like(outcome, { commands: 1, unknown: 1 })
  await stopped.kill('SIGCONT')
  t.is((await executed).succeeded, 500)
  t.is((await patient.exec()).succeeded, length)
})

// onNull

for (const [shape, fields] of [
  ['an object', { a: 1, none: null, missing: undefined }],
  ['a Map', new Map(Object.entries({ a: 1, none: null, missing: undefined }))],
] as const) {
  test(`empty fields of ${shape} are refused, left out or sent empty`, async (t) => {
    const bulk = open(t)
    t.throws(() => bulk.hset('null', fields), { code: 'RESPIPE_INVALID_ARGUMENT', message: /none.*null.*onNull/ })
    t.is(bulk.length, 0)
    for (const [onNull, wanted] of [
      ['skip', { a: '1' }],
      ['empty', { a: '1', none: '', missing: '' }],
    ] as const) {
      const key = `null:${shape}:${onNull}`
      await open(t, { onNull }).hset(key, fields).exec()
      t.deepEqual(await client.hgetall(key), wanted)
    }
    const skips = open(t, { onNull: 'skip' })
    t.throws(() => skips.hset('null', { none: null }), { code: 'RESPIPE_INVALID_ARGUMENT', message: /no fields/ })
    t.throws(() => skips.set('null', null as never), { code: 'RESPIPE_INVALID_ARGUMENT' }, 'an argument is no field')
  })
}

// transaction

test('a transaction wraps each batch, and is not counted itself', async (t) => {
  const scripted = await scriptedFor(t, {})
  const bulk = open(t, { port: scripted.port, transaction: true })
  const bytes = wire('SET', 'a', '1') + wire('SET', 'b', '2')
  const batches = [bulk.set('a', 1).set('b', 2).exec(), bulk.set('a', 1).set('b', 2).exec(), bulk.exec()]
  t.deepEqual(await Promise.all(batches), [success(2, bytes), success(2, bytes), success(0, 0)])
  const names = scripted.commands.map(([name]) => name)
  t.deepEqual(
    names.slice(names.indexOf('MULTI')).filter((name) => name !== 'ECHO'),
    ['MULTI', 'SET', 'SET', 'EXEC', 'MULTI', 'SET', 'SET', 'EXEC'],
  )
})

test('a command refused by EXEC alone fails alone', async (t) => {
  const bulk = open(t, { transaction: true, replies: 'collect' })
  bulk.set('tx', 'x').lpush('tx', 1).incr('tx:count')
  const { succeeded, errors, failures, replies } = await bulk.exec()
  t.deepEqual({ succeeded, errors }, { succeeded: 2, errors: { WRONGTYPE: 1 } })
  t.deepEqual(
    failures.map(({ index, command, code }) => [index, command, code]),
    [[1, 'LPUSH', 'WRONGTYPE']],
  )
  t.is(replies?.[0], 'OK')
  t.like(replies?.[1], { code: 'WRONGTYPE' })
  t.is(replies?.[2], 1)
})

test('a transaction with a command that cannot be queued does nothing', async (t) => {
  const bulk = open(t, { transaction: true, replies: 'collect' })
  bulk.set('aborted:1', 1).call('NO.SUCH').set('aborted:2', 2)
  const { commands, succeeded, failed, errors, failures, replies } = await bulk.exec()
  t.deepEqual({ commands, succeeded, failed }, { commands: 3, succeeded: 0, failed: 3 })
  t.deepEqual(errors, { ERR: 1, EXECABORT: 2 })
  const codes = ['EXECABORT', 'ERR', 'EXECABORT']
  const byIndex = failures.toSorted((a, b) => a.index - b.index)
  t.deepEqual(
    byIndex.map(({ index, code }) => [index, code]),
    codes.map((code, index) => [index, code]),
  )
  t.deepEqual(
    replies?.map((reply) => (reply as { code?: string }).code),
    codes,
  )
  t.is(await client.exists('aborted:1', 'aborted:2'), 0)
  t.is((await bulk.set('aborted:3', 3).exec()).succeeded, 1)
})

// Events

test('every failure is told, beyond maxFailures too', async (t) => {
  const bulk = open(t, { maxFailures: 3 })
  await bulk.set('heard', 'x').exec()
  const heard: CommandFailure[] = []
  const listener = (failure: CommandFailure) => heard.push(failure)
  t.is(bulk.on('failure', listener), bulk)
  for (let index = 0; index < 1_000; index++) bulk.lpush('heard', index)
  const { failures } = await bulk.exec()
  t.deepEqual(
    heard.map(({ index }) => index),
    Array.from({ length: 1_000 }, (_, index) => index),
  )
  t.deepEqual(heard.slice(0, 3), failures)

  bulk.off('failure', listener).once('failure', listener)
  await bulk.lpush('heard', 1).lpush('heard', 2).exec()
  t.is(heard.length, 1_001)
})

test('listeners that come after removeAllListeners are heard', async (t) => {
  const bulk = open(t)
  let heard = 0
  const emitter = bulk as unknown as NodeJS.EventEmitter
  for (const events of [[], ['failure'], ['newListener']]) {
    emitter.on('failure', () => t.fail())
    if (events[0] === 'newListener') emitter.removeAllListeners('failure')
    t.is(emitter.removeAllListeners(...events), emitter)
    bulk.once('failure', () => heard++)
    await bulk.call('NO.SUCH').exec()
  }
  t.is(heard, 3)
})

test('another connection is told, with its address', async (t) => {
  const proxy = await proxyFor(t, server)
  const bulk = open(t, { port: proxy.port })
  const heard: unknown[] = []
  bulk.on('reconnect', (info) => heard.push(info))
  await bulk.set('reconnect', 1).exec()
  t.deepEqual(heard, [])
  proxy.resetAll()
  await until(() => !bulk.stats().connected)
  t.is((await bulk.set('reconnect', 2).exec()).succeeded, 1)
  t.deepEqual(heard, [{ reason: 'lost', address: `127.0.0.1:${proxy.port}` }])
  t.is((await bulk.sync()).reconnects, 1)
})

test('an error is told only where work is given up', async (t) => {
  const quiet = open(t, { port: NOWHERE, retry: { attempts: 0 } })
  await t.throwsAsync(quiet.set('key', 1).exec(), { code: 'RESPIPE_CONNECT' })

  const bulk = open(t, { port: NOWHERE, retry: { attempts: 0 } })
  const heard: string[] = []
  bulk.on('error', (error) => heard.push(error.code))
  await t.throwsAsync(bulk.set('key', 1).exec(), { code: 'RESPIPE_CONNECT' })
  await bulk.exec()
  t.deepEqual(heard, ['RESPIPE_CONNECT'])

  const fine = open(t)
  fine.on('error', () => t.fail())
  t.is((await fine.call('NO.SUCH').exec()).failed, 1)
})

test('what a listener throws goes where Node.js sends it, and the load goes on', async (t) => {
  const source = `
    import { bulkPipeline } from './index.js'
    if (process.argv[2]) process.on('uncaughtException', ({ message }) => console.log(message))
    const bulk = bulkPipeline(process.argv[1])
    bulk.on('failure', ({ index }) => { throw new Error('listener ' + index) })
    bulk.call('NO.SUCH').call('NO.SUCH')
    console.log((await bulk.exec()).failed)
    await bulk.close()
  `
  const caught = await runScript({ source }, { args: [server.url, 'caught'] })
  t.is(caught.stdout, 'listener 0\nlistener 1\n2\n')
  t.is(caught.code, 0)
  const fatal = await runScript({ source }, { args: [server.url] })
  t.regex(fatal.stderr, /Error: listener 0/)
  t.is(fatal.code, 1)
})

/** A server that keeps its replies to SET, and to all that follows, until they are let go. */
async function startGated(t: ExecutionContext) {
  const held: [Socket, string][] = []
  let arrived = 0
  const scripted = await scriptedFor(t, ([name, nonce = ''], socket) => {
    if (name !== 'SET' && arrived === 0) return undefined
    arrived++
    held.push([socket, name === 'SET' ? resp.ok : resp.bulk(nonce)])
    return null
  })
  return {
    port: scripted.port,
    async holds(count: number) {
      await until(() => held.length >= count)
    },
    letGo(count: number) {
      for (const [socket, bytes] of held.splice(0, count)) socket.write(bytes)
    },
  }
}

test('a threshold of automatic execution is lowered only where the ceiling would be reached first', async (t) => {
  const grow = (options: BulkPipelineOptions) => {
    const bulk = open(t, options)
    let longest = 0
    for (let index = 0; index < 900; index++) {
      bulk.set('key', 'x'.repeat(1_000))
      longest = Math.max(longest, bulk.length)
    }
    return longest
  }
  const maxBufferedBytes = 1 << 20
  t.is(grow({ maxBufferedBytes, autoExec: { bytes: 800_000 } }), Math.ceil(800_000 / 1_031) - 1)
  t.is(grow({ maxBufferedBytes, autoExec: { commands: 100_000 } }), 900)
  t.is(grow({ maxBufferedBytes, autoExec: { bytes: 1 << 20 } }), Math.ceil((1 << 19) / 1_031) - 1)
})

test('the pieces of a command that repeat may be an array, wherever they stand', async (t) => {
  const bulk = open(t, { replies: 'collect' }) as unknown as Record<string, (...args: unknown[]) => unknown> & {
    exec(): Promise<{ replies: unknown[] }>
  }
  bulk['geoadd']?.('geo:array', [8.5, 47.3, 'Zürich', 7.4, 46.9, 'Bern'])
  bulk['zadd']?.('z:array', { a: 1 })
  bulk['zunionstore']?.('z:union', 2, ['z:array', 'z:none'])
  t.deepEqual((await bulk.exec()).replies, [2, 1, 1])
})
