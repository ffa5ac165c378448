// The fault matrix (section 3.2), by column where they differ: what a pipeline makes of faults between it and a real
// server. Losses are in loss.spec.ts, what passes by itself in refusals.spec.ts, and see off.spec.ts and
// checkpoint.spec.ts. Where nobody is there to load into see peers.spec.ts, for wrong replies protocol.spec.ts, for TLS
// tls.spec.ts.
import test, { type ExecutionContext } from './helpers/test.ts'
import { inspect } from 'node:util'
import type { BulkPipelineOptions, Outcome, RespipeError } from '../index.js'
import {
  areDone,
  clientOf,
  type Column,
  COLUMNS,
  columns,
  increments,
  isHonest,
  proxyFor,
  serverFor,
  sets,
  stale,
  told,
} from './helpers/loads.ts'
import { bulkFor, randomNumbers, rejection, resolution, until, reasonOf } from './helpers/outcomes.ts'
import type { Fault, FaultProxy, Position } from './helpers/proxy.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { freePort, startServer } from './helpers/server.ts'
import { sharedServer } from './helpers/shared.ts'

/** For tests that neither stop nor configure it; each has keys of its own. */
const { server: shared, client: sharedClient } = await sharedServer()

const FOR_EVER = { firstConnect: 1_000_000 }

/** Where so many commands were executed: with replies off, where they were passed on. */
function behind(column: Column, command: string, nth: number): Position {
  return column === 'off' ? { command, nth } : { replyTo: command, nth }
}

/** Ends the connection behind the reply to the nth command, and before that to the next one, which the server has. */
function loseNext(proxy: FaultProxy, command: string, nth: number): Fault {
  const next = proxy.at({ command, nth: nth + 1 }, () => {})
  return proxy.at({ replyTo: command, nth }, async (link) => {
    await next.happened
    link.cut('reset')
  })
}

// Nobody there

for (const column of columns) {
  test(`fault 1, ${column}: a server that comes up late is waited for`, async (t) => {
    const port = await freePort()
    const bulk = bulkFor(t, { port, ...COLUMNS[column], retry: FOR_EVER })
    const result = increments(bulk, 10, 'n').exec()
    t.false(bulk.stats().connected)
    const server = await startServer({ port })
    t.teardown(() => server.stop())
    areDone(t, column, await resolution(t, result))
    t.is(bulk.stats().reconnects, 0)
  })

  test(`fault 1, ${column}: once that is used up, whatever waits is given up for the same cause`, async (t) => {
    const port = await freePort()
    const bulk = bulkFor(t, { port, ...COLUMNS[column], retry: { firstConnect: 3 } })
    const results = [1, 2, 3].map((count) => increments(bulk, count, 'n').exec())
    const errors: RespipeError[] = []
    for (const [i, result] of results.entries()) {
      const error = await rejection(t, result, 'RESPIPE_CONNECT')
      t.deepEqual(error.outcome.errors, { RESPIPE_CONNECT: i + 1 })
      t.is(error.outcome.unknown, 0)
      errors.push(error)
    }
    t.is(new Set(errors.map(reasonOf)).size, 1)

    const server = await startServer({ port })
    t.teardown(() => server.stop())
    areDone(t, column, await resolution(t, increments(bulk, 10, 'n').exec()))
    t.is(await clientOf(t, server).get('n'), '10')
  })

  test(`fault 2, ${column}: a plain port in place of TLS: no byte of the data is written`, async (t) => {
    const server = await scriptedFor(t, { silent: true })
    const limits = { connectTimeoutMs: 200, retry: { attempts: 0 } }
    const bulk = bulkFor(t, { port: server.port, tls: true, ...COLUMNS[column], ...limits })
    const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_TLS')
    t.deepEqual(error.outcome.errors, { RESPIPE_TLS: 10 })
  })
}

test('fault 1: attempts: 0 tries once', async (t) => {
  const server = await scriptedFor(t, { onConnection: (socket) => socket.end() })
  const bulk = bulkFor(t, { port: server.port, retry: { attempts: 0, firstConnect: 10 } })
  await rejection(t, increments(bulk, 3, 'n').exec(), 'RESPIPE_CONNECT')
  t.is(server.connections, 1)
})

