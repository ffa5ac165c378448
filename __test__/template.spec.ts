// Templates: what a call appends, from values and from rows, and what is refused.

import test, { type ExecutionContext } from './helpers/test.ts'
import { array, assert, asyncProperty, oneof, string, tuple } from 'fast-check'

import { RespipeError, type BulkPipelineOptions } from '../index.js'
import { bulkFor } from './helpers/outcomes.ts'
import { encoded, pipelineFor, type Loose } from './helpers/pipelines.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'
const FORBIDDEN = 'RESPIPE_FORBIDDEN_COMMAND'

/** A template whose types take whatever a test throws at it. */
const made = (bulk: Loose, text: any): ((...values: any[]) => unknown) => bulk.template(text)

type Command = (string | Uint8Array)[]

/** What `append` sends, command by command, byte for byte. */
async function isSent(
  t: ExecutionContext,
  append: (bulk: Loose) => unknown,
  expected: Command[],
  options: BulkPipelineOptions = {},
): Promise<void> {
  const scripted = await scriptedFor(t, {})
  const bulk = pipelineFor(t, { port: scripted.port, ...options })
  append(bulk)
  t.is(bulk.length, expected.length)
  const { commands, bytes } = await bulk.exec()
  t.is(commands, expected.length)
  t.is(bytes, Buffer.concat(expected.map((words) => encoded(...words))).length)
  const received = scripted.commands.filter(
    ([name]) => !['HELLO', 'CLIENT', 'PING', 'INFO', 'ECHO'].includes(name ?? ''),
  )
  t.deepEqual(
    received,
    expected.map((words) => words.map((word) => Buffer.from(word as string).toString())),
  )
}

/** `call` throws; the commands before and after it are sent and nothing else is. */
async function isRefused(
  t: ExecutionContext,
  make: (bulk: Loose) => (...values: any[]) => unknown,
  values: unknown[],
  message: RegExp,
  options: BulkPipelineOptions = {},
): Promise<void> {
  const bulk = pipelineFor(t, { port: server.port, ...options })
  const template = make(bulk)
  bulk.set('before', '1')
  t.throws(() => template(...values), { instanceOf: RespipeError, code: INVALID, message })
  t.is(bulk.length, 1)
  bulk.set('after', '1')
  const { commands, succeeded, bytes } = await bulk.exec()
  const sent = Buffer.concat([encoded('SET', 'before', '1'), encoded('SET', 'after', '1')]).length
  t.deepEqual({ commands, succeeded, bytes }, { commands: 2, succeeded: 2, bytes: sent })
}

test('values and a row make the same command', async (t) => {
  const bulk = bulkFor(t, { port: server.port, replies: 'collect' })
  const user = bulk.template('HSET user:{id} name {name} email {email}')
  t.deepEqual(user.holes, ['id', 'name', 'email'])
  t.true(Object.isFrozen(user.holes))
  t.is(user(1, 'Ada', 'ada@x.io'), bulk)
  user({ email: 'bob@x.io', name: 'Bob', id: 2, other: true }).sadd('users', 1, 2)
  user(new Map(Object.entries({ id: 3, name: 'Cleo', email: 'c@x.io' })))
  t.is(bulk.length, 4)
  t.deepEqual((await bulk.exec()).replies, [2, 2, 2, 2])
  t.deepEqual(await client.hgetall('user:1'), { name: 'Ada', email: 'ada@x.io' })
  t.deepEqual(await client.hgetall('user:2'), { name: 'Bob', email: 'bob@x.io' })
  t.deepEqual(await client.hgetall('user:3'), { name: 'Cleo', email: 'c@x.io' })
})

