// `replies: 'off'`: the server says nothing before the fence of a batch. What is told by then is true all the same:
// everything has arrived, nobody knows what was refused, and the server's own count says whether anything was.
import test, { type ExecutionContext } from './helpers/test.ts'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { BulkPipelineOptions } from '../index.js'
import { findRedisServer } from '../scripts/setup.js'
import { proxyFor, serverFor, serverWith, watchedFor } from './helpers/loads.ts'
import { bulkFor, goesOn, randomNumbers, rejection, resolution, until } from './helpers/outcomes.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { areThere, arrives, isUnknown, numbered, silent } from './helpers/silence.ts'

// ---- What arrives ----

for (const transaction of [false, true]) {
  const how = transaction ? ', in transactions' : ''

  for (const [window, maxInFlightBytes] of [
    ['one window', 64 << 20],
    ['many windows', 4 << 10],
  ] as const) {
    test(`5,000 commands over ${window}${how} are all there, and all unknown`, (t) =>
      arrives(t, 5_000, { transaction, maxInFlightBytes }))
  }

  test(`batch after batch, awaited or not${how}`, async (t) => {
    const { client, port } = await watchedFor(t)
    const bulk = silent(t, { port, transaction, maxInFlightBytes: 4 << 10 })
    const random = randomNumbers(12)
    let count = 0
    for (let batch = 0; batch < 100; batch++) {
      const commands = random(100)
      const executed = resolution(t, numbered(bulk, commands, count).exec())
      count += commands
      if (random(3) === 0) {
        isUnknown(t, await executed, commands)
        t.is(await client.dbsize(), count)
      }
    }
    isUnknown(t, await resolution(t, bulk.sync()), count)
    await areThere(t, client, count)
  })

  test(`a value that is larger than the window goes through${how}`, async (t) => {
    const { client, port } = await watchedFor(t)
    const bulk = silent(t, { port, transaction, maxInFlightBytes: 4 << 10 })
    const large = Buffer.alloc(3 << 20, 'x')
    for (let i = 0; i < 3; i++) numbered(bulk, 200, i * 200).append('large', large)
    isUnknown(t, await resolution(t, bulk.exec()), 603)
    t.is(await client.strlen('large'), 3 * large.length)
    t.is(await client.dbsize(), 601)
  })
}

test('no more is under way than the window holds', async (t) => {
  const { server, client, port } = await watchedFor(t)
  const bulk = silent(t, { port, maxInFlightBytes: 16 << 10 })
  await numbered(bulk, 1).exec()
  await server.kill('SIGSTOP')
  const executed = resolution(t, numbered(bulk, 20_000).exec())
  let most = 0
  const look = () => {
    const { inFlightBytes } = bulk.stats()
    most = Math.max(most, inFlightBytes)
    return inFlightBytes
  }
  await until(() => look() > 8 << 10)
  await server.kill('SIGCONT')
  await until(() => look() === 0)
  await executed
  t.true(most <= 16 << 10, `${most}`)
  await areThere(t, client, 20_000)
})

// Whatever is taken is progress, however long all of it takes: `accepted_bytes_are_progress` in connection/task/tests.rs,
// where the clock stands still. With a real one: long/off.spec.ts.
test('a large value on a slow way arrives', async (t) => {
  const { client, port } = await watchedFor(t)
  const proxy = await proxyFor(t, { port })
  const bulk = silent(t, { port: proxy.port, retry: { attempts: 0 } })
  await numbered(bulk, 1).exec()
  proxy.throttle(15_000_000)
  isUnknown(t, await resolution(t, bulk.set('large', Buffer.alloc(6_000_000, 'x')).exec()), 1)
  t.is(await client.strlen('large'), 6_000_000)
  t.is((await bulk.close()).reconnects, 0)
})

test('automatic batches and rotation go with it', async (t) => {
  const { client, port } = await watchedFor(t)
  const bulk = silent(t, { port, autoExec: { commands: 100 }, reconnectEvery: 3 })
  const summary = await resolution(t, numbered(bulk, 10_000).close())
  isUnknown(t, summary, 10_000)
  t.is(summary.batches, 100)
  t.true(summary.reconnects >= 32, `${summary.reconnects}`)
  await areThere(t, client, 10_000)
})

