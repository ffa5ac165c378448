import test from './helpers/test.ts'
import { fileURLToPath } from 'node:url'
import { complaints } from './helpers/typescript.ts'

// What compiles and what does not, in the strictest mode that a user may have.

/** Within the project, where imports find it and its tools. */
const folder = fileURLToPath(new URL('types/', import.meta.url))

const compilerOptions = {
  target: 'es2022',
  lib: ['es2023', 'esnext.disposable'],
  module: 'node16',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  noUnusedLocals: true,
  skipLibCheck: false,
  noEmit: true,
}

test('a strict program is checked line by line', (t) => {
  t.is(complaints(folder, { 'program.ts': program }, compilerOptions), '')
})

test('each line that the program expects to be refused is refused', (t) => {
  const expected = program.match(/@ts-expect-error/g)?.length ?? 0
  t.true(expected > 20)
  const bare = program.replaceAll('// @ts-expect-error', '// refused')
  const found = complaints(folder, { 'program.ts': bare }, compilerOptions)
  const lines = new Set([...found.matchAll(/program\.ts\((\d+),\d+\): error/g)].map(([, line]) => line))
  t.is(lines.size, expected, found)
})

const program = `
import {
  bulkPipeline, RespipeError, type Argument, type BatchResult, type BulkPipeline, type BulkPipelineOptions,
  type CommandFailure, type Commands, type Fields, type Outcome, type Reply, type Stats, type Summary,
} from '../../index.js'

/** Exactly the same type: \`any\` is the same as nothing but itself. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
declare function same<A, B>(yes: Same<A, B>): void

interface Row {
  name: string
  people: number
  id: bigint
  mayor?: string | null
}
interface Nested {
  name: { first: string }
}
class Instance {
  name = 'x'
  bytes = new Uint8Array(1)
}
declare const row: Row
declare const nested: Nested
declare const bulk: BulkPipeline

// Fields

bulk.hset('key', row).hset('key', new Instance()).hset('key', { a: 1, b: null, c: undefined, d: Buffer.alloc(1) })
bulk.hset('key', new Map<Argument, Argument | null>([['a', 1], [2, null]])).hset('key', ['a', 1, 'b', 2n])
bulk.hset('key', 'a', 1, 'b', 2).mset({ a: 1 }).xadd('stream', '*', { a: 1 }).zadd('set', { member: 1.5 })
same<BulkPipeline, ReturnType<typeof bulk.hset>>(true)
export const fields: Fields<Row> = row
// @ts-expect-error: a field's value is one argument
bulk.hset('key', nested)
// @ts-expect-error: nor is a Date
bulk.hset('key', { at: new Date() })
// @ts-expect-error: nor a boolean
bulk.hset('key', { yes: true })
// @ts-expect-error: nor a boolean in a Map
bulk.hset('key', new Map([['yes', true]]))

// Arguments

bulk.set(Buffer.from('key'), 1n, 'EX', 60).call('MODULE.COMMAND', 'a', 1, ['b', new Uint8Array(1)])
// @ts-expect-error: no value
bulk.set('key')
// @ts-expect-error: null is no argument
bulk.set('key', null)
// @ts-expect-error: nor is a boolean
bulk.call('SET', 'key', true)
// @ts-expect-error: nor an object
bulk.call('HSET', 'key', { a: 1 })
// @ts-expect-error: arrays are flattened one level
bulk.call('SADD', 'key', [['a']])
// @ts-expect-error: no such command
bulk.hsett('key', 'field', 'value')

// Results

export async function results(): Promise<void> {
  const result = await bulk.exec()
  same<typeof result, BatchResult>(true)
  same<typeof result.commands, number>(true)
  same<typeof result.errors, Record<string, number>>(true)
  same<(typeof result.errors)['WRONGTYPE'], number>(true)
  const [failure] = result.failures
  same<typeof failure, CommandFailure | undefined>(true)
  if (failure) {
    same<typeof failure.index, number>(true)
    same<typeof failure.command, string>(true)
    same<typeof failure.key, Buffer | undefined>(true)
    same<typeof failure.code, string>(true)
    same<typeof failure.message, string>(true)
    same<typeof failure.row, number | undefined>(true)
  }
  const reply = result.replies?.[0]
  same<typeof reply, Reply | undefined>(true)
  same<Reply, string | number | bigint | null | Buffer | Error | Reply[]>(true)
  // @ts-expect-error: a reply is not known to be a string
  reply?.toUpperCase()
  const summary = await bulk.sync()
  same<typeof summary, Summary>(true)
  same<typeof summary.serverErrorReplies, number | null | undefined>(true)
  same<Awaited<ReturnType<typeof bulk.close>>, Summary>(true)
  same<Awaited<ReturnType<typeof bulk.drain>>, void>(true)
  same<Awaited<ReturnType<typeof bulk.query>>, Reply>(true)
  same<Awaited<ReturnType<typeof bulk.lastCheckpoint>>, { batch: number; row?: number } | null>(true)
  const stats = bulk.stats()
  same<typeof stats, Stats>(true)
  same<typeof stats.connected, boolean>(true)
  // @ts-expect-error: the details are for outcomes
  void stats.failures
  same<typeof bulk.length, number>(true)
  same<typeof bulk.needsDrain, boolean>(true)
  same<ReturnType<typeof bulk.discard>, number>(true)
  same<ReturnType<typeof bulk.destroy>, void>(true)
  // @ts-expect-error: it is only to be read
  bulk.length = 1
  await using other = bulkPipeline()
  other.set('key', 1)
}

// Events

bulk
  .on('failure', (failure) => same<typeof failure, CommandFailure>(true))
  .once('reconnect', ({ reason, address }) => {
    same<typeof reason, 'rotation' | 'lost' | 'moved'>(true)
    same<typeof address, string>(true)
  })
  .on('error', (error) => same<typeof error, RespipeError>(true))
  .off('failure', (failure) => same<typeof failure, CommandFailure>(true))
  .removeAllListeners('error')
  .set('key', 1)
// @ts-expect-error: no such event
bulk.on('fail', () => {})
// @ts-expect-error: a listener of one argument
bulk.on('failure', (failure, more) => void [failure, more])

// Errors

export function errors(error: unknown): number | undefined {
  if (!(error instanceof RespipeError)) return undefined
  same<typeof error, RespipeError>(true)
  same<typeof error.code, string>(true)
  same<typeof error.outcome, Outcome | undefined>(true)
  // @ts-expect-error: it is only to be read
  error.code = 'RESPIPE_CLOSED'
  return error.outcome?.unknown
}

// Options

const some: BulkPipelineOptions = {
  host: 'h', port: 1, replies: 'collect', encoding: 'buffer', autoExec: { ms: 1 }, retry: { attempts: Infinity },
  tls: { ca: Buffer.alloc(1), rejectUnauthorized: false }, signal: AbortSignal.timeout(1), whenFull: 'block', onNull: 'skip',
}
same<ReturnType<typeof bulkPipeline>, BulkPipeline>(true)
bulkPipeline('redis://h', some)
bulkPipeline(some)
// @ts-expect-error: no such mode
bulkPipeline({ replies: 'none' })
// @ts-expect-error: no such option
bulkPipeline({ maxInflightBytes: 1 })
// @ts-expect-error: a number
bulkPipeline({ port: '6379' })
// @ts-expect-error: no such threshold
bulkPipeline({ autoExec: { seconds: 1 } })
// @ts-expect-error: options come second
bulkPipeline(some, 'redis://h')

// Templates, and loads, which a later version has

export async function loads(rows: AsyncIterable<Row>): Promise<void> {
  same<Awaited<ReturnType<typeof bulk.importFile>>, Summary>(true)
  await bulk.load(rows, (each, to) => {
    same<typeof each, Row>(true)
    same<typeof to, BulkPipeline>(true)
  })
  const template = bulk.template(['SET {a} {b}'])
  same<typeof template.holes, readonly string[]>(true)
  same<ReturnType<typeof template>, BulkPipeline>(true)
  template({ a: 1 }).set('key', 1)
  await bulk.load([row], template, { onProgress: ({ rows: count, connected }) => {
    same<typeof count, number>(true)
    same<typeof connected, boolean>(true)
  } })
}
export type Typed = Commands
`