const long = 'x'.repeat(5000)
const mixed = 'Zürich 東京 😀'
const sent: [name: string, template: string | string[], calls: unknown[][], expected: Command[]][] = [
  [
    'no holes',
    'INCR counter',
    [[], [{ any: 1 }]],
    [
      ['INCR', 'counter'],
      ['INCR', 'counter'],
    ],
  ],
  ['a name in small letters', 'set k {v}', [['1']], [['SET', 'k', '1']]],
  ['a name in quotes, a subcommand', '"config" set maxmemory {v}', [['0']], [['CONFIG', 'set', 'maxmemory', '0']]],
  ['a command of a module', 'JSON.SET doc:{id} $ {doc}', [[1, '{}']], [['JSON.SET', 'doc:1', '$', '{}']]],
  ['quotes', `SET 'a {v}' "\\x00\\n{v}"`, [['b']], [['SET', 'a b', '\0\nb']]],
  ['braces', 'SET {{{a}}} "{{}}"', [['b']], [['SET', '{b}', '{}']]],
  ['several holes in a word', 'SET u:{a}:{b}{c} x', [['1', 22, 333n]], [['SET', 'u:1:22333', 'x']]],
  ['one hole twice', 'HSET {a} {a} {b}', [['1', '2']], [['HSET', '1', '1', '2']]],
  ['five holes', 'HSET {a} {b} {c} {d} {e}', [['1', '2', '3', '4', '5']], [['HSET', '1', '2', '3', '4', '5']]],
  [
    'twenty holes',
    `RPUSH ${Array.from({ length: 20 }, (_, at) => `{h${at}}`).join(' ')}`,
    [Array.from({ length: 20 }, (_, at) => at)],
    [['RPUSH', ...Array.from({ length: 20 }, (_, at) => `${at}`)]],
  ],
  ['empty strings', 'SET {k} a{v}', [['', '']], [['SET', '', 'a']]],
  ['text beyond ASCII', 'SET é:{k}:é {v}', [[mixed, mixed]], [['SET', `é:${mixed}:é`, mixed]]],
  ['long text', 'SET k:{k}:{k}: {v}', [[long, long + mixed]], [['SET', `k:${long}:${long}:`, long + mixed]]],
  ['long text and a short one', 'SET <{k}> [{v}]', [[long, long + mixed]], [['SET', `<${long}>`, `[${long}${mixed}]`]]],
  [
    'numbers',
    'SET k:{a} {b}',
    [
      [1.5, 1e21],
      [-0, 5n],
    ],
    [
      ['SET', 'k:1.5', '1e+21'],
      ['SET', 'k:0', '5'],
    ],
  ],
  ['bytes', 'SET k:{a}: {b}', [[Buffer.from('ab'), new Uint8Array([0x63])]], [['SET', 'k:ab:', 'c']]],
  ['infinite scores', 'ZADD z {s} {m}', [[-Infinity, 'm']], [['ZADD', 'z', '-inf', 'm']]],
  ['paths', 'SET {a.b} {c.d.0}', [[{ a: { b: 1 }, c: { d: ['x'] } }]], [['SET', '1', 'x']]],
  [
    'paths by way of Maps',
    'SET {a.b} {c}',
    [
      [
        new Map<string, any>([
          ['a', new Map([['b', 1]])],
          ['c', 2],
        ]),
      ],
    ],
    [['SET', '1', '2']],
  ],
  [
    'names with blanks',
    'SET {First Name} {Last Name}',
    [[{ 'First Name': 'A', 'Last Name': 'B' }]],
    [['SET', 'A', 'B']],
  ],
  [
    'inherited properties and getters',
    'SET {a} {b}',
    [
      [
        new (class {
          b = 2
          get a() {
            return 1
          }
        })(),
      ],
      [Object.create({ a: 3, b: 4 })],
    ],
    [
      ['SET', '1', '2'],
      ['SET', '3', '4'],
    ],
  ],
  ['all fields', 'HSET u:{id} {*}', [[{ id: 1, n: 'x' }]], [['HSET', 'u:1', 'id', '1', 'n', 'x']]],
  ['all fields of a Map', 'XADD s * {*}', [[new Map([['a', 1]])]], [['XADD', 's', '*', 'a', '1']]],
  ['fields in front of all fields', 'HSET u a {n} {*}', [[{ n: 'x' }]], [['HSET', 'u', 'a', 'x', 'n', 'x']]],
  ['members and scores', 'ZADD z GT {*}', [[{ a: 1, b: Infinity }]], [['ZADD', 'z', 'GT', '1', 'a', '+inf', 'b']]],
  ['all keys', 'MSET {*}', [[{ a: 1, b: 2 }]], [['MSET', 'a', '1', 'b', '2']]],
  [
    'the row as JSON',
    'SET {id} {*|json}',
    [[{ id: 1 }], [new Map([['id', 2]])]],
    [
      ['SET', '1', '{"id":1}'],
      ['SET', '2', '{"id":2}'],
    ],
  ],
  [
    'several commands',
    ['HSET user:{id} name {name}', 'EXPIRE user:{id} 3600', 'SADD users:{country} {id}'],
    [[1, 'Ada', 'gb'], [{ id: 2, name: 'Bob', country: 'us' }]],
    [
      ['HSET', 'user:1', 'name', 'Ada'],
      ['EXPIRE', 'user:1', '3600'],
      ['SADD', 'users:gb', '1'],
      ['HSET', 'user:2', 'name', 'Bob'],
      ['EXPIRE', 'user:2', '3600'],
      ['SADD', 'users:us', '2'],
    ],
  ],
]