test('a query beside it is answered', async (t) => {
  const { port } = await watchedFor(t)
  const bulk = silent(t, { port })
  for (let i = 0; i < 20; i++) {
    const executed = numbered(bulk, 100, i * 100).exec()
    t.is(await bulk.query('ECHO', `${i}`), `${i}`)
    await executed
    t.is(await bulk.query('GET', `key:${i * 100 + 99}`), `${i * 100 + 99}`)
  }
})

// ---- What is refused ----

test('what the server refuses is counted by the server', async (t) => {
  const { client, port } = await watchedFor(t)
  await client.set('string', 'x')
  const bulk = silent(t, { port })
  for (let i = 0; i < 1_000; i++) bulk.set(`key:${i}`, i).lpush('string', i)
  isUnknown(t, await resolution(t, bulk.exec()), 2_000)
  t.like(await resolution(t, bulk.sync()), { failed: 0, unknown: 2_000, serverErrorReplies: 1_000 })
  // Since the start.
  bulk.call('NO.SUCH')
  t.is((await bulk.sync()).serverErrorReplies, 1_001)
  t.is((await bulk.close()).serverErrorReplies, 1_001)
})

test('so are the errors of a transaction', async (t) => {
  const { client, port } = await watchedFor(t)
  await client.set('string', 'x')
  const bulk = silent(t, { port, transaction: true })
  isUnknown(t, await resolution(t, bulk.set('a', 1).lpush('string', 1).set('b', 2).exec()), 3)
  t.is(await client.exists('a', 'b'), 2)
  t.is((await bulk.sync()).serverErrorReplies, 1)
  // None of it is done, which is an error more: EXECABORT.
  isUnknown(t, await resolution(t, bulk.set('c', 1).call('NO.SUCH').exec()), 2)
  t.is(await client.exists('c'), 0)
  t.is((await bulk.close()).serverErrorReplies, 3)
})

test('a full server keeps nothing, and its count says so', async (t) => {
  const { client, port } = await watchedFor(t)
  const bulk = silent(t, { port })
  await numbered(bulk, 100).exec()
  await client.config('SET', 'maxmemory', '1')
  isUnknown(t, await resolution(t, numbered(bulk, 500, 100).exec()), 500)
  t.is((await bulk.close()).serverErrorReplies, 500)
  t.is(await client.dbsize(), 100)
})

test('neither does a master that has become a replica', async (t) => {
  const { client, port } = await watchedFor(t)
  const bulk = silent(t, { port })
  await numbered(bulk, 100).exec()
  await client.replicaof('127.0.0.1', 1)
  isUnknown(t, await resolution(t, numbered(bulk, 500, 100).exec()), 500)
  t.is((await bulk.close()).serverErrorReplies, 500)
  t.is(await client.dbsize(), 100)
})

test('errors of others are in that count, those before are not', async (t) => {
  const { client, port } = await watchedFor(t)
  const fail = () => t.throwsAsync(client.call('NO.SUCH'))
  await fail()
  const bulk = silent(t, { port })
  await numbered(bulk, 1).exec()
  await fail()
  t.is((await bulk.close()).serverErrorReplies, 1)
})

test('where the server was started anew, the count is null', async (t) => {
  const { server, client, port } = await watchedFor(t)
  const bulk = silent(t, { port })
  await numbered(bulk, 1).exec()
  await server.kill('SIGKILL')
  await server.restart()
  // There are more than before, and still they say nothing.
  await t.throwsAsync(client.call('NO.SUCH'))
  t.is((await numbered(bulk, 1).sync()).serverErrorReplies, null)
  t.is((await bulk.close()).serverErrorReplies, null)
})

test('where it was told to count anew, too', async (t) => {
  const { client, port } = await watchedFor(t)
  await t.throwsAsync(client.call('NO.SUCH'))
  const bulk = silent(t, { port })
  await numbered(bulk, 1).exec()
  await client.config('RESETSTAT')
  t.is((await bulk.close()).serverErrorReplies, null)
})

test('other modes have no such count', async (t) => {
  const { port } = await watchedFor(t)
  for (const replies of ['check', 'collect'] as const) {
    const bulk = bulkFor(t, { port, replies })
    await numbered(bulk, 1).exec()
    t.false('serverErrorReplies' in (await bulk.sync()))
    t.false('serverErrorReplies' in (await bulk.close()))
  }
})

test('where nothing was executed, no connection is made for it', async (t) => {
  const server = await scriptedFor(t, {})
  const bulk = silent(t, { port: server.port })
  t.like(await bulk.sync(), { commands: 0 })
  t.like(await bulk.close(), { commands: 0, batches: 0 })
  t.is(server.connections, 0)
})