for (const [fault, name, said, code] of [
  ['3: a wrong password', 'HELLO', '-WRONGPASS no', 'RESPIPE_AUTH'],
  ['3: a bad db', 'SELECT', '-ERR DB index is out of range', 'RESPIPE_AUTH'],
  ['3: no permission', 'ECHO', '-NOPERM no', 'RESPIPE_AUTH'],
  ['4: too many clients', 'HELLO', '-ERR max number of clients reached', 'RESPIPE_CONNECT'],
  ['4: protected mode', 'HELLO', '-DENIED no', 'RESPIPE_CONNECT'],
  ['5: no Redis', 'HELLO', 'SSH-2.0', 'RESPIPE_PROTOCOL'],
  ['6: LOADING', 'HELLO', '-LOADING no', 'RESPIPE_CONNECT'],
  ['6: CLUSTERDOWN', 'PING', '-CLUSTERDOWN no', 'RESPIPE_CONNECT'],
  ['7: a replica', 'HELLO', '*4\r\n+mode\r\n+standalone\r\n+role\r\n+slave', 'RESPIPE_REFUSED'],
] as const) {
  for (const column of columns) {
    const [row, what] = fault.split(': ')
    test(`fault ${row}, ${column}: ${what}: no byte of the data is written`, async (t) => {
      const server = await scriptedFor(t, ([command]) => (command === name ? `${said}\r\n` : undefined))
      const bulk = bulkFor(t, {
        port: server.port,
        db: 1,
        password: 'x',
        ...COLUMNS[column],
        retry: { firstConnect: 1 },
      })
      const error = await rejection(t, increments(bulk, 1_000, 'n').exec(), code)
      t.deepEqual(error.outcome.errors, { [code]: 1_000 })
      t.is(server.connections, code === 'RESPIPE_CONNECT' && !said.startsWith('-DENIED') ? 2 : 1)
      t.false(server.commands.some(([command]) => command === 'INCR'))
    })
  }
}

// Lost connections

for (const column of columns) {
  test(`fault 8, ${column}: a connection that ends while idle is replaced in silence`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    const heard: unknown[] = []
    bulk.on('reconnect', (info) => heard.push(info))
    bulk.on('error', (error) => heard.push(error))
    for (let round = 0; round < 3; round++) {
      areDone(t, column, await resolution(t, increments(bulk, 10, 'n').exec()))
      await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await until(() => !bulk.stats().connected)
    }
    const summary = await bulk.close()
    areDone(t, column, summary)
    // With replies off, the server is asked for its errors at the end.
    const reconnects = column === 'off' ? 3 : 2
    t.deepEqual([summary.commands, summary.resent, summary.reconnects], [30, 0, reconnects])
    t.is(await client.get('n'), '30')
    const info = { reason: 'lost', address: `127.0.0.1:${server.port}` }
    t.deepEqual(
      heard,
      Array.from({ length: reconnects }, () => info),
    )
  })
}

// Servers that do not move

/** Longer than any test takes: who paused the server goes on with it. */
const FOR_LONG = 1_000_000

for (const column of columns) {
  test(`fault 11, ${column}: a paused server is waited for`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    await bulk.set('first', 0).exec()
    await client.client('PAUSE', FOR_LONG, 'WRITE')
    const result = increments(bulk, 20_000, 'n').exec()
    await until(() => bulk.stats().inFlightBytes > 0)
    t.is(await client.exists('n'), 0)
    await client.call('CLIENT', 'UNPAUSE')
    areDone(t, column, await resolution(t, result))
    t.is(await client.get('n'), '20000')
    t.is(bulk.stats().reconnects, 0)
  })
}

// Refused commands

