// Outcomes as people use them: made errors of, printed, and told where a load does nothing but fail.

import { inspect } from 'node:util'

import { rejection, until } from './helpers/outcomes.ts'
import { type Loose, pipelineFor } from './helpers/pipelines.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'
import test from './helpers/test.ts'

const { server, client } = await sharedServer()

test('throwIfFailed returns an outcome that succeeded, and throws any other', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const good = await bulk.set('good', 1).exec()
  t.is(good.throwIfFailed(), good)
  await client.set('string', 'x')
  const bad = await bulk.set('good', 2).lpush('string', 1).lpush('string', 2).exec()
  const error = t.throws(() => bad.throwIfFailed())!
  t.like(error, { code: 'RESPIPE_FAILED', name: 'RespipeError' })
  t.is((error as Error & { outcome: unknown }).outcome, bad)
  t.regex(
    error.message,
    /^of 3 commands 1 succeeded, 2 failed \(WRONGTYPE 2\), 0 unknown; the first to fail: LPUSH: WRONGTYPE /,
  )
  t.throws(() => bulk.stats().throwIfFailed(), { code: 'RESPIPE_FAILED' })
  t.throws(() => (bad as never as { throwIfFailed: () => void }).throwIfFailed(), { code: 'RESPIPE_FAILED' })
  const summary = await bulk.close()
  t.throws(() => summary.throwIfFailed(), { code: 'RESPIPE_FAILED' })
  t.false(Object.keys(summary).includes('throwIfFailed'))
})

test('with replies off nothing is known to have succeeded', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, replies: 'off' })
  const outcome = await bulk.set('off', 1).exec()
  t.throws(() => outcome.throwIfFailed(), { code: 'RESPIPE_FAILED', message: /1 unknown$/ })
})

test('a load has the method as well, and says what has failed', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const rows = Array.from({ length: 10 }, (_, id) => ({ id }))
  const summary = await bulk.load(rows, 'SET row:{id} {id}')
  t.is(summary.throwIfFailed(), summary)
  const failed = await bulk.load(rows, (row) => void bulk.call('SET', `row:${row.id}`))
  t.throws(() => failed.throwIfFailed(), { code: 'RESPIPE_FAILED', message: /10 failed \(ERR 10\)/ })
})

/** Loads that do nothing but fail, of more rows than may. */
const hopeless: Record<string, (bulk: Loose, rows: object[], options: object) => Promise<unknown>> = {
  'commands that do not exist': (bulk, rows, options) => bulk.load(rows, 'HSTE row:{id} a {id}', options),
  'rows without commands': (bulk, rows, options) => bulk.load(rows, 'SET {none} 1', options),
}

for (const [kind, load] of Object.entries(hopeless)) {
  test(`a load that does nothing but fail is given up, unless that is wanted: ${kind}`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const rows = Array.from({ length: 20_000 }, (_, id) => ({ id }))
    const { message, outcome } = await rejection(t, load(bulk, rows, {}), 'RESPIPE_TOO_MANY_FAILURES')
    t.regex(
      message,
      /^all of the first \d+ commands have failed with \w+ \(maxFailed: Infinity goes on all the same\)$/,
    )
    t.true(outcome.failed >= 1_000 && outcome.failed < 20_000, String(outcome.failed))
    t.like(await load(bulk, rows, { maxFailed: Infinity }), { commands: 20_000, failed: 20_000 })
  })
}

test('a load of which one command has succeeded goes on, whatever comes behind it', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const rows = Array.from({ length: 5_000 }, (_, id) => ({ id }))
  const mapper = ({ id }: { id: number }) => void (id === 0 ? bulk.set('first', 1) : bulk.call('SET', 'x'))
  t.like(await bulk.load(rows, mapper), { succeeded: 1, failed: 4_999 })
})

test('rows without commands among good ones do not end a load, though they are known sooner', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const rows = Array.from({ length: 6_000 }, (_, id) => (id % 2 === 0 ? { id } : {}))
  t.like(await bulk.load(rows, 'SET half:{id} 1'), { succeeded: 3_000, failed: 3_000 })
})

for (const [what, returned] of [
  ['an array', [['SET', 'a', 1]]],
  ['a boolean', false],
  ['null', null],
  ['an object', {}],
] as const) {
  test(`a mapper that returns ${what} is told what to do`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const error = await t.throwsAsync(bulk.load([{}], () => returned as never))
    t.like(error, { code: 'RESPIPE_UNSUPPORTED' })
    t.regex(
      error!.message,
      /^the mapper has returned .*, which does nothing: append the commands, as in bulk\.hset\(key, fields\)/,
    )
  })
}

test('a mapper may return nothing, or the pipeline', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  t.like(await bulk.load([{}, {}], () => bulk.incr('returned')), { succeeded: 2 })
  t.like(await bulk.load([{}, {}], () => void bulk.incr('returned')), { succeeded: 2 })
})

test('the reason of an abort is the cause of whatever it rejects', async (t) => {
  let isDeaf = false
  const deaf = await scriptedFor(t, ([name]) => {
    isDeaf ||= name === 'SET'
    return isDeaf ? null : undefined
  })
  const reason = new Error('the job is over')
  const controller = new AbortController()
  const bulk = pipelineFor(t, { port: deaf.port, signal: controller.signal })
  const loaded = bulk.load([{ id: 1 }], 'SET {id} 1')
  const executed = bulk.set('a', 1).exec()
  await until(() => deaf.commands.some(([name]) => name === 'SET'))
  controller.abort(reason)
  t.is((await rejection(t, executed, 'RESPIPE_ABORTED')).cause, reason)
  t.is((await rejection(t, loaded, 'RESPIPE_ABORTED')).cause, reason)
  t.is(t.throws(() => bulk.set('b', 1))!.cause, reason)
  t.is((await t.throwsAsync(bulk.exec()))!.cause, reason)
  t.is((await t.throwsAsync(bulk.drain()))!.cause, reason)
  const late = pipelineFor(t, { port: deaf.port, signal: AbortSignal.abort(reason) })
  t.is((await t.throwsAsync(late.exec()))!.cause, reason)
  const ofLoad = pipelineFor(t, { port: server.port })
  const aborted = ofLoad.load([{ id: 1 }], 'SET {id} 1', { signal: AbortSignal.abort(reason) })
  t.is((await rejection(t, aborted, 'RESPIPE_ABORTED')).cause, reason)
})

test('an error that nobody catches fits on a screen, with the counts in its message', async (t) => {
  await client.set('string', 'x')
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]) })
    for (let i = 0; i < 100; i++) bulk.lpush('string', i)
    const outcome = await bulk.exec()
    outcome.throwIfFailed()
  `
  const { code, stderr } = await runScript({ source }, { args: [String(server.port)] })
  t.is(code, 1)
  t.regex(stderr, /RespipeError: of 100 commands 0 succeeded, 100 failed \(WRONGTYPE 100\), 0 unknown/)
  t.true(stderr.split('\n').length < 40, stderr)

  const nobody = pipelineFor(t, { port: 1, retry: { attempts: 0 } })
  for (let i = 0; i < 1_000; i++) nobody.set(`key:${i}`, i)
  const error = await rejection(t, nobody.exec(), 'RESPIPE_CONNECT')
  t.regex(error.message, /\(of 1000 commands 0 succeeded, 1000 failed \(RESPIPE_CONNECT 1000\), 0 unknown\)$/)
  t.is(error.outcome.failures.length, 100)
  t.true(inspect(error, { customInspect: false }).split('\n').length < 40)
})