// ---- Where it would lie ----

async function isRefused(t: ExecutionContext, options: BulkPipelineOptions, code: string, text: RegExp) {
  const bulk = silent(t, { ...options, retry: { firstConnect: 0 } })
  const error = await rejection(t, numbered(bulk, 10).exec(), code)
  t.regex(error.message, text)
  t.like(error.outcome, { failed: 10, unknown: 0 })
}

test('a replica is refused', async (t) => {
  const master = await watchedFor(t)
  const { port } = await watchedFor(t, { args: ['--replicaof', '127.0.0.1', String(master.port)] })
  await isRefused(t, { port }, 'RESPIPE_REFUSED', /it is a replica/)
})

test('a Sentinel is refused', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'respipe-sentinel-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  // A Sentinel wants a file, which has to come first.
  const binary = join(dir, 'sentinel')
  writeFileSync(join(dir, 'sentinel.conf'), '')
  writeFileSync(binary, `#!/bin/sh\nexec '${findRedisServer()}' '${dir}/sentinel.conf' "$@"\n`, { mode: 0o755 })
  const server = await serverWith(t, { binary, args: ['--sentinel'] })
  await isRefused(t, { port: server.port }, 'RESPIPE_REFUSED', /it is a Sentinel/)
})

test('a member of a cluster is refused', async (t) => {
  const { port } = await watchedFor(t, { args: ['--cluster-enabled', 'yes'] })
  await isRefused(t, { port }, 'RESPIPE_REFUSED', /member of a cluster/)
})

test('a server without CLIENT REPLY is refused', async (t) => {
  const server = await serverFor(t, '--rename-command', 'CLIENT', '')
  await isRefused(t, { port: server.port }, 'RESPIPE_REFUSED', /does not support CLIENT REPLY/)
  // The other modes do without.
  t.like(await resolution(t, numbered(bulkFor(t, { port: server.port }), 10).exec()), { succeeded: 10 })
})

test('a server that only seems to be silent is refused', async (t) => {
  const server = await scriptedFor(t, ([name, word]) => (name === 'CLIENT' && word === 'REPLY' ? resp.ok : undefined))
  await isRefused(t, { port: server.port }, 'RESPIPE_REFUSED', /does not support CLIENT REPLY/)
  t.false(server.commands.some(([name]) => name === 'SET'))
})

test('a user who may not is told which permission is missing', async (t) => {
  const { client, port } = await watchedFor(t)
  await client.acl('SETUSER', 'loader', 'on', '>secret', '~*', '+@all', '-client|reply')
  const login = { port, username: 'loader', password: 'secret' }
  await isRefused(t, login, 'RESPIPE_AUTH', /\+client\|reply/)
})

// ---- Faults ----

for (const direction of ['up', 'down'] as const) {
  for (const transaction of [false, true]) {
    test(`cut ${direction}${transaction ? ', in transactions' : ''}: what can be repeated is all there`, async (t) => {
      const { client, port } = await watchedFor(t)
      const proxy = await proxyFor(t, { port })
      const random = randomNumbers(13)
      const retry = { firstConnect: 1_000_000 }
      const bulk = silent(t, { port: proxy.port, transaction, maxInFlightBytes: 8 << 10, retry })
      await numbered(bulk, 1).exec()
      let count = 1
      // Each connection in turn: at the end of its login, or later. This one has its login behind it.
      const login = proxy.bytes[direction]
      const cuts = Array.from({ length: 30 }, (_, at) => {
        const bytes = random(direction === 'up' ? 20_000 : 600)
        return proxy.at({ bytes: at > 0 ? login - 100 + bytes : bytes, direction, connection: at + 1 }, 'reset')
      })
      while (!cuts.every(({ hasHappened }) => hasHappened)) {
        isUnknown(t, await resolution(t, numbered(bulk, 500, count).exec()), 500)
        count += 500
        t.is(await client.dbsize(), count)
      }
      await areThere(t, client, count)
      const summary = await bulk.close()
      isUnknown(t, summary, count)
      t.is(summary.serverErrorReplies, 0)
      t.true(summary.resent > 0)
      t.is(proxy.connections, 31)
    })
  }
}

