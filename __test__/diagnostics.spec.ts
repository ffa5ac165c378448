// What pipelines tell on the channels of node:diagnostics_channel. One test at a time: the channels are the process's.
import test, { type ExecutionContext } from './helpers/test.ts'
import { AsyncLocalStorage } from 'node:async_hooks'
import { channel, tracingChannel } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import { inspect } from 'node:util'

import type { ExecTrace, FailureTrace, ReconnectTrace } from '../index.js'
import { serverWith } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const execs = tracingChannel<string, ExecTrace>('respipe:exec')
const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'] as const

/** What comes on the trace until the test is over: the names of events, each with its object. */
function traced(t: ExecutionContext) {
  const heard: [(typeof EVENTS)[number], ExecTrace][] = []
  const subscribers = Object.fromEntries(
    EVENTS.map((event) => [event, (trace: unknown) => void heard.push([event, trace as ExecTrace])]),
  ) as Record<(typeof EVENTS)[number], (trace: unknown) => void>
  for (const event of EVENTS) execs[event].subscribe(subscribers[event])
  t.teardown(() => EVENTS.forEach((event) => execs[event].unsubscribe(subscribers[event])))
  return heard
}

/** Messages of a channel until the test is over, or until it is stopped. */
function messages<T>(t: ExecutionContext, name: string) {
  const heard: T[] = []
  const subscriber = (message: unknown) => void heard.push(message as T)
  channel(name).subscribe(subscriber)
  const stop = () => channel(name).unsubscribe(subscriber)
  t.teardown(stop)
  return { heard, stop }
}

test.serial('an exec is a trace with the server, the commands and the counts', async (t) => {
  const heard = traced(t)
  const bulk = bulkFor(t, { port: server.port, db: 2, password: undefined, replies: 'collect' })
  const promise = bulk.set('key', 'a-value').lpush('key', 'x').get('key').exec()
  t.deepEqual(
    heard.map(([event]) => event),
    ['start', 'end'],
  )
  t.false('result' in heard[0]![1])
  const outcome = await resolution(t, promise)
  t.deepEqual(
    heard.map(([event]) => event),
    ['start', 'end', 'asyncStart', 'asyncEnd'],
  )
  const [, trace] = heard.at(-1)!
  t.true(heard.every(([, other]) => other === trace))
  const { bytes } = outcome
  t.deepEqual(trace, {
    serverAddress: '127.0.0.1',
    serverPort: server.port,
    database: 2,
    batchMode: 'PIPELINE',
    batchSize: 3,
    result: { commands: 3, succeeded: 2, failed: 1, unknown: 0, bytes, errors: { WRONGTYPE: 1 } },
  })
  t.deepEqual([outcome.failures.length, outcome.replies?.length], [1, 3])
  t.false(inspect(trace, { depth: 9 }).includes('a-value'))
})

test.serial('the execs of sync and close are traced, and those of a transaction say so', async (t) => {
  const heard = traced(t)
  const bulk = bulkFor(t, { port: server.port, transaction: true })
  await bulk.set('key', 'value').sync()
  await bulk.close()
  const ends = heard.filter(([event]) => event === 'asyncEnd').map(([, trace]) => trace)
  t.deepEqual(
    ends.map(({ batchMode, batchSize, result }) => [batchMode, batchSize, result?.commands]),
    [
      ['MULTI', 1, 1],
      ['MULTI', 0, 0],
    ],
  )
  const marked = bulkFor(t, { port: server.port, checkpoint: 'diagnostics' })
  await marked.set('key', 'value').exec()
  t.is(heard.at(-1)![1].batchMode, 'MULTI')
})