for (const column of ['check', 'collect'] as const) {
  test(`fault 12, ${column}: refused commands are told with index, key and code, and do not stop others`, async (t) => {
    const bulk = bulkFor(t, { port: shared.port, ...COLUMNS[column], maxFailures: 3 })
    const heard: number[] = []
    bulk.on('failure', ({ index }) => heard.push(index))
    const [refused, accepted] = [`refused:${column}`, `accepted:${column}`]
    bulk.set(refused, 'text')
    for (let i = 0; i < 1_000; i++) bulk.lpush(refused, 1).incr(accepted).call('NO.SUCH', 'x')
    const outcome = await resolution(t, bulk.exec())
    t.like(outcome, { commands: 3_001, succeeded: 1_001, failed: 2_000, unknown: 0 })
    t.deepEqual(outcome.errors, { ERR: 1_000, WRONGTYPE: 1_000 })
    t.deepEqual(
      outcome.failures.map(({ index, command, key, code }) => [index, command, key?.toString(), code]),
      [
        [1, 'LPUSH', refused, 'WRONGTYPE'],
        [3, 'NO.SUCH', undefined, 'ERR'],
        [4, 'LPUSH', refused, 'WRONGTYPE'],
      ],
    )
    t.is(heard.length, 2_000)
    t.is(await sharedClient.get(accepted), '1000')
  })
}

for (const column of columns) {
  test(`fault 14, ${column}: keys that the server evicts cannot be seen`, async (t) => {
    const server = await serverFor(t, '--maxmemory', '4mb', '--maxmemory-policy', 'allkeys-lru')
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    // A transaction has to fit into the memory as a whole.
    for (let batch = 0; batch < 50; batch++) void sets(bulk, 100, `key:${batch}`, 'x'.repeat(2_000)).exec()
    areDone(t, column, await resolution(t, bulk.close()))
    t.true((await clientOf(t, server).dbsize()) < 5_000)
  })
}

// Wrong replies

for (const column of ['check', 'collect'] as const) {
  test(`fault 17, ${column}: a protocol error that the server tells of is not repeated`, async (t) => {
    const server = await scriptedFor(t, ([name], socket, connection) => {
      if (connection > 0 || name !== 'INCR') return undefined
      socket.end("-ERR Protocol error: expected '$', got 'X'\r\n")
      return null
    })
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], maxInFlightBytes: 2_000 })
    const error = await rejection(t, increments(bulk, 1_000, 'n').exec(), 'RESPIPE_PROTOCOL')
    t.regex(error.message, /the server says: ERR Protocol error: expected '\$', got 'X'/)
    t.is(error.outcome.succeeded, 0)
    t.true(error.outcome.unknown >= 1)
    t.is(server.connections, 1)
    t.is((await resolution(t, increments(bulk, 10, 'n').exec())).succeeded, 10)
  })
}

for (const column of columns) {
  test(`fault 18, ${column}: garbage between the replies: all of the batch is in doubt`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 16_384 })
    const fault = proxy.at(behind(column, 'INCR', 2_500), () => proxy.garbage('\0garbage\r\n'))
    const batches = Array.from({ length: 6 }, () => increments(bulk, 2_000, 'n').exec())
    const outcomes = (await Promise.allSettled(batches)).map((batch) =>
      batch.status === 'fulfilled' ? { outcome: batch.value } : (batch.reason as RespipeError & { outcome: Outcome }),
    )
    t.true(fault.hasHappened)
    const given = outcomes.findIndex((batch) => 'code' in batch)
    // With replies off, what was said of the first batch may be on its way.
    t.true(given === 1 || (given === 0 && column === 'off'), `batch ${given}`)
    const error = await rejection(t, batches[given]!, 'RESPIPE_PROTOCOL')
    t.is(error.outcome.succeeded, 0)
    t.true(error.outcome.unknown > 0, inspect(error.outcome))
    for (const batch of batches.slice(given)) {
      t.is(reasonOf(await rejection(t, batch, 'RESPIPE_PROTOCOL')), reasonOf(error))
    }
    const sum = (count: 'succeeded' | 'unknown') => outcomes.reduce((total, { outcome }) => total + outcome[count], 0)
    await isHonest(t, clientOf(t, server), 'n', { succeeded: sum('succeeded'), unknown: sum('unknown') })
    areDone(t, column, await resolution(t, increments(bulk, 10, 'm').exec()))
  })
}