for (const [name, text, calls, expected] of sent) {
  test(`sent byte for byte: ${name}`, (t) =>
    isSent(
      t,
      (bulk) => {
        const template = made(bulk, text)
        for (const values of calls) template(...values)
      },
      expected,
    ))
}

const day = Date.UTC(2026, 0, 31, 12)
const conversions: [hole: string, value: unknown, expected: string][] = [
  ['at|ms', new Date(day), `${day}`],
  ['at|ms', '2026-01-31T12:00:00Z', `${day}`],
  ['at|ms', '2026-01-31 12:00:00+00', `${day}`],
  ['at|ms', '2026-01-31T13:30+01:30', `${day}`],
  ['at|ms', '2026-01-31t07:00:00.250-0500', `${day + 250}`],
  ['at|ms', '2026-01-31T12:00:00.123456789Z', `${day + 123}`],
  ['at|ms', '2026-01-31', `${day - 12 * 3600_000}`],
  ['at|ms', '2024-02-29', `${Date.UTC(2024, 1, 29)}`],
  ['at|ms', '1969-12-31T23:59:59.999Z', '-1'],
  ['at|s', new Date(day + 999), `${day / 1000}`],
  ['at|s', '1969-12-31T23:59:59.999Z', '-1'],
  ['v|json', [1, { a: 'é' }], '[1,{"a":"é"}]'],
  ['v|json', 'text', '"text"'],
  ['v|json', false, 'false'],
  ['v|json', new Date(day), '"2026-01-31T12:00:00.000Z"'],
  ['v|bool', true, '1'],
  ['v|bool', 'false', '0'],
]

test('values are converted, from rows and from values', async (t) => {
  const names = conversions.map((_, at) => `k${at}`)
  await isSent(
    t,
    (bulk) => {
      conversions.forEach(([hole, value], at) => {
        made(bulk, `SET {key} {${hole}}`)({ key: names[at], [hole.split('|')[0]!]: value })
        made(bulk, `SET {key} {${hole}}`)(names[at], value)
      })
    },
    conversions.flatMap(([, , expected], at) => [1, 2].map(() => ['SET', names[at]!, expected])),
  )
})

test('a single value that could be converted is no row', (t) =>
  isSent(
    t,
    (bulk) => {
      made(bulk, 'SET at {at|ms}')(new Date(day))
      made(bulk, 'SET list {list|json}')([1, 2])
      made(bulk, 'SET bytes {bytes}')(Buffer.from('x'))
    },
    [
      ['SET', 'at', `${day}`],
      ['SET', 'list', '[1,2]'],
      ['SET', 'bytes', 'x'],
    ],
  ))

