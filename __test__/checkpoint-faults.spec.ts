// Exactly once: every batch is a transaction that says how far the load is. Counters end at what was asked for, whatever
// happens in between; where that cannot be, it is told.
import test, { type ExecutionContext } from './helpers/test.ts'
import { inspect } from 'node:util'
import type { BulkPipelineOptions } from '../index.js'
import { startProgram } from './helpers/command.ts'
import { survivesClientKills, survivesKills } from './helpers/exact.ts'
import { areDone, clientOf, increments, proxyFor, serverFor, sets } from './helpers/loads.ts'
import { bulkFor, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'

const KEY = 'progress'

function exactFor(t: ExecutionContext, { port }: { port: number }, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port, checkpoint: KEY, ...options })
}

/** A stall must come where it is wanted; on a busy machine one may come in the login too, which is then tried again. */
const PATIENT = { firstConnect: 100_000 }

test('what the key holds is one number more for each batch, and lastCheckpoint() tells it', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = exactFor(t, server)
  t.is(await bulk.lastCheckpoint(), null)
  for (let batch = 1; batch <= 5; batch++) {
    areDone(t, 'checkpoint', await resolution(t, increments(bulk, 10, 'n').exec()))
    t.like(await bulk.lastCheckpoint(), { batch })
    t.like(await client.hgetall(KEY), { batch: String(batch) })
  }
  const summary = await bulk.close()
  // MULTI, EXEC and the checkpoint are not counted.
  t.like(summary, { commands: 50, succeeded: 50, batches: 5, reconnects: 0, resent: 0 })
})

test('a batch of nothing is no batch', async (t) => {
  const server = await serverFor(t)
  const bulk = exactFor(t, server)
  await bulk.exec()
  await increments(bulk, 1, 'n').exec()
  await bulk.exec()
  t.is(await clientOf(t, server).get('n'), '1')
  t.like(await bulk.close(), { commands: 1, succeeded: 1 })
})

// Losses

test('fault 9, checkpoint: kill -9 in mid-load, three times: counters are exact', async (t) => {
  await survivesKills(t, 3, { batches: 100, size: 100, seed: 27 })
})

test('fault 9, checkpoint: CLIENT KILL in mid-load, again and again: counters are exact', async (t) => {
  await survivesClientKills(t, 10, { batches: 50, size: 100, seed: 28 })
})

test('fault 9, checkpoint: FIN and RST at any byte, either way: counters are exact', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const random = randomNumbers(29)
  const bulk = exactFor(t, proxy)
  await increments(bulk, 1, 'n').exec()
  let count = 1
  let cuts = 0
  for (let round = 0; round < 80; round++) {
    const direction = random(2) === 0 ? 'up' : 'down'
    const cut = proxy[random(2) === 0 ? 'resetAfter' : 'finAfter'](
      1 + random(direction === 'up' ? 4_000 : 1_500),
      direction,
    )
    const commands = 1 + random(200)
    count += commands
    areDone(t, 'checkpoint', await resolution(t, increments(bulk, commands, 'n').exec()))
    if (cut.hasHappened) cuts++
    await proxy.heal()
  }
  t.true(cuts > 20, String(cuts))
  const client = clientOf(t, server)
  t.is(await client.get('n'), String(count))
  t.is(await client.hget(KEY, 'batch'), '81')
  await bulk.close()
})

test('fault 9, checkpoint: done, and nobody heard: the key shows that it was, and it is not done again', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const bulk = exactFor(t, proxy)
  await increments(bulk, 1, 'n').exec()
  proxy.swallowReplies()
  const result = increments(bulk, 100, 'n').exec()
  await until(async () => (await client.get('n')) === '101')
  proxy.resetAll()
  await proxy.heal()
  const outcome = await resolution(t, result)
  areDone(t, 'checkpoint', outcome)
  t.is(await client.get('n'), '101')
  t.is(bulk.stats().resent, 0)
})

test('fault 9, checkpoint: so it is with the replies collected, which are lost', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  const bulk = exactFor(t, proxy, { replies: 'collect' })
  await increments(bulk, 1, 'n').exec()
  proxy.swallowReplies()
  const result = increments(bulk, 3, 'n').exec()
  await until(async () => (await client.get('n')) === '4')
  proxy.resetAll()
  await proxy.heal()
  const outcome = await resolution(t, result)
  t.is(outcome.replies?.length, 3)
  t.is(outcome.failed, 0)
  t.is(await client.get('n'), '4')
})

test('fault 11, checkpoint: a server that stops and goes on does nothing twice', async (t) => {
  const server = await serverFor(t)
  const bulk = exactFor(t, server, { stallTimeoutMs: 400, retry: PATIENT })
  await increments(bulk, 1, 'n').exec()
  for (let round = 0; round < 2; round++) {
    await server.kill('SIGSTOP')
    const results = Array.from({ length: 20 }, () => increments(bulk, 100, 'n').exec())
    await until(() => bulk.stats().inFlightBytes > 0)
    await until(() => !bulk.stats().connected)
    await server.kill('SIGCONT')
    for (const result of results) areDone(t, 'checkpoint', await resolution(t, result))
  }
  t.is(await clientOf(t, server).get('n'), '4001')
})