for (const column of ['check', 'collect'] as const) {
  test(`fault 19, ${column}: the nonce arrives one reply early`, async (t) => {
    let swallowed = false
    const server = await scriptedFor(t, ([name]) => {
      if (name !== 'INCR' || swallowed) return undefined
      swallowed = true
      return null
    })
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_PROTOCOL')
    t.regex(error.message, /the fence was answered before all commands were/)
    t.is(error.outcome.unknown, 10)
    t.is((await resolution(t, increments(bulk, 10, 'n').exec())).succeeded, 10)
  })
}

// Limits of the server

test('fault 20: what the server holds while no reply is read is what the window asks for', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 2_048 })
  // 24 bytes each: 85 are in the window.
  for (let i = 0; i < 2_000; i++) bulk.get('large')
  const executed = async () => Number(/cmdstat_get:calls=(\d+)/.exec(await client.info('commandstats'))?.[1] ?? 0)
  let held = 0
  const fault = proxy.at({ replyTo: 'GET' }, async () => {
    await until(async () => (await executed()) > 60)
    held = await executed()
  })
  const outcome = await resolution(t, bulk.exec())
  t.true(fault.hasHappened)
  t.true(held > 60 && held <= 1 + 85, `${held} commands`)
  t.is(outcome.succeeded, 2_000)
})

test('fault 20: a server that ends us for our replies: in doubt, and the load goes on, where nothing is sent again', async (t) => {
  const { client, bulk } = await readsTooMuch(t, { resend: 'none' })
  const outcome = await resolution(t, increments(bulk, 10, 'n').exec())
  t.is(outcome.failed, 0)
  t.true(outcome.unknown > 0, inspect(outcome))
  await isHonest(t, client, 'n', { ...outcome, succeeded: 0 })
})

for (const column of ['check', 'collect'] as const) {
  test(`fault 20, ${column}: what is ended each time that it is sent is given up in the end`, async (t) => {
    const { client, bulk } = await readsTooMuch(t, { ...COLUMNS[column], retry: { attempts: 3 } })
    const error = await rejection(t, increments(bulk, 10, 'n').exec(), 'RESPIPE_CONNECTION_LOST')
    await isHonest(t, client, 'n', { ...error.outcome, succeeded: 0 })
  })
}

test('fault 20, checkpoint: what was done is known to be done, though its replies are lost', async (t) => {
  const { client, bulk } = await readsTooMuch(t, COLUMNS.checkpoint)
  areDone(t, 'checkpoint', await resolution(t, increments(bulk, 10, 'n').exec()))
  t.is(await client.get('n'), '10')
  t.is(bulk.stats().resent, 0)
})

for (const column of told) {
  test(`fault 20, ${column}: a window, or a batch, whose replies the server holds: all are read`, async (t) => {
    const { bulk } = await readsTooMuch(t, { ...COLUMNS[column], maxInFlightBytes: 100 })
    bulk.discard()
    for (let batch = 0; batch < 40; batch++) {
      for (let i = 0; i < 5; i++) bulk.get('large')
      areDone(t, column, await resolution(t, bulk.exec()))
    }
    t.is(bulk.stats().reconnects, 0)
  })
}

/** Appended are reads of 10 MB in all; the server ends whoever has 1 MB to read. */
async function readsTooMuch(t: ExecutionContext, options: BulkPipelineOptions) {
  const server = await serverFor(t, '--client-output-buffer-limit', 'normal', '1mb', '0', '0')
  const client = clientOf(t, server)
  await client.set('large', 'x'.repeat(100_000))
  const bulk = bulkFor(t, { port: server.port, maxInFlightBytes: 4_096, ...options })
  for (let i = 0; i < 100; i++) bulk.get('large')
  return { client, bulk }
}