for (const [hole, value, message] of [
  ['at|ms', 5, /hole at of set is a number: \|ms takes a Date or an ISO string/],
  ['at|ms', 'tomorrow', /hole at of set is no date in ISO form/],
  ['at|ms', '2026-01-31T12:00:00', /time without a zone/],
  ['at|ms', '2026-02-30', /no date that exists/],
  ['at|ms', '2026-13-01', /no date that exists/],
  ['at|ms', '2026-01-01T25:00Z', /no date that exists/],
  ['at|ms', new Date(NaN), /invalid Date/],
  ['at|s', true, /\|s takes a Date/],
  ['v|json', () => 1, /is a function: there is no JSON for it/],
  ['v|json', { a: 1n }, /cannot be written as JSON: .*BigInt/],
  ['v|bool', 'yes', /\|bool takes true and false/],
  ['v|bool', 1, /\|bool takes true and false/],
] as const) {
  test(`not converted: ${hole} of ${String(typeof value === 'object' ? JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? `${v}n` : v)) : value)}`, (t) =>
    isRefused(t, (bulk) => made(bulk, `SET k {${hole}}`), [{ at: value, v: value }], message))
}

for (const [name, text, values, message] of [
  ['too few values', 'SET {a} {b}', [1], /takes 2 values \(a, b\) or a row, got 1/],
  ['too many values', 'SET k {b}', [1, 2], /takes 1 value \(b\) or a row, got 2/],
  ['too many converted values', 'SET {a|json} {b}', [1, 2, 3], /takes 2 values \(a, b\) or a row, got 3/],
  ['values in place of a row', 'HSET {k} {*}', [1], /takes a row/],
  ['an array in place of a row', 'SET {a} {b}', [[1, 2]], /takes 2 values/],
  ['an array', 'SET k {b}', [[1, 2]], /hole b of set is an array/],
  ['a boolean', 'SET k {b}', [true], /hole b of set is a boolean \(true\): write \|bool/],
  ['a Date', 'SET k {b}', [{ b: new Date() }], /hole b of set is a Date: write \|ms/],
  ['an object', 'SET k:{b} 1', [{ b: {} }], /hole b of set is an object: write \|json/],
  ['a symbol', 'SET k {b}', [Symbol('x')], /hole b of set is a symbol/],
  ['a function that is inherited', 'SET k {toString}', [{}], /hole toString of set is a function/],
  ['NaN', 'SET k <{b}>', [NaN], /hole b of set is NaN/],
  ['an infinity', 'SET k {b}', [Infinity], /hole b of set is infinite/],
  ['an integer that is not exact', 'INCRBY k {b}', [2 ** 60], /hole b of incrby is an integer beyond 2\^53/],
  ['a bad score', 'ZADD z {s} m', ['x'], /hole s of zadd is no valid score/],
  ['half a surrogate pair', 'SET k {b}', ['\ud800'], /hole b of set has half of a surrogate pair/],
  ['half a surrogate pair in a key', 'SET k:{b} v', ['a\ud800'], /hole b of set has half/],
  ['half a surrogate pair in a long key', 'SET k:{b}:{b} v', [`${long}\ud800`], /hole b of set has half/],
  ['shared memory', 'SET k:{b} v', [new Uint8Array(new SharedArrayBuffer(4))], /hole b of set lies in shared memory/],
  ['null', 'SET k {b}', [null], /hole b of set is null \(see the option onNull\)/],
  ['a property that is missing', 'HSET k f {a.b}', [{ a: null }], /hole a\.b of hset is undefined \(see/],
  ['a row without fields', 'HSET k {*}', [{}], /the row has no fields: hset needs at least one/],
  ['a field of a row', 'HSET k {*}', [{ a: {} }], /field a of the row is an object/],
  ['a null field of a row', 'HSET k {*}', [{ a: null }], /field a of the row is null \(see the option onNull\)/],
  ['NaN in a row', 'HSET k {*}', [{ a: NaN }], /a field of the row for hset is NaN/],
] as const) {
  test(`refused: ${name}`, (t) => isRefused(t, (bulk) => made(bulk, text), [...values], message))
}

test('of several commands all are appended or none', async (t) => {
  for (let bad = 0; bad < 3; bad++) {
    const texts = ['SET a:{x} {p0}', 'HSET b:{x} f {p1}', 'SADD c:{x} {p2}']
    const row = { x: 1, p0: 'v'.repeat(70_000), p1: 1, p2: 2, [`p${bad}`]: {} }
    await isRefused(t, (bulk) => made(bulk, texts), [row], new RegExp(`hole p${bad} of`))
  }
})

test('at the ceiling all commands of a row are refused', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, maxBufferedBytes: 10_000 })
  const template = made(bulk, ['SET a {v}', 'SET b {v}', 'SET c {v}'])
  template('x'.repeat(2000))
  t.throws(() => template('x'.repeat(2000)), { code: 'RESPIPE_BUFFER_FULL' })
  t.is(bulk.length, 3)
  t.throws(() => template('x'.repeat(20_000)), { code: 'RESPIPE_BUFFER_FULL' })
  t.is(bulk.length, 3)
  t.is((await bulk.exec()).succeeded, 3)
  template('x'.repeat(2000))
  t.is((await bulk.exec()).succeeded, 3)
})