test('what cannot be repeated is done once at most, and is not sent again', async (t) => {
  const { client, port } = await watchedFor(t)
  const proxy = await proxyFor(t, { port })
  const bulk = silent(t, { port: proxy.port })
  await bulk.incr('once').exec()
  for (let round = 0; round < 10; round++) {
    const cut = proxy.resetAfter(round % 2 ? 1 : 200, round % 2 ? 'down' : 'up')
    for (let i = 0; i < 20; i++) bulk.incr('once').set(`key:${round}:${i}`, i)
    isUnknown(t, await resolution(t, bulk.exec()), 40)
    t.true(cut.hasHappened)
    t.is((await client.keys(`key:${round}:*`)).length, 20)
  }
  const done = Number(await client.get('once'))
  // All of every second batch, of the others what fitted in: the last of it was not there whole.
  t.true(done >= 101 && done <= 201, `${done}`)
  await bulk.close()
})

test('a connection that was given up is ended: nothing of it comes later', async (t) => {
  const { client, port } = await watchedFor(t)
  const way = await wayTo(t, port)
  // Nothing else is waited for. Should a busy machine take as long for something else, that is sent again too.
  const bulk = silent(t, { port: way.port, stallTimeoutMs: 500, retry: { firstConnect: 1_000_000 } })
  await numbered(bulk, 1).exec()
  way.hold()
  for (let i = 0; i < 1_000; i++) bulk.set('key', `old:${i}`)
  isUnknown(t, await resolution(t, bulk.exec()), 1_000)
  t.is(await client.get('key'), 'old:999')
  await bulk.set('key', 'new').exec()
  t.true((await way.release()) > 30_000)
  t.is(await client.get('key'), 'new')
  const { reconnects, resent } = await bulk.close()
  t.true(reconnects >= 1 && resent >= 1_000, `${reconnects} reconnects, ${resent} sent again`)
})

/** A way to the server that can keep what the present connection says, and deliver it after its end. */
async function wayTo(t: ExecutionContext, port: number) {
  const ways: { server: Socket; kept?: Buffer[] }[] = []
  const listener = createServer((client) => {
    const way: (typeof ways)[number] = { server: connect(port, '127.0.0.1') }
    ways.push(way)
    client.on('data', (chunk) => (way.kept ? way.kept.push(chunk) : way.server.write(chunk)))
    way.server.on('data', (chunk) => client.write(chunk))
    for (const socket of [client, way.server]) socket.on('error', () => {})
    client.on('close', () => way.kept ?? way.server.destroy())
    t.teardown(() => client.destroy())
    t.teardown(() => way.server.destroy())
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  t.teardown(() => listener.close())
  return {
    port: (listener.address() as AddressInfo).port,
    hold() {
      for (const way of ways) way.kept = []
    },
    /** Resolves to how many bytes there were, once the server is through with them. */
    async release() {
      let bytes = 0
      for (const { server, kept } of ways) {
        if (!kept) continue
        const late = Buffer.concat(kept)
        bytes += late.length
        if (server.closed) continue
        // Ended by whomever: the server may have been the first, which is an error here.
        const closed = new Promise((resolve) => server.once('close', resolve))
        server.end(late)
        await closed
      }
      return bytes
    },
  }
}

test('a server that takes everything and never answers is a stall', async (t) => {
  // As one does that has met a protocol error while replies were off.
  const { port } = await watchedFor(t)
  const proxy = await proxyFor(t, { port })
  const stallTimeoutMs = 500
  const bulk = silent(t, { port: proxy.port, stallTimeoutMs, retry: { attempts: 0 } })
  await goesOn(t, stallTimeoutMs, () => numbered(bulk, 1).exec())
  proxy.swallowReplies()
  const error = await rejection(t, numbered(bulk, 1_000).exec(), 'RESPIPE_STALLED')
  isUnknown(t, error.outcome, 1_000)
  await proxy.heal()
  isUnknown(t, await goesOn(t, stallTimeoutMs, () => numbered(bulk, 10).exec()), 10)
})

test('a server that speaks where it should be silent is not believed', async (t) => {
  const server = await scriptedFor(t, ([name]) => (name === 'SET' ? resp.error('ERR no') : undefined))
  const bulk = silent(t, { port: server.port })
  const error = await rejection(t, numbered(bulk, 10).exec(), 'RESPIPE_PROTOCOL')
  t.regex(error.message, /replies are off/)
  t.like(error.outcome, { succeeded: 0, failed: 0, unknown: 10 })
})