for (const column of columns) {
  test(`fault 21, ${column}: the window stays below the query buffer of a paused server`, async (t) => {
    const server = await serverFor(t, '--client-query-buffer-limit', '4mb')
    const client = clientOf(t, server)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column] })
    await bulk.set('first', 0).exec()
    await client.client('PAUSE', FOR_LONG, 'WRITE')
    const value = 'x'.repeat(1_000)
    // A transaction is written whole.
    const [batches, each] = column === 'checkpoint' ? [5, 1_000] : [1, 5_000]
    for (let i = 0; i < batches; i++) void sets(bulk, each, `paused:${i}`, value).exec()
    // All that the window takes, but for what may be too large for the rest of it.
    await until(() => bulk.stats().inFlightBytes > 900_000)
    t.is(await client.dbsize(), column === 'checkpoint' ? 2 : 1)
    await client.call('CLIENT', 'UNPAUSE')
    const summary = await resolution(t, bulk.close())
    areDone(t, column, summary)
    t.is(summary.reconnects, 0)
    for (let i = 0; i < batches; i++) t.is(await stale(client, each, `paused:${i}`, value), 0)
  })
}

test('fault 21: a command above the query buffer of the server is given up in the end', async (t) => {
  const server = await serverFor(t, '--client-query-buffer-limit', '1mb')
  const attempted = bulkFor(t, { port: server.port, retry: { attempts: 2 } })
  attempted.incr('before').set('large', Buffer.alloc(8e6)).incr('behind')
  const error = await rejection(t, attempted.exec(), 'RESPIPE_CONNECTION_LOST')
  t.is(error.outcome.commands, 3)
  t.is(await clientOf(t, server).exists('large'), 0)
})

test('fault 21: so it is by time', async (t) => {
  const server = await serverFor(t, '--client-query-buffer-limit', '1mb')
  const timed = bulkFor(t, { port: server.port, retry: { maxElapsedMs: 50 } })
  timed.set('large', Buffer.alloc(8e6))
  await rejection(t, timed.exec(), 'RESPIPE_CONNECTION_LOST')
})

// What is refused before it can do harm

for (const [fault, ...command] of [
  ['26', 'multi'],
  ['26', 'EXEC'],
  ['26', 'discard'],
  ['26', 'WATCH', 'key'],
  ['27', 'subscribe', 'channel'],
  ['27', 'PSUBSCRIBE', '*'],
  ['27', 'ssubscribe', 'channel'],
  ['27', 'monitor'],
  ['27', 'client', 'reply', 'off'],
  ['27', 'CLIENT', 'REPLY', 'SKIP'],
  ['27', 'reset'],
  ['27', 'hello', '3'],
  ['27', 'quit'],
  ['27', 'shutdown'],
  ['27', 'auth', 'password'],
  ['27', 'select', '1'],
  ['27', 'sync'],
  ['27', 'psync', '?', '-1'],
  ['27', 'blpop', 'key', '0'],
  ['27', 'brpop', 'key', '0'],
  ['27', 'bzpopmin', 'key', '0'],
  ['27', 'xread', 'BLOCK', '0', 'STREAMS', 's', '$'],
  ['27', 'wait', '1', '0'],
] as [string, string, ...string[]][]) {
  test(`fault ${fault}, all columns: ${command.join(' ')} is refused where it is appended`, (t) => {
    for (const column of columns) {
      const bulk = bulkFor(t, { port: 1, ...COLUMNS[column] })
      t.throws(() => bulk.call(command[0]!, ...command.slice(1)), { code: 'RESPIPE_FORBIDDEN_COMMAND' }, column)
      t.is(bulk.length, 0)
    }
  })
}

for (const column of columns) {
  test(`fault 28, ${column}: an append above maxBufferedBytes throws, and nothing grows`, async (t) => {
    const server = await serverFor(t)
    const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], maxBufferedBytes: 1_000_000 })
    await bulk.set('key', 'value').exec()
    await server.kill('SIGSTOP')
    const results: Promise<Outcome>[] = []
    let appended = 0
    const error = t.throws(() => {
      for (;;) {
        bulk.incr('n')
        if (++appended % 1_000 === 0) results.push(bulk.exec())
      }
    })
    t.is((error as RespipeError).code, 'RESPIPE_BUFFER_FULL')
    // 20 bytes each.
    t.true(appended > 30_000 && appended <= 50_000, `${appended}`)
    t.throws(() => bulk.incr('n'), { code: 'RESPIPE_BUFFER_FULL' })
    await server.kill('SIGCONT')
    for (const result of results) areDone(t, column, await resolution(t, result))
    areDone(t, column, await resolution(t, bulk.incr('n').exec()))
    t.is(await clientOf(t, server).get('n'), String(appended + 1))
  })
}