const nulls: [text: string, row: object, skipped: Command[] | RegExp, empty: Command[] | RegExp][] = [
  ['HSET u a {a} b {b}', { a: null, b: 1 }, [['HSET', 'u', 'b', '1']], [['HSET', 'u', 'a', '', 'b', '1']]],
  ['HSET u a x{a}y b {b}', { b: 1 }, [['HSET', 'u', 'b', '1']], [['HSET', 'u', 'a', 'xy', 'b', '1']]],
  ['HSET u a {a}', {}, /hset has no fields left/, [['HSET', 'u', 'a', '']]],
  ['HSET u:{id} a {a}', { a: 1 }, /hole id of hset is undefined, and it must not be/, /must not be/],
  ['HSET u {f} {a} g 1', { a: 1 }, /hole f of hset is undefined, and it must not be/, /must not be/],
  ['HSET u a {a} {*}', { a: null, b: 1 }, [['HSET', 'u', 'b', '1']], [['HSET', 'u', 'a', '', 'a', '', 'b', '1']]],
  ['ZADD z {s} a 1 b', {}, [['ZADD', 'z', '1', 'b']], [['ZADD', 'z', '', 'a', '1', 'b']]],
  ['XADD s * a {a} b 1', {}, [['XADD', 's', '*', 'b', '1']], [['XADD', 's', '*', 'a', '', 'b', '1']]],
  ['MSET k {a} l 1', {}, [['MSET', 'l', '1']], [['MSET', 'k', '', 'l', '1']]],
  ['SET k {a}', {}, /hole a of set is undefined: only fields of pairs can be left out/, [['SET', 'k', '']]],
  ['SET k {a|json}', {}, /only fields/, [['SET', 'k', '']]],
  ['SET {a} 1', {}, /must not be/, /must not be/],
]

for (const [text, row, skipped, empty] of nulls) {
  for (const [onNull, expected] of [
    ['skip', skipped],
    ['empty', empty],
  ] as const) {
    test(`onNull ${onNull}: ${text} of ${JSON.stringify(row)}`, (t) =>
      expected instanceof RegExp
        ? isRefused(t, (bulk) => made(bulk, text), [row], expected, { onNull })
        : isSent(t, (bulk) => made(bulk, text)(row), expected, { onNull }))
  }
}

