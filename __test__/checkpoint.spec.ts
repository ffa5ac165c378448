// `checkpoint`: each batch is done once, whatever happens between, and whoever goes on.
import test, { type ExecutionContext } from './helpers/test.ts'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { spawnKept } from './helpers/children.ts'
import {
  AOF,
  append,
  checkpointed,
  COMMANDS,
  cutEach,
  isExactlyOnce,
  KEY,
  loads,
  survivesCuts,
} from './helpers/exact.ts'
import { proxyFor, watchedFor } from './helpers/loads.ts'
import { bulkFor, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import type { Fault, FaultProxy, Position } from './helpers/proxy.ts'

const CUTS = 50

const serverFor = (t: ExecutionContext, ...args: string[]) => watchedFor(t, { args })

// ---- The connection, or the server, is lost ----

/** The first MULTI of a connection has to be answered before the rest of its batch is sent. */
const OK = '+OK\r\n'.length

/**
 * Of the replies to the next batch, only the first and so many bytes more come through: it is cut off once the server is
 * done with it.
 */
function loseReplies(proxy: FaultProxy, bytes: number, isDone: () => Promise<boolean>): Fault {
  const swallowed = proxy.at({ bytes: OK + bytes, direction: 'down' }, 'swallow')
  return proxy.at({ command: 'EXEC' }, async (link) => {
    await swallowed.happened
    await until(isDone)
    link.cut('reset')
    await proxy.heal()
  })
}

for (const [direction, seed] of [
  ['up', 7],
  ['down', 8],
] as const) {
  test(`cut at any byte ${direction}, each batch is done once`, async (t) => {
    await survivesCuts(t, { count: CUTS, direction, seed })
  })
}

test('where only replies are lost, the server shows that all was done, and nothing is sent again', async (t) => {
  const { client, port } = await serverFor(t)
  const proxy = await proxyFor(t, { port })
  const random = randomNumbers(12)
  const bulk = checkpointed(t, { port: proxy.port })
  await loads(t, bulk, 1, 1)
  for (let batch = 2; batch <= 21; batch++) {
    const lost = loseReplies(proxy, random(60), async () => (await client.llen('list')) === batch)
    await loads(t, bulk, batch, batch)
    t.true(lost.hasHappened)
  }
  await isExactlyOnce(t, client, 21)
  t.like(await bulk.close(), { succeeded: 21 * COMMANDS, unknown: 0, resent: 0, reconnects: 20 })
})

test('a server that is killed in mid-load and comes back goes on where it was', async (t) => {
  const { server, client, port } = await serverFor(t, ...AOF)
  const proxy = await proxyFor(t, { port })
  const bulk = checkpointed(t, { port: proxy.port })
  let batches = 0
  for (let kills = 0; kills < 5; kills++) {
    const killed = proxy.at({ command: 'LPUSH', nth: 20 + kills }, async () => {
      await server.kill('SIGKILL')
      await server.restart()
    })
    await loads(t, bulk, batches + 1, batches + 100)
    t.true(killed.hasHappened)
    batches += 100
  }
  await isExactlyOnce(t, client, batches)
  t.like(await bulk.close(), { succeeded: batches * COMMANDS, unknown: 0, reconnects: 5 })
})

test('with a connection for each few batches, and cuts between, each is done once', async (t) => {
  const { client, port } = await serverFor(t)
  const proxy = await proxyFor(t, { port })
  const random = randomNumbers(9)
  // What every connection has: a login of some 500 bytes each way, and three batches.
  const places: (() => Position)[] = [
    () => ({ bytes: random(300), direction: 'up' }),
    () => ({ bytes: random(300), direction: 'down' }),
    () => ({ command: 'LPUSH', nth: 1 + random(3) }),
    () => ({ replyTo: 'LPUSH', nth: 1 + random(3) }),
  ]
  const cuts = Array.from({ length: 16 }, (_, i) => {
    return proxy.at({ ...places[i % 4]!(), connection: 7 * (i + 1) }, random(2) ? 'reset' : 'fin')
  })
  const bulk = checkpointed(t, { port: proxy.port, reconnectEvery: 3 })
  const reasons = new Set<string>()
  bulk.on('reconnect', ({ reason }) => reasons.add(reason))
  await loads(t, bulk, 1, 400)
  await isExactlyOnce(t, client, 400)
  for (const cut of cuts) t.true(cut.hasHappened)
  t.deepEqual([...reasons].toSorted(), ['lost', 'rotation'])
})

/** How often a server of the test's own has refused something because it is full. */
async function refusals(client: Redis): Promise<number> {
  return Number(/errorstat_OOM:count=(\d+)/.exec(await client.info('errorstats'))?.[1] ?? 0)
}

test('a full server is waited for, and each batch is done once', async (t) => {
  const { client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  await loads(t, bulk, 1, 10)
  for (const from of [11, 61, 111]) {
    await client.config('RESETSTAT')
    await client.config('SET', 'maxmemory', '1')
    const loading = loads(t, bulk, from, from + 49)
    await until(async () => (await refusals(client)) >= 3)
    t.is(Number(await client.get('count')), from - 1)
    await client.config('SET', 'maxmemory', '0')
    await loading
  }
  await isExactlyOnce(t, client, 160)
  t.like(await bulk.close(), { succeeded: 160 * COMMANDS, failed: 0, unknown: 0 })
})

test('a connection that is lost while the server is full is replaced once it is not', async (t) => {
  const { client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  await loads(t, bulk, 1, 10)
  await client.config('SET', 'maxmemory', '1')
  const loading = loads(t, bulk, 11, 30)
  await until(async () => (await refusals(client)) >= 3)
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until(() => !bulk.stats().connected)
  await client.config('RESETSTAT')
  // The next connection cannot say that it is there.
  await until(async () => (await refusals(client)) >= 3)
  await client.config('SET', 'maxmemory', '0')
  await loading
  await isExactlyOnce(t, client, 30)
  t.is(bulk.stats().reconnects, 1)
})

// ---- The process is lost ----

const FOR_EVER = Number.MAX_SAFE_INTEGER

const WRITER = `
  import { createInterface } from 'node:readline'
  import { bulkPipeline } from './index.js'
  const [port, key, last, pause] = process.argv.slice(1).map((word) => JSON.parse(word))
  const bulk = bulkPipeline({ port, checkpoint: key, retry: { minDelayMs: 1, maxDelayMs: 20 } })
  const { batch: done = 0 } = (await bulk.lastCheckpoint()) ?? {}
  console.log('continues after ' + done)
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const executed = []
  for (let batch = done + 1; batch <= last; batch++) {
    if (batch === pause) {
      await Promise.all(executed)
      console.log('pauses')
      await lines.next()
    }
    executed.push(bulk.incr('count').lpush('list', batch).xadd('stream', '*', 'batch', batch).exec())
    if (batch === pause) {
      while (bulk.stats().inFlightBytes === 0) await new Promise((resolve) => setTimeout(resolve, 1))
      console.log('wrote')
    }
    if (bulk.needsDrain || executed.length % 10 === 0) await executed.at(-5)
  }
  await bulk.close()
  console.log('done')
  process.exit()
`

interface Writer {
  child: ChildProcess
  /** The next line of its output. */
  says(): Promise<string | undefined>
  kill(): Promise<void>
}

/** A process of its own that continues to write up to batch `last`; it waits for a line before `pause`. */
function startWriter(t: ExecutionContext, port: number, last: number, pause = 0): Writer {
  const args = [port, KEY, last, pause].map((word) => JSON.stringify(word))
  const child = spawnKept(process.execPath, ['--input-type=module', '--eval', WRITER, '--', ...args], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const ended = once(child, 'exit')
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  t.teardown(kill)
  return { child, says: async () => (await lines.next()).value, kill }
}

test('a process that is killed again and again continues where the server is', async (t) => {
  const { client, port } = await serverFor(t)
  let batches = 0
  for (let kills = 1; kills <= 5; kills++) {
    const proxy = await proxyFor(t, { port })
    const writer = startWriter(t, proxy.port, FOR_EVER)
    const killed = proxy.at({ command: 'LPUSH', nth: 50 * kills }, () => writer.kill())
    t.is(await writer.says(), `continues after ${batches}`)
    await killed.happened
    // What has passed the proxy is done, or never will be.
    await until(() => proxy.open === 0)
    const before = batches
    batches = await client.llen('list')
    t.true(batches > before)
  }
  const last = batches + 200
  const writer = startWriter(t, port, last)
  t.is(await writer.says(), `continues after ${batches}`)
  t.is(await writer.says(), 'done')
  await isExactlyOnce(t, client, last)
})

/** The field of the key that tells who may write, of the one writer there was. */
async function identityOf(client: Redis) {
  const fields = await client.hkeys(KEY)
  const writers = fields.filter((field) => field.startsWith('writer:'))
  return writers[0]!
}

for (const identity of ['known', 'unknown'] as const) {
  const outcome = identity === 'known' ? 'are never done' : 'would be done, were the key not to tell whose it is'
  test(`batches of a killed process that arrive after the next one has connected ${outcome}`, async (t) => {
    const { client, port } = await serverFor(t)
    const proxy = await proxyFor(t, { port })
    const writer = startWriter(t, proxy.port, 1_000, 21)
    t.is(await writer.says(), 'continues after 0')
    t.is(await writer.says(), 'pauses')
    const late = proxy.bytes.up
    proxy.stall()
    writer.child.stdin!.write('\n')
    t.is(await writer.says(), 'wrote')
    await writer.kill()
    if (identity === 'unknown') await client.hdel(KEY, await identityOf(client))

    const bulk = checkpointed(t, { port })
    t.deepEqual(await bulk.lastCheckpoint(), { batch: 20 })
    proxy.resume()
    // All that it wrote has passed the proxy, and the server is done with it.
    await until(() => proxy.open === 0)
    await client.ping()
    if (identity === 'known') {
      t.is(proxy.connections, 1)
      t.is(await client.llen('list'), 20)
      await loads(t, bulk, 21, 40)
      await isExactlyOnce(t, client, 40)
    } else {
      t.true(proxy.bytes.up > late)
      t.is(await client.llen('list'), 21)
    }
  })
}

test('a process that is killed while the server stands still is continued without a gap', async (t) => {
  const { server, client, port } = await serverFor(t)
  for (let round = 1; round <= 3; round++) {
    const pause = round * 10 + 1
    const writer = startWriter(t, port, 1_000, pause)
    t.regex((await writer.says())!, /^continues after /)
    t.is(await writer.says(), 'pauses')
    await server.kill('SIGSTOP')
    writer.child.stdin!.write('\n')
    t.is(await writer.says(), 'wrote')
    await writer.kill()
    const bulk = checkpointed(t, { port })
    const asked = bulk.lastCheckpoint()
    await server.kill('SIGCONT')
    const { batch } = (await asked)!
    t.true(batch === pause - 1 || batch === pause, `${batch}`)
    await loads(t, bulk, batch + 1, pause + 5)
    await bulk.close()
    await isExactlyOnce(t, client, pause + 5)
  }
})

// ---- Whose the key is ----

test('without the option there is nothing to ask for', async (t) => {
  const bulk = bulkFor(t, { port: 1 })
  const error = await t.throwsAsync(bulk.lastCheckpoint(), { code: 'RESPIPE_INVALID_OPTION' })
  t.regex(error!.message, /checkpoint/)
})

test('where there is nothing, it is null, and batches are numbered from 1', async (t) => {
  const { client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  t.is(await bulk.lastCheckpoint(), null)
  for (const batch of [1, 2, 3]) {
    await loads(t, bulk, batch, batch)
    // An empty one is none.
    await bulk.exec()
    t.deepEqual(await bulk.lastCheckpoint(), { batch })
  }
  const stored = await client.hgetall(KEY)
  const { run, owner, batch } = stored
  t.regex(run!, /^[0-9a-f]{32}$/)
  t.regex(owner!, /^[0-9a-f]{32}$/)
  t.is(batch, '3')
  t.regex(stored[`writer:${owner}`]!, /^\d+ [0-9a-f]{40} 127\.0\.0\.1:\d+$/)
  await bulk.close()
  // The next pipeline has nobody to end.
  t.deepEqual(Object.keys(await client.hgetall(KEY)).toSorted(), ['batch', 'owner', 'row', 'run'])
  await isExactlyOnce(t, client, 3)
})

test('who asks first continues the run; who does not begins another', async (t) => {
  const { client, port } = await serverFor(t)
  const first = checkpointed(t, { port })
  await loads(t, first, 1, 5)
  await first.close()
  const run = await client.hget(KEY, 'run')

  const second = checkpointed(t, { port })
  t.deepEqual(await second.lastCheckpoint(), { batch: 5 })
  await loads(t, second, 6, 8)
  t.deepEqual(await second.lastCheckpoint(), { batch: 8 })
  await second.close()
  t.is(await client.hget(KEY, 'run'), run)
  await isExactlyOnce(t, client, 8)

  const third = checkpointed(t, { port })
  const executed = third.set('x', 1).exec()
  // Asked behind the first batch, before there is a connection.
  t.deepEqual(await third.lastCheckpoint(), { batch: 1 })
  await executed
  t.not(await client.hget(KEY, 'run'), run)
  t.deepEqual(
    await third
      .set('x', 2)
      .exec()
      .then(() => third.lastCheckpoint()),
    { batch: 2 },
  )
  await third.close()
  t.is(await client.get('x'), '2')
})

test('a run that never had a batch done leaves nothing to continue', async (t) => {
  const { client, port } = await serverFor(t)
  const first = checkpointed(t, { port })
  t.is(await first.lastCheckpoint(), null)
  await first.close()
  t.is(await client.hget(KEY, 'run'), null)
  const second = checkpointed(t, { port })
  t.is(await second.lastCheckpoint(), null)
  await loads(t, second, 1, 2)
  await isExactlyOnce(t, client, 2)
})

test('a key that holds something else is refused, and left as it is', async (t) => {
  const { client, port } = await serverFor(t)
  await client.set(KEY, 'mine')
  const bulk = checkpointed(t, { port })
  const error = await rejection(t, append(bulk, 1).exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /checkpoint load:checkpoint: the key holds something else/)
  t.like(error.outcome, { failed: COMMANDS, unknown: 0 })
  await t.throwsAsync(bulk.lastCheckpoint(), { code: 'RESPIPE_REFUSED' })
  t.is(await client.get(KEY), 'mine')
  t.is(await client.exists('count'), 0)
  // Once it is gone, the load goes on.
  await client.del(KEY)
  await loads(t, bulk, 1, 3)
  await isExactlyOnce(t, client, 3)
})

test('a hash of somebody else is no run to continue', async (t) => {
  const { client, port } = await serverFor(t)
  await client.hset(KEY, { name: 'mine', batch: '7' })
  const bulk = checkpointed(t, { port })
  t.is(await bulk.lastCheckpoint(), null)
  await loads(t, bulk, 1, 2)
  t.deepEqual(await bulk.lastCheckpoint(), { batch: 2 })
})

test('a key that becomes something else in mid-load ends the load', async (t) => {
  const { client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  await loads(t, bulk, 1, 3)
  await client.set(KEY, 'mine')
  // Its commands are done, and nothing says so.
  const error = await rejection(t, append(bulk, 4).exec(), /^RESPIPE_(PROTOCOL|REFUSED)$/)
  t.regex(error.message, /the checkpoint was refused: WRONGTYPE/)
  t.like(error.outcome, { succeeded: 0, failed: 0, unknown: COMMANDS })
  await rejection(t, append(bulk, 5).exec(), 'RESPIPE_REFUSED')
  t.is(await client.get(KEY), 'mine')
})

// ---- Two at a time ----

test('who comes second takes over; the first is told, and writes no more', async (t) => {
  const { client, port } = await serverFor(t)
  const first = checkpointed(t, { port })
  await loads(t, first, 1, 5)
  const second = checkpointed(t, { port })
  t.deepEqual(await second.lastCheckpoint(), { batch: 5 })
  // Its connection was ended: what it does not even send has certainly failed.
  await until(() => !first.stats().connected)
  const error = await rejection(t, append(first, 6).exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /checkpoint load:checkpoint: another pipeline has taken it over/)
  t.like(error.outcome, { failed: COMMANDS, unknown: 0 })
  await loads(t, second, 6, 9)
  // For good.
  await rejection(t, append(first, 7).exec(), 'RESPIPE_REFUSED')
  await t.throwsAsync(first.lastCheckpoint(), { code: 'RESPIPE_REFUSED' })
  await loads(t, second, 10, 12)
  await isExactlyOnce(t, client, 12)
})

test('in mid-load too: once the second is there, nothing of the first is done', async (t) => {
  const { client, port } = await serverFor(t)
  const first = checkpointed(t, { port, reconnectEvery: 7 })
  for (let round = 0; round < 10; round++) {
    const bulk = round === 0 ? first : checkpointed(t, { port, reconnectEvery: 7 })
    await bulk.lastCheckpoint()
    let done = 0
    const writing = (async () => {
      for (;;) {
        await bulk.incr(`count:${round}`).exec()
        done++
      }
    })()
    await until(() => done >= 20)
    const next = checkpointed(t, { port })
    t.is((await next.lastCheckpoint())!.batch, await doneByAll(client))
    const present = Number(await client.get(`count:${round}`))
    const error = await rejection(t, writing, 'RESPIPE_REFUSED')
    t.regex(error.message, /another pipeline has taken it over/)
    t.is(Number(await client.get(`count:${round}`)), present)
    t.true(done <= present && present <= done + 1, `${done} acknowledged, ${present} done`)
  }
})

/** How many batches of all of them are done. */
async function doneByAll(client: Redis) {
  const counts = await client.mget(await client.keys('count:*'))
  return counts.reduce((sum, count) => sum + Number(count), 0)
}

test('of many who come at once one is left', async (t) => {
  const { client, port } = await serverFor(t)
  // One that is ended while it says that it is there tries again.
  const retry = { firstConnect: 1_000 }
  const writers = Array.from({ length: 12 }, () => checkpointed(t, { port, retry }))
  const told = await Promise.allSettled(
    writers.map(async (bulk, i) => {
      for (let batch = 0; batch < 200; batch++) await bulk.incr(`count:${i}`).exec()
      return i
    }),
  )
  const left = told.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const others = told.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []))
  // Some may have come to the end of their load before another one came.
  t.true(left.length >= 1)
  t.deepEqual([...new Set(others)], others.length > 0 ? ['RESPIPE_REFUSED'] : [])
  for (const i of left) t.is(await client.get(`count:${i}`), '200')
  const writersLeft = (await client.hkeys(KEY)).filter((field) => field.startsWith('writer:'))
  t.true(writersLeft.includes(`writer:${await client.hget(KEY, 'owner')}`))
})

// ---- Refused commands ----

for (const replies of ['check', 'collect'] as const) {
  test(`${replies}: of a batch just what is refused has failed`, async (t) => {
    const { client, port } = await serverFor(t)
    await client.set('string', 'x')
    const bulk = checkpointed(t, { port, replies, maxFailures: 1_000 })
    const random = randomNumbers(10)
    for (let batch = 1; batch <= 100; batch++) {
      const wanted: string[] = []
      const codes = new Map<number, string>()
      const count = random(12) + 1
      for (let index = 0; index < count; index++) {
        const kind = random(4)
        // Not even queued: EXEC does nothing, and has to come again without it.
        if (kind === 0) bulk.call('NO.SUCH', index)
        else if (kind === 1) bulk.lpush('string', index)
        else bulk.append(`batch:${batch}`, `${index},`)
        if (kind === 0) codes.set(index, 'ERR')
        else if (kind === 1) codes.set(index, 'WRONGTYPE')
        else wanted.push(`${index},`)
      }
      const result = await resolution(t, bulk.exec())
      t.like(result, { commands: count, failed: codes.size, succeeded: wanted.length, unknown: 0 })
      t.deepEqual(new Map(result.failures.map(({ index, code }) => [index, code])), codes)
      t.is((await client.get(`batch:${batch}`)) ?? '', wanted.join(''))
      t.deepEqual(await bulk.lastCheckpoint(), { batch })
      if (replies === 'check') continue
      let length = 0
      const shapes = result.replies!.map((reply) => (reply instanceof Error ? reply.message.split(' ')[0] : reply))
      t.deepEqual(
        shapes,
        Array.from({ length: count }, (_, index) => codes.get(index) ?? (length += `${index},`.length)),
      )
    }
  })
}

test('refused commands and cuts between: each batch is done once all the same', async (t) => {
  const { client, port } = await serverFor(t)
  const proxy = await proxyFor(t, { port })
  await client.set('string', 'x')
  const random = randomNumbers(11)
  const bulk = checkpointed(t, { port: proxy.port, replies: 'collect' })
  await loads(t, bulk, 1, 1)
  const cuts = cutEach(proxy, CUTS, random, () => ({ bytes: random(2_000), direction: random(2) ? 'up' : 'down' }))
  let batches = 1
  while (!cuts.every((cut) => cut.hasHappened)) {
    batches++
    bulk.call('NO.SUCH').incr('count').lpush('string', 'y').lpush('list', batches).call('NO.SUCH')
    const { succeeded, failed, replies, failures } = await resolution(
      t,
      bulk.xadd('stream', '*', 'batch', batches).exec(),
    )
    t.is(replies!.length, 6)
    // Where its replies are lost, a batch that is done counts as succeeded: nothing else is known of it.
    t.true(succeeded >= 3 && failed >= 2 && failed <= 3, `${succeeded} and ${failed}`)
    t.deepEqual(
      failures.filter(({ code }) => code === 'ERR').map(({ index }) => index),
      [0, 4],
    )
  }
  await isExactlyOnce(t, client, batches)
})

// ---- Given up ----

for (const [what, isDone] of [
  ['never arrived', false],
  ['was done, and its replies lost', true],
] as const) {
  test(`a batch that was given up and ${what} does not upset the numbers`, async (t) => {
    const { client, port } = await serverFor(t)
    const proxy = await proxyFor(t, { port })
    const bulk = checkpointed(t, { port: proxy.port, retry: { attempts: 0 } })
    await loads(t, bulk, 1, 3)
    for (const round of [1, 2, 3]) {
      const done = isDone ? round : 0
      const cut = isDone
        ? loseReplies(proxy, 0, async () => (await client.get('given up')) === String(done))
        : proxy.resetAfter(40, 'up')
      const error = await rejection(t, bulk.incr('given up').exec(), 'RESPIPE_CONNECTION_LOST')
      t.true(cut.hasHappened)
      t.like(error.outcome, { commands: 1, unknown: 1 })
      const batch = 2 + round + done
      await until(() => proxy.open === 0)
      t.is(Number((await client.get('given up')) ?? 0), done)
      t.deepEqual(await bulk.lastCheckpoint(), { batch })
      await loads(t, bulk, 3 + round, 3 + round)
      t.deepEqual(await bulk.lastCheckpoint(), { batch: batch + 1 })
    }
    await isExactlyOnce(t, client, 6)
  })
}

test('data that the server has lost is told, and the load does not go on without it', async (t) => {
  const { client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  await loads(t, bulk, 1, 5)
  await client.flushall()
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  const error = await rejection(t, append(bulk, 6).exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /holds 0 batches of this load, and had confirmed 5: it lost data/)
  t.is(await client.exists('count'), 0)
})

test('so is an older state that comes back with a restart', async (t) => {
  const { server, client, port } = await serverFor(t)
  const bulk = checkpointed(t, { port })
  await loads(t, bulk, 1, 5)
  await client.save()
  await loads(t, bulk, 6, 9)
  await server.kill('SIGKILL')
  await server.restart()
  const error = await rejection(t, append(bulk, 10).exec(), 'RESPIPE_REFUSED')
  t.regex(error.message, /holds 5 batches of this load, and had confirmed 9: it lost data/)
  await bulk.close()
  // Whoever goes on from there has to load again what was lost.
  const next = checkpointed(t, { port })
  t.deepEqual(await next.lastCheckpoint(), { batch: 5 })
  await loads(t, next, 6, 12)
  await isExactlyOnce(t, client, 12)
})