test.serial('an exec that rejects has the same error in its trace, and no password', async (t) => {
  const heard = traced(t)
  const { port } = await scriptedFor(t, ([name]) =>
    name === 'HELLO' || name === 'AUTH' ? '-WRONGPASS no\r\n' : undefined,
  )
  const bulk = bulkFor(t, { port, username: 'user', password: 'trace-secret' })
  const error = await rejection(t, bulk.set('key', 'value').exec(), 'RESPIPE_AUTH')
  t.deepEqual(
    heard.map(([event]) => event),
    ['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
  )
  t.is(heard.at(-1)![1].error, error)
  t.false(inspect(heard, { depth: 9, showHidden: true }).includes('trace-secret'))

  await bulk.close()
  await t.throwsAsync(bulk.exec(), { code: 'RESPIPE_CLOSED' })
  t.is(heard.at(-1)![1].error?.code, 'RESPIPE_CLOSED')
})

test.serial('a rejection that nobody handles is as quiet as without subscribers', async (t) => {
  traced(t)
  const unhandled: unknown[] = []
  const listener = (error: unknown) => void unhandled.push(error)
  process.on('unhandledRejection', listener)
  t.teardown(() => process.off('unhandledRejection', listener))
  const bulk = bulkFor(t, { port: 1, retry: { attempts: 0 } })
  void bulk.set('key', 'value').exec()
  await t.throwsAsync(async () => {
    for (;;) await bulk.exec()
  })
  // Node.js tells of it before the next turn.
  await turn()
  t.deepEqual(unhandled, [])
})

test.serial('a store bound to the trace is there while it lasts', async (t) => {
  const span = new AsyncLocalStorage<string>()
  execs.start.bindStore(span, ({ batchSize }) => `span of ${batchSize}`)
  t.teardown(() => execs.start.unbindStore(span))
  const seen: unknown[] = []
  const look = () => void seen.push(span.getStore())
  execs.end.subscribe(look)
  execs.asyncEnd.subscribe(look)
  t.teardown(() => [execs.end, execs.asyncEnd].forEach((event) => event.unsubscribe(look)))
  const bulk = bulkFor(t, { port: server.port })
  await bulk.set('key', 'value').exec()
  t.deepEqual(seen, ['span of 1', 'span of 1'])
  t.is(span.getStore(), undefined)
})

test.serial('without subscribers an exec is what it was, and one may come at any time', async (t) => {
  t.is(EVENTS.filter((event) => execs[event].hasSubscribers).length, 0)
  const bulk = bulkFor(t, { port: server.port })
  const before = bulk.set('key', 'value').exec()
  const heard = traced(t)
  await before
  t.deepEqual(heard, [])
  await bulk.set('key', 'value').exec()
  t.is(heard.length, 4)
})

test.serial('a reconnection is told with its reason and its server', async (t) => {
  const { heard } = messages<ReconnectTrace>(t, 'respipe:reconnect')
  const bulk = bulkFor(t, { port: server.port, reconnectEvery: 1, db: 1 })
  const listened: unknown[] = []
  bulk.on('reconnect', (info) => listened.push(info))
  // A connection has had its share with each of them.
  while (heard.length < 2) await bulk.set('key', 'value').exec()
  const address = `127.0.0.1:${server.port}`
  const told = { serverAddress: '127.0.0.1', serverPort: server.port, database: 1, reason: 'rotation', address }
  t.deepEqual(heard[0] as unknown, told)
  t.deepEqual(listened[0], { reason: 'rotation', address })
})

test.serial('a unix socket is an address without a port', async (t) => {
  const own = await serverWith(t, { unixSocket: true })
  const heard = traced(t)
  await bulkFor(t, { path: own.path! }).set('key', 'value').exec()
  const { serverAddress, serverPort } = heard[0]![1]
  t.deepEqual([serverAddress, serverPort], [own.path, undefined])
})

test.serial('a failure is told with its command, and listeners hear it too', async (t) => {
  const { heard } = messages<FailureTrace>(t, 'respipe:failure')
  await client.set('text', 'x')
  const bulk = bulkFor(t, { port: server.port, maxFailures: 0 })
  const listened: unknown[] = []
  bulk.on('failure', (failure) => listened.push(failure))
  await bulk.set('key', 'value').lpush('text', 'an-argument').exec()
  const [message] = heard
  t.deepEqual(message, {
    serverAddress: '127.0.0.1',
    serverPort: server.port,
    database: 0,
    failure: {
      index: 1,
      command: 'LPUSH',
      key: Buffer.from('text'),
      code: 'WRONGTYPE',
      message: 'WRONGTYPE Operation against a key holding the wrong kind of value',
    },
  })
  t.deepEqual(listened, [message?.failure])
  t.false(inspect(message, { depth: 9 }).includes('an-argument'))
})

test.serial('who subscribes to failures, and who leaves, is noticed with the next batch', async (t) => {
  await client.set('text', 'x')
  const bulk = bulkFor(t, { port: server.port })
  const automatic = bulkFor(t, { port: server.port, autoExec: { commands: 1 } })
  const timed = bulkFor(t, { port: server.port, autoExec: { ms: 1 } })
  await Promise.all([bulk, automatic, timed].map((pipeline) => pipeline.lpush('text', 'x').exec()))

  const { heard, stop } = messages<FailureTrace>(t, 'respipe:failure')
  await bulk.lpush('text', 'x').exec()
  t.is(heard.length, 1)
  // The first of these tells that somebody listens, at the latest.
  await automatic.lpush('text', 'x').lpush('text', 'x').sync()
  t.true(heard.length >= 2, String(heard.length))
  const before = heard.length
  timed.lpush('text', 'x')
  await until(() => heard.length === before + 1)

  stop()
  const listened: unknown[] = []
  await bulk.lpush('text', 'x').exec()
  bulk.on('failure', (failure) => listened.push(failure))
  await bulk.lpush('text', 'x').exec()
  t.is(listened.length, 1)
  bulk.removeAllListeners('failure')
  const again = messages<FailureTrace>(t, 'respipe:failure')
  await bulk.lpush('text', 'x').exec()
  t.is(again.heard.length, 1)
})

test.serial('a failure of a load is told with its row', async (t) => {
  const bulk = bulkFor(t, { port: server.port })
  await client.set('text', 'x')
  const { heard } = messages<FailureTrace>(t, 'respipe:failure')
  await bulk.load([{ id: 1 }, { id: 2 }], ['SET key {id}', 'LPUSH text {id}'])
  t.deepEqual(
    heard.map(({ failure }) => [failure.row, failure.code]),
    [
      [0, 'WRONGTYPE'],
      [1, 'WRONGTYPE'],
    ],
  )
})