for (const column of ['check', 'collect'] as const) {
  test(`fault 30, ${column}: a user who loses a permission`, async (t) => {
    const { proxy, client, login } = await userFor(t)
    const bulk = bulkFor(t, { port: proxy.port, ...login, ...COLUMNS[column], maxInFlightBytes: 8_192 })
    const fault = proxy.at(behind(column, 'INCR', 1_000), () => client.acl('SETUSER', 'loader', '-incr'))
    const outcome = await resolution(t, increments(bulk, 5_000, 'n').exec())
    await fault.happened
    t.is(outcome.unknown, 0)
    // Those in the window may have been executed as well.
    t.true(outcome.succeeded >= 1_000 && outcome.failed >= 4_000 - 8_192 / 21, inspect(outcome.errors))
    t.deepEqual(outcome.errors, { NOPERM: outcome.failed })
    t.is(await client.get('n'), String(outcome.succeeded))
    await client.acl('SETUSER', 'loader', '+incr')
    areDone(t, column, await resolution(t, increments(bulk, 10, 'n').exec()))
  })
}

for (const column of columns) {
  test(`fault 30, ${column}: a user who is deleted`, async (t) => {
    const { proxy, client, login } = await userFor(t)
    const bulk = bulkFor(t, { port: proxy.port, ...login, ...COLUMNS[column], maxInFlightBytes: 8_192 })
    const fault = proxy.at(behind(column, 'INCR', 1_050), () => client.acl('DELUSER', 'loader'))
    const batches = column === 'checkpoint' ? 50 : 1
    const deleted = Array.from({ length: batches }, () => increments(bulk, 5_000 / batches, 'n').exec())
    const error = await rejection(t, deleted.at(-1)!, 'RESPIPE_AUTH')
    await fault.happened
    t.regex(error.message, /WRONGPASS/)
    t.true(error.outcome.failed > 0)
    t.deepEqual(error.outcome.errors, { RESPIPE_AUTH: error.outcome.failed })
    await Promise.allSettled(deleted)
    const { succeeded, unknown } = bulk.stats()
    await isHonest(t, client, 'n', { succeeded, unknown })
  })
}

/** A user of its own, who logs in by way of a proxy. */
async function userFor(t: ExecutionContext) {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  const client = clientOf(t, server)
  await client.acl('SETUSER', 'loader', 'on', '>password', '~*', '+@all')
  return { proxy, client, login: { username: 'loader', password: 'password' } }
}

// Ends by our own side

