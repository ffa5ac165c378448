// Commands of random bytes, text and numbers in every form that an argument can have, read back by another client.
// RESPIPE_SEED repeats a run.

import type { ExecutionContext } from 'ava'
import { randomInt } from 'node:crypto'
import { Command, type Redis } from 'ioredis'

import type { Argument } from '../../index.js'
import { randomNumbers } from './outcomes.ts'
import { pipelineFor, type Loose } from './pipelines.ts'

// Otherwise an object, whose fields are text.
Command.setReplyTransformer('hgetall', (reply: unknown) => reply)

/** What has tripped other encoders. */
const AWKWARD = [
  '',
  '\r\n',
  '\0',
  '$3\r\nabc\r\n',
  '*1\r\n$8\r\nFLUSHALL\r\n',
  '-ERR no\r\n',
  '\ufeff',
  'NX',
  '😀',
  'é',
]
const NUMBERS = [0, -0, 1, -1, 99, 100, 0.1, -0.5, 1e21, 1e-7, -1.5e300, 5e-324, 2 ** 53, -(2 ** 31), 123456789.125]
const BIGINTS = [0n, -1n, 2n ** 63n, -(2n ** 63n), 2n ** 64n, 10n ** 30n, 2n ** 53n + 1n]

class Source {
  readonly below: (limit: number) => number

  constructor(seed: number) {
    this.below = randomNumbers(seed)
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!
  }

  list<T>(length: number, make: () => T): T[] {
    return Array.from({ length }, make)
  }

  /** Mostly short; now and then around the limits at which the encoder goes another way. */
  length(): number {
    const dice = this.below(1000)
    if (dice < 900) return this.below(24)
    if (dice < 995) return this.below(400)
    return this.pick([4093, 4094, 4095, 4096, 4097, 8191]) - this.below(2)
  }

  /** A code point of any plane, but no half of a pair. */
  codePoint(): number {
    const planes = [0x80, 0x800, 0x10000, 0x110000]
    const point = this.below(this.pick(planes))
    return point >= 0xd800 && point < 0xe000 ? 0xe000 : point
  }

  text(): string {
    const length = this.length()
    switch (this.below(4)) {
      case 0:
        return this.pick(AWKWARD)
      case 1:
        return String.fromCodePoint(...this.list(length, () => this.codePoint()))
      case 2:
        return 'a'.repeat(length) + this.pick(AWKWARD)
      default:
        return String.fromCharCode(...this.list(length, () => this.below(0x80)))
    }
  }

  argument(): Argument {
    switch (this.below(6)) {
      case 0:
        return Buffer.from(this.list(this.length(), () => this.below(256)))
      case 1:
        return new Uint8Array(this.list(this.below(9), () => this.below(256))).subarray(1)
      case 2:
        return this.below(2) === 0 ? this.pick(NUMBERS) : (this.below(2 ** 32) / 2 ** 32 - 0.5) * 10 ** this.below(40)
      case 3:
        return this.below(2) === 0 ? this.pick(BIGINTS) : BigInt(this.below(2 ** 32)) ** BigInt(this.below(4))
      default:
        return this.text()
    }
  }
}

/** As the server is to have it. */
function bytes(argument: Argument): Buffer {
  return argument instanceof Uint8Array ? Buffer.from(argument) : Buffer.from(String(argument))
}

const hex = (value: Argument) => bytes(value).toString('hex')

/** One command with random arguments: appends it, and knows how the server is asked for it. */
type Form = (
  bulk: Loose,
  source: Source,
  key: string,
) => { ask: [command: string, ...args: (string | Buffer)[]]; expected: unknown }

const hashOf = (pairs: [Argument, Argument][]) => new Map(pairs.map(([field, value]) => [hex(field), hex(value)]))
const record = (pairs: [string, Argument][]) => {
  const object = Object.create(null)
  for (const [field, value] of pairs) object[field] = value
  return object as Record<string, Argument>
}
const pairsOf = (source: Source) =>
  source.list(1 + source.below(4), () => [source.argument(), source.argument()] as const)
const namedPairs = (source: Source) =>
  source.list(1 + source.below(4), () => [source.text(), source.argument()] as [string, Argument])
const valuesOf = (source: Source) => source.list(1 + source.below(6), () => source.argument())

