// waitReplicas: sync() and close() also wait until replicas hold the data, and say where they do not.
import test, { type ExecutionContext } from 'ava'
import type { BulkPipelineOptions } from '../index.js'
import { areDone, clientOf, COLUMNS, columns, increments, serverFor, sets, stale } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'

/** A server, and a replica that follows it. */
async function pairFor(t: ExecutionContext) {
  const server = await serverFor(t, '--repl-diskless-sync-delay', '0')
  const replica = await serverFor(t, '--replicaof', '127.0.0.1', String(server.port))
  const client = clientOf(t, server)
  await until(async () => /slave0:.*state=online/.test(await client.info('replication')))
  await client.set('ready', 1)
  await until(async () => (await client.wait(1, 1_000)) === 1)
  return { server, replica, client }
}

function waitingFor(t: ExecutionContext, { port }: { port: number }, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port, waitReplicas: { count: 1, timeoutMs: 5_000 }, ...options })
}

for (const column of columns) {
  test(`fault 16, ${column}: what sync() and close() have told of is held by the replica`, async (t) => {
    const { server, replica } = await pairFor(t)
    const reader = clientOf(t, replica)
    const bulk = waitingFor(t, server, COLUMNS[column])
    for (let batch = 0; batch < 5; batch++) {
      areDone(t, column, await resolution(t, sets(bulk, 5_000, 'key', batch).sync()))
      t.is(await stale(reader, 5_000, 'key', batch), 0)
    }
    areDone(t, column, await resolution(t, sets(bulk, 5_000, 'key', 'last').close()))
    t.is(await stale(reader, 5_000, 'key', 'last'), 0)
  })

  test(`fault 16, ${column}: where no replica is there, that is told, with what was done`, async (t) => {
    const server = await serverFor(t)
    const bulk = waitingFor(t, server, { ...COLUMNS[column], waitReplicas: { count: 1, timeoutMs: 50 } })
    areDone(t, column, await resolution(t, increments(bulk, 10, 'n').exec()))
    for (const method of ['sync', 'close'] as const) {
      const error = await rejection(t, bulk[method](), 'RESPIPE_REFUSED')
      t.regex(error.message, /only 0 of 1 replicas hold the data/)
      areDone(t, column, error.outcome)
    }
    t.is(await clientOf(t, server).get('n'), '10')
  })
}

for (const [what, options] of [
  ['over one connection', {}],
  ['over a connection for each batch', { reconnectEvery: 1 }],
  ['with replies off', { replies: 'off' }],
  ['in transactions', { transaction: true }],
] as [string, BulkPipelineOptions][]) {
  test(`fault 16: a replica that does not keep up is told of, ${what}`, async (t) => {
    const { server, replica } = await pairFor(t)
    const bulk = waitingFor(t, server, { ...options, waitReplicas: { count: 1, timeoutMs: 1_000 } })
    await bulk.set('first', 0).sync()
    await replica.kill('SIGSTOP')
    for (let batch = 0; batch < 3; batch++) await increments(bulk, 10, 'n').exec()
    const error = await rejection(t, bulk.sync(), 'RESPIPE_REFUSED')
    t.regex(error.message, /only 0 of 1 replicas hold the data/)
    await replica.kill('SIGCONT')
    await until(async () => (await clientOf(t, replica).get('n')) === '30')
  })
}

test('fault 16: a replica that does not keep up is told of after a lost connection too', async (t) => {
  const { server, replica, client } = await pairFor(t)
  const bulk = waitingFor(t, server, { waitReplicas: { count: 1, timeoutMs: 1_000 } })
  await bulk.set('first', 0).sync()
  await replica.kill('SIGSTOP')
  await increments(bulk, 10, 'n').exec()
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until(() => !bulk.stats().connected)
  await rejection(t, bulk.sync(), 'RESPIPE_REFUSED')
  await replica.kill('SIGCONT')
})

test('a wait that takes longer than stallTimeoutMs is no stall', async (t) => {
  const { server, replica } = await pairFor(t)
  const options = { stallTimeoutMs: 500, retry: { attempts: 0 } }
  const bulk = waitingFor(t, server, { ...options, waitReplicas: { count: 1, timeoutMs: 2_000 } })
  await bulk.set('first', 0).sync()
  await replica.kill('SIGSTOP')
  await rejection(t, increments(bulk, 10, 'n').sync(), 'RESPIPE_REFUSED')
  await replica.kill('SIGCONT')
})

test('a user without +wait is told so', async (t) => {
  const { server, client } = await pairFor(t)
  await client.acl('SETUSER', 'loader', 'on', '>password', '~*', '+@all', '-wait')
  const bulk = waitingFor(t, server, { username: 'loader', password: 'password' })
  const error = await rejection(t, increments(bulk, 10, 'n').sync(), 'RESPIPE_AUTH')
  t.regex(error.message, /waitReplicas needs WAIT/)
  t.is(error.outcome.succeeded, 10)
})
