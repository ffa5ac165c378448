// Commands that the table says can be repeated, on a real server. Needs no addon: the rules of src/command/chain.rs stand
// here once more, plainly.

import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import type { Redis } from 'ioredis'
import { noteForFailure } from './test.ts'

const source = readFileSync(new URL('../../src/command/table.rs', import.meta.url), 'utf8')
const rows = [...source.matchAll(/^ {4}Command \{ name: "([^"]+)"(.*)$/gm)]

let known: Promise<Set<string>> | undefined

/** Commands of the table that the server has. */
function knownTo(client: Redis): Promise<Set<string>> {
  const names = rows.map(([, name]) => name!)
  known ??= client
    .call('COMMAND', 'INFO', ...names)
    .then((infos) => new Set(names.filter((_, at) => (infos as unknown[])[at])))
  return known
}

/** Those of `lines` that the server knows. */
async function knownOf(client: Redis, lines: string[]): Promise<string[]> {
  const names = await knownTo(client)
  return lines.filter((line) => names.has(words(line)[0]!))
}

// ---- What the table says ----

type Effect = 'Nothing' | 'Replaces' | 'Adds' | 'Expires' | 'Changes' | 'Alone' | 'Once'
const EFFECTS: Effect[] = ['Nothing', 'Replaces', 'Adds', 'Expires', 'Changes', 'Alone', 'Once']

export interface Entry {
  effect: Effect
  from: number
  words: Map<string, Effect>
}

export const table = new Map(
  rows.map(([, name = '', rest = '']): [string, Entry] => {
    const effect = (/effect: Effect::(\w+)/.exec(rest)?.[1] ?? 'Once') as Effect
    const [, from = '0', list = ''] = /stronger: Some\(Stronger \{ from: (\d+), words: &\[(.*?)\]/.exec(rest) ?? []
    const words = [...list.matchAll(/\("([^"]*)", Effect::(\w+)\)/g)]
    return [
      name,
      { effect, from: Number(from), words: new Map(words.map(([, word, other]) => [word!, other as Effect])) },
    ]
  }),
)

export function effectOf([name, ...args]: string[]): Effect {
  const { effect, from, words } = table.get(name!)!
  const found = args.slice(from).flatMap((arg) => words.get(arg.toUpperCase()) ?? [])
  return EFFECTS[Math.max(...[effect, ...found].map((one) => EFFECTS.indexOf(one)))]!
}

/** Whether commands with these effects on one key can be repeated; those before the last that replaces it do not count. */
export function areRepeatable(effects: Effect[]): boolean {
  const written = effects.filter((effect) => effect !== 'Nothing')
  if (written.includes('Once')) return false
  if (written.includes('Replaces')) return true
  const letters: Record<string, string> = { Adds: 'a', Expires: 'e', Changes: 'c', Alone: 'x' }
  const order = written.map((effect) => letters[effect]).join('')
  return /^((a[ae]*)?[ec]*|x)$/.test(order)
}

// ---- Commands to try ----

export interface Family {
  /** What the keys hold before; none, too. */
  before: string[]
  commands: string[]
  read: string[]
}

/** Of any type: each family tries them on its own key. */
export const ANY = [
  ...['DEL k', 'UNLINK k', 'PERSIST k', 'EXPIRE k 1000', 'PEXPIRE k 3000000', 'EXPIREAT k 9999999999'],
  ...['EXPIRE k 5000 NX', 'EXPIRE k 2000 LT', 'EXPIRE k 7000 GT', 'EXPIRE k 9000 XX', 'PEXPIREAT k 9999999999999 NX'],
  'EXPIRE k 0',
]

export const FAMILIES: Record<string, Family> = {
  string: {
    before: ['SET k before', 'SET k before EX 8000', 'SET l other'],
    commands: [
      ...[
        'SET k a',
        'SET k b NX',
        'SET k c XX',
        'SET k d KEEPTTL',
        'SET k e EX 4000',
        'SET k f NX EX 6000',
        'SET k g GET',
      ],
      ...['SETNX k h', 'SETEX k 1500 i', 'PSETEX k 2500000 j', 'GETSET k m', 'MSET k n l o', 'DEL k l', 'SETNX l p'],
      ...['SETBIT k 3 1', 'SETRANGE k 2 qq', 'BITFIELD k SET u8 8 65 GET u8 0', 'GETEX k EX 3500', 'GETEX k PERSIST'],
      ...['GET k', 'BITFIELD k GET u8 0'],
    ],
    read: ['GET k', 'GET l'],
  },
  hash: {
    before: ['HSET k f 0', 'HSET k f 0 g 0', 'HSET k z 0'],
    commands: [
      ...['HSET k f 1', 'HSET k g 2 h 3', 'HMSET k f 4 h 5', 'HSETNX k f 6', 'HSETNX k h 7', 'HDEL k f', 'HDEL k g h'],
      ...['HDEL k z', 'HEXPIRE k 1000 FIELDS 1 f', 'HPEXPIRE k 2000000 NX FIELDS 2 f g', 'HPERSIST k FIELDS 1 f'],
      ...[
        'HEXPIREAT k 9999999999 FIELDS 1 f',
        'HPEXPIREAT k 9999999999999 LT FIELDS 1 g',
        'HEXPIRE k 3000 GT FIELDS 1 f',
      ],
      ...['HSETEX k FIELDS 1 f 8', 'HSETEX k EX 4000 FIELDS 1 f 9', 'HSETEX k KEEPTTL FIELDS 1 f 8'],
      ...['HSETEX k EXAT 9999999999 FIELDS 1 f 9', 'HGETEX k EX 5000 FIELDS 1 f', 'HGETEX k PERSIST FIELDS 1 f'],
    ],
    read: ['HGETALL k', 'HPEXPIRETIME k FIELDS 4 f g h z'],
  },
  set: {
    before: ['SADD k m', 'SADD k m n', 'SADD k z'],
    commands: ['SADD k m', 'SADD k n o', 'SREM k m', 'SREM k n z', 'SMEMBERS k'],
    read: ['SMEMBERS k'],
  },
  zset: {
    before: ['ZADD k 4 m', 'ZADD k 2 m 3 n', 'ZADD k 1 z'],
    commands: [
      ...['ZADD k 1 m', 'ZADD k NX 2 m', 'ZADD k XX 3 m', 'ZADD k GT 3 m', 'ZADD k LT 2 m', 'ZADD k XX GT CH 5 m'],
      ...['ZADD k 7 n 8 o', 'ZREM k m', 'ZREM k n z', 'GEOADD k 13 38 m', 'GEOADD k NX 15 37 n', 'GEOADD k XX 1 1 n'],
    ],
    read: ['ZRANGE k 0 -1 WITHSCORES'],
  },
  list: {
    before: ['RPUSH k a', 'RPUSH k a b c'],
    commands: ['LSET k 0 x', 'LSET k -1 y', 'LSET k 1 z', 'LRANGE k 0 -1'],
    read: ['LRANGE k 0 -1'],
  },
  hyperloglog: {
    before: ['PFADD k a', 'PFADD k a b c'],
    commands: ['PFADD k a b', 'PFADD k c', 'PFADD k', 'PFCOUNT k'],
    read: ['PFCOUNT k', 'STRLEN k'],
  },
  stream: {
    before: ['XADD k 1-1 f v', 'XADD k 2-1 f v', 'XGROUP CREATE k g 0 MKSTREAM', 'XREADGROUP GROUP g c STREAMS k >'],
    commands: ['XACK k g 1-1', 'XACK k g 1-1 2-1', 'XDEL k 1-1', 'XDEL k 2-1 3-1', 'XRANGE k - +'],
    read: ['XRANGE k - +', 'XPENDING k g', 'XINFO STREAM k'],
  },
}

export const words = (line: string) => line.split(' ')
const keysOf = (line: string) => ['k', 'l'].filter((key) => words(line).slice(1).includes(key))

/** The data after these commands on an empty database; times to live from then on, in units of 100 seconds. */
export async function dataAfter(client: Redis, family: Family, lines: string[]): Promise<string> {
  const pipeline = client.pipeline([['flushdb'], ['time']])
  for (const line of lines) pipeline.call(...(words(line) as [string, ...string[]]))
  const reads = ['TYPE k', 'TYPE l', 'PEXPIRETIME k', 'PEXPIRETIME l', ...(await knownOf(client, family.read))]
  for (const line of reads) pipeline.call(...(words(line) as [string, ...string[]]))
  const replies = (await pipeline.exec())!.map(([error, reply]) => error?.message ?? reply)
  const start = Number((replies[1] as string[])[0]) * 1_000
  return JSON.stringify(
    replies
      .slice(2 + lines.length)
      .map((reply, at) => (/EXPIRETIME/.test(reads[at]!) ? since(start, reply) : sorted(reads[at]!, reply))),
  )
}

/** The commands set round times, each a little after the start: by how much does not matter, up to 99 seconds. */
function since(start: number, reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map((one) => since(start, one))
  const isRelative = typeof reply === 'number' && reply > 0 && reply < FIXED
  return isRelative ? Math.floor((reply - start) / 100_000) : reply
}

/** In milliseconds: what comes later is no time from now on, but one that a command has named. */
const FIXED = 9_000_000_000_000

/** Members of a set and fields of a hash have no order. */
function sorted(read: string, reply: unknown): unknown {
  if (!Array.isArray(reply)) return reply
  if (read.startsWith('SMEMBERS')) return reply.toSorted()
  if (!read.startsWith('HGETALL')) return reply
  return reply.flatMap((field, at) => (at % 2 === 0 ? [`${field}=${reply[at + 1]}`] : [])).toSorted()
}

/** Commands of a family that the server has. */
export function commandsOf(client: Redis, { commands }: Family): Promise<string[]> {
  return knownOf(client, [...ANY, ...commands])
}

const some = (from: string[], maxLength: number) => fc.array(fc.constantFrom(...from), { maxLength })

/** Any number of a family's commands, and then all of them again, leave what all of them leave once. */
export async function areRepeated(client: Redis, family: Family, runs: number): Promise<void> {
  const seed = Number(process.env.RESPIPE_SEED ?? 1)
  noteForFailure(() => `RESPIPE_SEED=${seed}`)
  const commands = await commandsOf(client, family)
  await fc.assert(
    fc.asyncProperty(some([...family.before, ...ANY], 4), some(commands, 10), fc.nat(), async (before, drawn, cut) => {
      const lines: string[] = []
      for (const line of drawn) {
        const chain = (key: string) => [...lines, line].filter((one) => keysOf(one).includes(key))
        const fits = keysOf(line).every((key) => areRepeatable(chain(key).map((one) => effectOf(words(one)))))
        if (fits) lines.push(line)
      }
      const once = await dataAfter(client, family, [...before, ...lines])
      const prefix = lines.slice(0, cut % (lines.length + 1))
      const repeated = await dataAfter(client, family, [...before, ...prefix, ...lines])
      if (repeated !== once)
        throw new Error(`${prefix.join('; ')} and then ${lines.join('; ')}: ${repeated}, not ${once}`)
    }),
    { seed, numRuns: runs },
  )
}