const forms: Form[] = [
  (bulk, source, key) => {
    const value = source.argument()
    bulk.set(key, value)
    return { ask: ['get', key], expected: hex(value) }
  },
  (bulk, source, key) => {
    // The key itself is bytes.
    const value = source.argument()
    const name = Buffer.concat([Buffer.from(key), bytes(source.argument())])
    bulk.call('set', [name, value])
    return { ask: ['get', name], expected: hex(value) }
  },
  (bulk, source, key) => {
    const pairs = pairsOf(source)
    bulk.hset(key, ...pairs.flat())
    return { ask: ['hgetall', key], expected: hashOf(pairs as never) }
  },
  (bulk, source, key) => {
    const pairs = pairsOf(source)
    bulk.hset(key, pairs.flat())
    return { ask: ['hgetall', key], expected: hashOf(pairs as never) }
  },
  (bulk, source, key) => {
    const object = record(namedPairs(source))
    bulk.hset(key, object)
    return { ask: ['hgetall', key], expected: hashOf(Object.entries(object)) }
  },
  (bulk, source, key) => {
    const map = new Map<Argument, Argument>(pairsOf(source))
    bulk.call('HSET', key, [...map].flat())
    return { ask: ['hgetall', key], expected: hashOf([...map]) }
  },
  (bulk, source, key) => {
    const map = new Map<Argument, Argument>(pairsOf(source))
    bulk.hset(key, map)
    return { ask: ['hgetall', key], expected: hashOf([...map]) }
  },
  (bulk, source, key) => {
    const values = valuesOf(source)
    bulk.sadd(key, source.below(2) === 0 ? values : new Array<Argument>().concat(values))
    return { ask: ['smembers', key], expected: new Set(values.map(hex)) }
  },
  (bulk, source, key) => {
    const values = valuesOf(source)
    bulk.rpush(key, ...values)
    return { ask: ['lrange', key, '0', '-1'], expected: values.map(hex) }
  },
  (bulk, source, key) => {
    const [first, ...values] = valuesOf(source) as [Argument, ...Argument[]]
    bulk.rpush(key, first, values, [])
    return { ask: ['lrange', key, '0', '-1'], expected: [first, ...values].map(hex) }
  },
  (bulk, source, key) => {
    const value = source.argument()
    bulk.mset(source.pick([{ [key]: value }, new Map([[key, value]]), [key, value]]))
    return { ask: ['get', key], expected: hex(value) }
  },
  (bulk, source, key) => {
    const object = record(namedPairs(source))
    bulk.xadd(key, '1-1', source.below(2) === 0 ? object : new Map(Object.entries(object)))
    return { ask: ['xrange', key, '-', '+'], expected: Object.entries(object).flat().map(hex) }
  },
  (bulk, source, key) => {
    const pairs = pairsOf(source)
    bulk.xadd(key, 'MAXLEN', '~', 10n, '1-1', ...pairs.flat())
    return { ask: ['xrange', key, '-', '+'], expected: pairs.flat().map(hex) }
  },
  (bulk, source, key) => {
    // Scores are told apart by their order: 0, 1, 2 …
    const members = [...new Map(valuesOf(source).map((member) => [hex(member), member])).values()]
    const wire = members.flatMap((member, score) => [score, member])
    const map = new Map(members.map((member, score) => [member, score]))
    if (source.below(2) === 0) bulk.zadd(key, map)
    else bulk.zadd(key, 'CH', ...wire)
    return { ask: ['zrange', key, '0', '-1'], expected: members.map(hex) }
  },
]

/** A reply as the forms expect it. */
function shape([command]: [string, ...unknown[]], reply: any): unknown {
  switch (command) {
    case 'get':
      return hex(reply)
    case 'hgetall':
      return new Map(Array.from({ length: reply.length / 2 }, (_, at) => [hex(reply[2 * at]), hex(reply[2 * at + 1])]))
    case 'smembers':
      return new Set(reply.map(hex))
    case 'xrange':
      return reply[0][1].map(hex)
    default:
      return reply.map(hex)
  }
}

/** Appends so many, and asks the server for each. It is emptied after each batch: nobody else may use it. */
export async function arriveByteForByte(
  t: ExecutionContext,
  client: Redis,
  port: number,
  total: number,
  batch: number,
) {
  const seed = Number(process.env.RESPIPE_SEED ?? randomInt(2 ** 31))
  const source = new Source(seed)
  const bulk = pipelineFor(t, { port })
  for (let done = 0; done < total; done += batch) {
    const appended = source.list(batch, () =>
      source.pick(forms)(bulk, source, `k${source.below(2 ** 32)}:${bulk.length}:`),
    )
    const { commands, succeeded, failures } = await bulk.exec()
    t.deepEqual({ commands, succeeded }, { commands: batch, succeeded: batch }, failures[0]?.message)
    const reads = client.pipeline()
    for (const { ask } of appended) reads.callBuffer(...ask)
    const replies = (await reads.flushdb().exec())!
    appended.forEach(({ ask, expected }, at) => {
      const [error, reply] = replies[at]!
      const message = `command ${done + at}, ${ask}`
      if (error !== null) t.fail(`${message}: ${error.message}`)
      // Only what differs is worth an assertion.
      const actual = shape(ask, reply)
      if (JSON.stringify(plain(actual)) !== JSON.stringify(plain(expected))) t.deepEqual(actual, expected, message)
    })
  }
  t.is((await bulk.close()).succeeded, total)
}

/** Sets and Maps in an order of their own. */
function plain(value: unknown): unknown {
  if (value instanceof Map || value instanceof Set) return [...value].map(String).toSorted()
  return value
}