for (const [what, saved] of [
  ['some of', 3],
  ['all', 0],
] as const) {
  test(`fault 16, checkpoint: a server that lost ${what} what it had confirmed: nothing is done out of turn`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = exactFor(t, server)
    for (let batch = 1; batch <= 5; batch++) {
      await increments(bulk, 10, 'n').exec()
      if (batch === saved) await client.save()
    }
    await server.kill('SIGKILL')
    // What is not even sent has certainly failed.
    await until(() => !bulk.stats().connected)
    await server.restart()
    const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_REFUSED')
    const told = new RegExp(
      `checkpoint progress: the server holds ${saved} batches of this load, and had confirmed 5: it lost data`,
    )
    t.regex(error.message, told)
    t.deepEqual([error.outcome.failed, error.outcome.unknown], [10, 0])
    t.is(Number(await client.get('n')), 10 * saved)
    // The source goes back to what the server holds, with another pipeline.
    const again = exactFor(t, server)
    t.is((await again.lastCheckpoint())?.batch ?? 0, saved)
    for (let batch = saved; batch < 6; batch++) await increments(again, 10, 'n').exec()
    t.is(await client.get('n'), '60')
    t.like(await again.lastCheckpoint(), { batch: 6 })
  })
}

test('fault 22, checkpoint: a connection for every third batch: counters are exact', async (t) => {
  const server = await serverFor(t)
  const bulk = exactFor(t, server, { reconnectEvery: 3 })
  for (let batch = 0; batch < 60; batch++) void increments(bulk, 100, 'n').exec()
  const summary = await resolution(t, bulk.close())
  areDone(t, 'checkpoint', summary)
  t.true(summary.reconnects >= 19, inspect(summary))
  t.is(await clientOf(t, server).get('n'), '6000')
})