test('a missing value among values is treated as one of a row', (t) =>
  isSent(
    t,
    (bulk) => made(bulk, ['HSET u a {a} b {b}', 'HSET v b {b}'])(null, 1),
    [
      ['HSET', 'u', 'b', '1'],
      ['HSET', 'v', 'b', '1'],
    ],
    { onNull: 'skip' },
  ))

for (const [text, message, code = INVALID] of [
  ['', /^template, column 1: there is no command/],
  [[], /needs a command/],
  ['SET {id', /^template, column 5: this brace is never closed/],
  ["SET 'k", /^template, column 5: this quote is never closed/],
  ['SET k v}', /^template, column 8: this brace closes nothing/],
  ['SET 😀 {x|upper}', /^template, column 11: there is no conversion 'upper', only bool, json, ms, s/],
  ['SET k \ud800', /^template, column 7: half of a surrogate pair/],
  ['H{x} k f v', /^template, column 2: the name of a command has no holes/],
  ['SET k {*}', /^template, column 7: \{\*\} stands for fields and values/],
  ['HSET k f', /^template, column 1: hset needs at least 3 arguments, got 2/],
  [['SET a b', ' GET'], /^template 2, column 2: get takes 1 argument, got 0/],
  ['SUBSCRIBE {c}', /^template, column 1: SUBSCRIBE cannot go through a bulk pipeline: /, FORBIDDEN],
  ['XREAD BLOCK 0 STREAMS {s} 0', /^template, column 1: XREAD cannot/, FORBIDDEN],
  ['CLIENT {x} OFF', /^template, column 8: the subcommand of client must be known/],
  [`SET k ${'x'.repeat(70_000)}`, /^template is longer than 65536 bytes/],
  [Array(101).fill('PING'), /at most 100 commands/],
  [5, /is text, or an array of texts, not a number/],
  [undefined, /not undefined/],
  [['SET a b', null], /not null/],
] as [unknown, RegExp, string?][]) {
  test(`no template: ${JSON.stringify(text)?.slice(0, 40)}`, (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    t.throws(() => made(bulk, text), { instanceOf: RespipeError, code, message })
    t.is(bulk.length, 0)
  })
}

test('commands of a row stay in one batch, and count for autoExec', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, autoExec: { commands: 4 } })
  const template = made(bulk, ['SET auto:{id} {id}', 'SADD auto {id}', 'INCR autos'])
  template(1)
  t.is(bulk.length, 3)
  template(2)
  t.is(bulk.length, 0)
  template(3)
  t.is((await bulk.exec()).succeeded, 9)
  t.is(bulk.stats().batches, 2)
  t.is(await client.scard('auto'), 3)
})

test('in a transaction, and with a checkpoint', async (t) => {
  for (const options of [{ transaction: true }, { checkpoint: 'template:checkpoint' }]) {
    const bulk = pipelineFor(t, { port: server.port, ...options })
    const template = made(bulk, ['HSET tx:{id} a {a}', 'SADD txs {id}'])
    for (let id = 0; id < 10; id++) template({ id, a: 1 })
    const { commands, succeeded } = await bulk.exec()
    t.deepEqual([commands, succeeded], [20, 20])
  }
  t.is(await client.scard('txs'), 10)
})

test('a failure has its command and key', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  await client.set('wrong:1', 'text')
  made(bulk, ['SET right:{id} 1', 'HSET wrong:{id} f {id}'])(1)
  const { failures } = await bulk.exec()
  t.like(failures[0], { index: 1, command: 'HSET', key: Buffer.from('wrong:1'), code: 'WRONGTYPE' })
})

test('rows larger than a segment, and batches of many segments', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, maxInFlightBytes: 4096 })
  const template = made(bulk, ['SET big:{id}:a {v}', 'SET big:{id}:b {v}'])
  const sizes = [1, 100, 3000, 5000, 100_000]
  for (let id = 0; id < 50; id++) template(id, 'x'.repeat(sizes[id % sizes.length]!))
  t.is((await bulk.exec()).succeeded, 100)
  for (let id = 0; id < 50; id++) t.is(await client.strlen(`big:${id}:b`), sizes[id % sizes.length]!)
})