for (const [what, code] of [
  ['destroy()', 'RESPIPE_CLOSED'],
  ['an AbortSignal', 'RESPIPE_ABORTED'],
] as const) {
  for (const column of columns) {
    test(`fault 32, ${column}: ${what} within exec() tells what is in doubt`, async (t) => {
      const server = await serverFor(t)
      const proxy = await proxyFor(t, server)
      const controller = new AbortController()
      const options = { ...COLUMNS[column], maxInFlightBytes: 16_384, signal: controller.signal }
      const bulk = bulkFor(t, { port: proxy.port, ...options })
      const fault = proxy.at(behind(column, 'INCR', 3_050), () => {
        if (code === 'RESPIPE_CLOSED') bulk.destroy()
        else controller.abort()
      })
      const batches = column === 'checkpoint' ? 100 : 1
      const results = Array.from({ length: batches }, () => increments(bulk, 10_000 / batches, 'n').exec())
      results.push(increments(bulk, 10, 'n').exec())
      const last = await rejection(t, results.at(-1)!, code)
      t.true(fault.hasHappened)
      t.deepEqual(last.outcome.errors, { [code]: 10 })
      await Promise.allSettled(results)
      const { succeeded, failed, unknown, errors } = bulk.stats()
      t.true(succeeded + unknown >= (column === 'checkpoint' ? 3_000 : 3_050) && failed > 10)
      t.deepEqual(errors, { [code]: failed })
      // What is in the window; a transaction is in doubt as a whole.
      if (column !== 'off') t.true(unknown <= 16_384 / 20, `${unknown} in doubt`)
      const client = clientOf(t, server)
      // Nobody is there any more but who looks.
      await until(
        async () =>
          String(await client.client('LIST'))
            .trim()
            .split('\n').length === 1,
      )
      await isHonest(t, client, 'n', { succeeded, unknown })
      await t.throwsAsync(bulk.exec(), { code })
      t.is(bulk.length, 0)
    })

    test(`fault 32, ${column}: ${what} while nobody answers ends at once`, async (t) => {
      const server = await scriptedFor(t, { silent: true })
      const controller = new AbortController()
      const bulk = bulkFor(t, { port: server.port, ...COLUMNS[column], signal: controller.signal })
      const result = increments(bulk, 10, 'n').exec()
      await until(() => server.commands.length > 0)
      if (code === 'RESPIPE_CLOSED') bulk.destroy()
      else controller.abort()
      t.deepEqual((await rejection(t, result, code)).outcome.errors, { [code]: 10 })
    })
  }
}

test('fault 35: executions take turns, over lost connections too', async (t) => {
  const proxy = await proxyFor(t, shared)
  const bulk = bulkFor(t, { port: proxy.port, maxInFlightBytes: 4_096 })
  await bulk.del('turns').exec()
  const random = randomNumbers(35)
  // More than 30 bytes each, and up to 4 KB of them are lost each time.
  const faults = [loseNext(proxy, 'RPUSH', 350)]
  for (let i = 1; i <= 5; i++) faults.push(proxy.resetAfter(20_000 * i + random(10_000)))
  const order: number[] = []
  const results = Array.from({ length: 50 }, (_, batch) => {
    for (let i = 0; i < 100; i++) bulk.rpush('turns', batch * 100 + i)
    return bulk.exec().then((outcome) => {
      order.push(batch)
      return outcome
    })
  })
  const outcomes: Outcome[] = []
  for (const result of results) outcomes.push(await resolution(t, result))
  t.true(faults.every((fault) => fault.hasHappened))
  t.deepEqual(order, [...results.keys()])
  const present = (await sharedClient.lrange('turns', 0, -1)).map(Number)
  t.deepEqual(
    present,
    present.toSorted((a, b) => a - b),
  )
  const unknown = outcomes.reduce((sum, outcome) => sum + outcome.unknown, 0)
  t.true(unknown > 0 && 5_000 - unknown <= present.length, `${present.length} present, ${unknown} in doubt`)
})

for (const column of columns) {
  test(`fault 35, ${column}: an exec() while others run is queued, and never comes between their commands`, async (t) => {
    const server = await serverFor(t)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column], maxInFlightBytes: 4_096 })
    const random = randomNumbers(36)
    // Within a batch: with replies off, nothing is said of it before its end.
    const first = column === 'off' ? proxy.at({ command: 'SET', nth: 350 }, 'reset') : loseNext(proxy, 'SET', 350)
    const faults = [first]
    for (let i = 1; i <= 5; i++) faults.push(proxy.resetAfter(20_000 * i + random(10_000)))
    const order: number[] = []
    const results = Array.from({ length: 50 }, (_, batch) =>
      sets(bulk, 100, 'turns', batch)
        .exec()
        .then((outcome) => {
          order.push(batch)
          return outcome
        }),
    )
    for (const result of results) areDone(t, column, await resolution(t, result))
    t.true(faults.every((fault) => fault.hasHappened))
    t.deepEqual(order, [...results.keys()])
    t.true(bulk.stats().resent > 0 || column === 'checkpoint')
    t.is(await stale(clientOf(t, server), 100, 'turns', 49), 0)
  })
}