test('fault 24, checkpoint: a process that is killed, and the next one that goes on from the checkpoint', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]), checkpoint: 'progress' })
    const { batch } = (await bulk.lastCheckpoint()) ?? { batch: 0 }
    for (let next = batch; next < 200; next++) {
      for (let i = 0; i < 100; i++) bulk.incr('n')
      void bulk.exec()
    }
    await bulk.close()
  `
  for (const nth of [2_050, 7_020, 0]) {
    const proxy = await proxyFor(t, server)
    const args = ['--input-type=module', '--eval', source, '--', String(proxy.port)]
    const loader = startProgram(t, process.execPath, args)
    const killed = nth > 0 ? proxy.at({ command: 'INCR', nth }, () => loader.child.kill('SIGKILL')) : undefined
    const { code, stderr } = await loader.ended
    t.is(code, killed ? null : 0, stderr)
    t.true(killed?.hasHappened ?? true)
    // What has passed the proxy is done, or never will be.
    await until(() => proxy.open === 0)
    const batch = Number(await client.hget(KEY, 'batch'))
    if (killed) t.true(batch > 0 && batch < 200, String(batch))
    t.is(Number(await client.get('n')), 100 * batch)
  }
  t.is(await client.get('n'), '20000')
  t.is(await client.hget(KEY, 'batch'), '200')
})

// Refusals

test('fault 12, checkpoint: a command that is refused when it runs is told, and the others are done', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.set('text', 'x')
  const bulk = exactFor(t, server)
  const outcome = await resolution(t, bulk.incr('n').lpush('text', 1).incr('n').exec())
  t.like(outcome, { commands: 3, succeeded: 2, failed: 1, unknown: 0 })
  t.deepEqual(
    outcome.failures.map(({ index, command, code }) => [index, command, code]),
    [[1, 'LPUSH', 'WRONGTYPE']],
  )
  t.is(await client.get('n'), '2')
  t.is(await client.hget(KEY, 'batch'), '1')
})

test('fault 12, checkpoint: a batch with a command that is not even queued is done without it', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const bulk = exactFor(t, server, { replies: 'collect' })
  bulk.incr('n').call('NO.SUCH', 'x').incr('n').call('GET', 'too', 'many').incr('n')
  const outcome = await resolution(t, bulk.exec())
  t.like(outcome, { commands: 5, succeeded: 3, failed: 2 })
  t.deepEqual(
    outcome.failures.map(({ index, command, code }) => [index, command, code]),
    [
      [1, 'NO.SUCH', 'ERR'],
      [3, 'GET', 'ERR'],
    ],
  )
  t.deepEqual(
    outcome.replies?.map((reply) => (reply instanceof Error ? 'error' : reply)),
    [1, 'error', 2, 'error', 3],
  )
  t.is(await client.get('n'), '3')
  t.is(await client.hget(KEY, 'batch'), '1')
  areDone(t, 'checkpoint', await resolution(t, increments(bulk, 5, 'n').exec()))
})

test('fault 30, checkpoint: a user who loses a permission: what is not permitted is told, the rest is done', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.acl('SETUSER', 'loader', 'on', '>password', '~*', '+@all')
  const bulk = exactFor(t, server, { username: 'loader', password: 'password' })
  await increments(bulk, 5, 'n').exec()
  await client.acl('SETUSER', 'loader', '-incr')
  sets(increments(bulk, 5, 'n'), 5, 'key')
  const outcome = await resolution(t, bulk.exec())
  t.like(outcome, { succeeded: 5, failed: 5 })
  t.deepEqual(outcome.errors, { NOPERM: 5 })
  t.is(await client.get('n'), '5')
  t.is(await client.hget(KEY, 'batch'), '2')
})

test('fault 13, checkpoint: once retry is used up, nothing of the batch is done, and it is not passed over', async (t) => {
  const server = await serverFor(t, '--maxmemory-policy', 'noeviction')
  const client = clientOf(t, server)
  const bulk = exactFor(t, server, { retry: { attempts: 2 } })
  await increments(bulk, 10, 'n').exec()
  await client.config('SET', 'maxmemory', '1')
  const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /OOM/)
  t.deepEqual([error.outcome.succeeded, error.outcome.failed, error.outcome.unknown], [0, 10, 0])
  t.is(await client.get('n'), '10')
  t.is(await client.hget(KEY, 'batch'), '1')
  await client.config('SET', 'maxmemory', '0')
  areDone(t, 'checkpoint', await resolution(t, increments(bulk, 10, 'n').exec()))
  t.is(await client.get('n'), '20')
  t.like(await bulk.lastCheckpoint(), { batch: 2 })
})

// Whose key it is

test('a key that holds something else is refused, and left as it is', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.set(KEY, 'text')
  const error = await rejection(t, increments(exactFor(t, server), 10, 'n').exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /checkpoint progress: the key holds something else/)
  t.is(await client.get(KEY), 'text')
  t.is(await client.exists('n'), 0)
})

test("another load's progress is not taken for this one's, unless it is asked for", async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const first = exactFor(t, server)
  for (let batch = 0; batch < 3; batch++) await increments(first, 10, 'n').exec()
  await first.close()
  const run = await client.hget(KEY, 'run')

  const other = exactFor(t, server)
  await increments(other, 10, 'n').exec()
  t.is(await client.hget(KEY, 'batch'), '1')
  const fresh = await client.hget(KEY, 'run')
  t.not(fresh, run)
  await other.close()

  const next = exactFor(t, server)
  t.like(await next.lastCheckpoint(), { batch: 1 })
  await increments(next, 10, 'n').exec()
  t.is(await client.hget(KEY, 'run'), fresh)
  t.like(await next.lastCheckpoint(), { batch: 2 })
})

test('a pipeline whose key another one has taken over does nothing more', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const first = exactFor(t, server)
  await increments(first, 10, 'n').exec()
  const second = exactFor(t, server)
  t.like(await second.lastCheckpoint(), { batch: 1 })
  const error = await rejection(t, increments(first, 10, 'n').exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /another pipeline has taken it over/)
  areDone(t, 'checkpoint', await resolution(t, increments(second, 10, 'n').exec()))
  t.is(await client.get('n'), '20')
})

const UNABLE = ['SETUSER', 'loader', 'on', '>password', '~*', '+@all', '-client|kill']

test('a connection before that cannot be ended is refused', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.call('ACL', ...UNABLE)
  const bulk = exactFor(t, server, { username: 'loader', password: 'password', stallTimeoutMs: 500, retry: PATIENT })
  // Connected, and nothing was executed yet that could be taken for a stall.
  t.is(await bulk.lastCheckpoint(), null)
  await server.kill('SIGSTOP')
  const result = increments(bulk, 10, 'n').exec()
  await until(() => bulk.stats().inFlightBytes > 0)
  await until(() => !bulk.stats().connected)
  await server.kill('SIGCONT')
  const error = await rejection(t, result, 'RESPIPE_AUTH')
  t.regex(error.message, /client\|kill/)
  const { succeeded, failed, unknown } = error.outcome
  // Before the first MULTI of a connection is answered, nothing follows it.
  t.deepEqual([succeeded, failed, unknown], [0, 10, 0])
  t.is(await client.exists('n'), 0)
})

test('so is one whose last batch nobody knows of', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.call('ACL', ...UNABLE)
  const proxy = await proxyFor(t, server)
  const bulk = exactFor(t, proxy, { username: 'loader', password: 'password' })
  await increments(bulk, 10, 'n').exec()
  const garbled = proxy.at({ command: 'EXEC' }, () => proxy.garbage('?\r\n'))
  const { outcome } = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_PROTOCOL')
  t.true(garbled.hasHappened)
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown], [0, 0, 10])
  const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_AUTH')
  t.regex(error.message, /client\|kill/)
  t.deepEqual([error.outcome.succeeded, error.outcome.failed, error.outcome.unknown], [0, 10, 0])
  await until(() => proxy.open === 0)
  t.true(['10', '20'].includes((await client.get('n'))!))
})
