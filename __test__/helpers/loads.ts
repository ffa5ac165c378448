import type { ExecutionContext } from 'ava'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import type { BulkPipeline, BulkPipelineOptions, Outcome } from '../../index.js'
import { type FaultProxy, startProxy } from './proxy.ts'
import { type Server, type ServerOptions, startServer } from './server.ts'

/** The columns of the fault matrix. */
export const COLUMNS = {
  off: { replies: 'off' },
  check: {},
  collect: { replies: 'collect' },
  checkpoint: { checkpoint: 'progress' },
} satisfies Record<string, BulkPipelineOptions>

export type Column = keyof typeof COLUMNS

export const columns = Object.keys(COLUMNS) as Column[]

/** Where replies tell what became of each command. */
export const told = columns.filter((column) => column !== 'off')

/** A server that ends with its test. */
export async function serverFor(t: ExecutionContext, ...args: string[]): Promise<Server> {
  const server = await startServer({ args })
  t.teardown(() => server.stop())
  return server
}

/** The same with options: TLS, a unix socket, another program. */
export async function serverWith(t: ExecutionContext, options: ServerOptions): Promise<Server> {
  const server = await startServer(options)
  t.teardown(() => server.stop())
  return server
}

export async function proxyFor(t: ExecutionContext, target: { port: number }): Promise<FaultProxy> {
  const proxy = await startProxy(target)
  t.teardown(() => proxy.stop())
  return proxy
}

/** Another client, to look and to change things. */
export function clientOf(t: ExecutionContext, { port }: { port: number }): Redis {
  const client = new Redis({ port, host: '127.0.0.1' })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** Another one, that is back as soon as its server is, and adds nothing to the count of error replies. */
export function witnessOf(t: ExecutionContext, { port }: { port: number }): Redis {
  const client = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 20, disableClientInfo: true })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  return client
}

/** A server that ends with its test, and a witness of it. */
export async function watchedFor(t: ExecutionContext, options: ServerOptions = {}) {
  const server = await startServer(options)
  t.teardown(() => server.stop())
  return { server, client: witnessOf(t, server), port: server.port }
}

/** What cannot be repeated. */
export function increments(bulk: BulkPipeline, count: number, key: string): BulkPipeline {
  for (let i = 0; i < count; i++) bulk.incr(key)
  return bulk
}

/** What can. */
export function sets(
  bulk: BulkPipeline,
  count: number,
  prefix: string,
  value: string | number = 'value',
): BulkPipeline {
  for (let i = 0; i < count; i++) bulk.set(`${prefix}:${i}`, value)
  return bulk
}

/** How many of the keys that `sets` wrote have another value, or none. */
export async function stale(client: Redis, count: number, prefix: string, value: string | number = 'value') {
  let wrong = 0
  for (let from = 0; from < count; from += 10_000) {
    const length = Math.min(10_000, count - from)
    const values = await client.mget(Array.from({ length }, (_, i) => `${prefix}:${from + i}`))
    wrong += values.filter((present) => present !== String(value)).length
  }
  return wrong
}

/** What is acknowledged is there; what is there beyond that is in doubt. */
export async function isHonest(t: ExecutionContext, client: Redis, key: string, { succeeded, unknown }: Counts) {
  const present = Number(await client.get(key))
  t.true(
    succeeded <= present && present <= succeeded + unknown,
    `${succeeded} acknowledged, ${present} present, ${unknown} in doubt`,
  )
}

type Counts = Pick<Outcome, 'succeeded' | 'unknown'>

/** Commands of which it is known by now what became of them, or that nobody will know. */
export function settled(bulk: BulkPipeline): number {
  const { succeeded, failed, unknown } = bulk.stats()
  return succeeded + failed + unknown
}

/** What a column says of commands that were all done: with replies off, nothing. */
export function areDone(t: ExecutionContext, column: Column, outcome: Outcome): void {
  const { commands, succeeded, failed, unknown } = outcome
  const expected = column === 'off' ? [0, 0, commands] : [commands, 0, 0]
  t.deepEqual([succeeded, failed, unknown], expected, inspect({ ...outcome, replies: undefined }))
}