test('a row with more fields than fit on the stack', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const row = Object.fromEntries(Array.from({ length: 200_000 }, (_, at) => [`f${at}`, at]))
  made(bulk, 'HSET wide {*}')(row)
  t.is((await bulk.exec()).succeeded, 1)
  t.is(await client.hlen('wide'), 200_000)
})

test('what a getter of a row appends comes first, and what it throws passes through', (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const template = made(bulk, 'HSET k {a} {b}')
  template({
    a: 1,
    get b() {
      bulk.set('inner', 1)
      return 2
    },
  })
  t.is(bulk.length, 2)
  const error = new Error('own')
  const thrower = {
    a: 1,
    get b() {
      throw error
    },
  }
  t.is(
    t.throws(() => template(thrower)),
    error,
  )
  t.is(bulk.length, 2)
  bulk.hset('k', {
    get f() {
      t.throws(() => template(1, 2), { code: INVALID, message: /while the arguments of another are read/ })
      return 1
    },
  })
  t.is(bulk.length, 3)
})

test('after the end of the pipeline', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const template = made(bulk, 'SET {a} {b}')
  await bulk.close()
  t.throws(() => template(1, 2), { code: 'RESPIPE_CLOSED' })
  t.throws(() => template({ a: 1, b: 2 }), { code: 'RESPIPE_CLOSED' })
  t.throws(() => made(bulk, 'SET {a} {b}'), { code: 'RESPIPE_CLOSED' })
  t.throws(() => bulk.template.call({} as any, 'SET {a} {b}'), {
    code: INVALID,
    message: /must be called on a pipeline/,
  })
})

test('each pipeline has templates of its own', async (t) => {
  const [one, other] = [pipelineFor(t, { port: server.port }), pipelineFor(t, { port: server.port })]
  const [first, second] = [made(one, 'SET own:{a} 1'), made(other, 'SET own:{a} 2')]
  first(1)
  second(2)
  t.deepEqual([one.length, other.length], [1, 1])
  await Promise.all([one.exec(), other.exec()])
  t.deepEqual(await client.mget('own:1', 'own:2'), ['1', '2'])
})

// What they leave in memory: long/template.spec.ts.
test('templates that nobody holds are forgotten, the others work on', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from ${JSON.stringify(new URL('../index.mjs', import.meta.url).href)}
    const bulk = bulkPipeline({ port: 1 })
    const kept = bulk.template('SET {a} kept')
    let forgotten = 0
    const registry = new FinalizationRegistry(() => forgotten++)
    for (let at = 0; at < 30; at++) registry.register(bulk.template('HSET k f {v}'))
    while (forgotten < 30) {
      gc()
      await delay(1)
    }
    kept('x')
    console.log(JSON.stringify({ length: bulk.length, bytes: bulk.stats().bufferedBytes }))
    bulk.destroy()
  `
  const { code, stdout, stderr } = await runScript({ source }, { nodeArgs: ['--expose-gc'] })
  t.is(code, 0, stderr)
  t.deepEqual(JSON.parse(stdout), { length: 1, bytes: encoded('SET', 'x', 'kept').length })
})

test('any text in any place arrives as it is', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, replies: 'collect' })
  const echo = made(bulk, ['ECHO a{x}b{y}', 'ECHO {x}', 'ECHO "é{y}"'])
  const text = oneof(string({ unit: 'grapheme', maxLength: 30 }), string({ maxLength: 3000, minLength: 900 }))
  await assert(
    asyncProperty(array(tuple(text, text), { minLength: 1, maxLength: 20 }), async (rows) => {
      for (const [x, y] of rows) echo(x, y)
      const { replies } = await bulk.exec()
      t.deepEqual(
        replies,
        rows.flatMap(([x, y]) => [`a${x}b${y}`, x, `é${y}`]),
      )
    }),
    { numRuns: 50 },
  )
})
