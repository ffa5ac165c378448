// Bad inputs, and good ones that look bad: rows 1 to 64 of section 4.1 of the reliability notes, by number.
// A refusal throws at once, names the command and the argument, and leaves no trace in what is sent.

import test, { type ExecutionContext } from './helpers/test.ts'

import { RespipeError, type BulkPipelineOptions } from '../index.js'
import { encoded, pipelineFor, type Loose } from './helpers/pipelines.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'
const FORBIDDEN = 'RESPIPE_FORBIDDEN_COMMAND'

let keys = 0
const nextKey = () => `key:${++keys}`

/** `append` throws; the commands before and after it are sent, byte for byte, and nothing else is. */
async function isRefused(
  t: ExecutionContext,
  append: (bulk: Loose) => unknown,
  message: RegExp,
  code: string = INVALID,
  options: BulkPipelineOptions = {},
): Promise<void> {
  const bulk = pipelineFor(t, { port: server.port, ...options })
  const [before, after] = [nextKey(), nextKey()]
  bulk.set(before, 'before')
  const error = t.throws(() => append(bulk), { instanceOf: RespipeError, code, message })
  t.is(error?.name, 'RespipeError')
  t.is(bulk.length, 1)
  bulk.set(after, 'after')
  const { commands, succeeded, bytes } = await bulk.exec()
  const sent = Buffer.concat([encoded('SET', before, 'before'), encoded('SET', after, 'after')])
  t.deepEqual({ commands, succeeded, bytes }, { commands: 2, succeeded: 2, bytes: sent.length })
  t.deepEqual(await client.mget(before, after), ['before', 'after'])
}

function called(): never {
  throw new Error('a conversion was called')
}

/** A value that must not be looked at by calling it. */
function hostile(): object {
  return { toString: called, valueOf: called, toJSON: called, [Symbol.toPrimitive]: called }
}

type Refusal = [row: string, append: (bulk: Loose) => unknown, message: RegExp, code?: string]

const LONE = /surrogate/
const detached = (length = 8) => {
  const view = new Uint8Array(new ArrayBuffer(8), 0, length)
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return view
}
/** ES2024, which the types of this project do not know. */
const resizable = (length: number, maxByteLength: number): ArrayBuffer & { resize(length: number): void } =>
  new (ArrayBuffer as any)(length, { maxByteLength })

const refusals: Refusal[] = [
  ['1: half a surrogate pair in a value', (b) => b.set('k', 'a\ud800'), /argument 2 of set .*surrogate/],
  ['1: half a surrogate pair in a key', (b) => b.set('\udc00', 'v'), /argument 1 of set .*surrogate/],
  ['1: half a surrogate pair before text', (b) => b.hset('k', '\ud83dx', 'v'), /argument 2 of hset .*surrogate/],
  ['1: halves in the wrong order', (b) => b.set('k', '\ude00\ud83d'), LONE],
  ['1: half a surrogate pair in an array', (b) => b.sadd('k', ['a', '\ud800']), /of sadd .*surrogate/],
  ['1: half a surrogate pair in an object', (b) => b.hset('k', { a: '\ud800' }), /of hset .*surrogate/],
  ['1: half a surrogate pair as a field', (b) => b.hset('k', { '\ud800': 1 }), /of hset .*surrogate/],
  ['1: half a surrogate pair through call', (b) => b.call('SET', 'k', '\ud800'), /argument 2 of set .*surrogate/],
  ['1: half a surrogate pair behind 4094 others', (b) => b.set('k', 'x'.repeat(4094) + '\ud800'), LONE],
  ['1: half a surrogate pair behind 4095 others', (b) => b.set('k', 'x'.repeat(4095) + '\ud83d'), LONE],
  ['1: half a surrogate pair behind 100,000 others', (b) => b.set('k', 'é'.repeat(100_000) + '\udc00'), LONE],

  ['4: undefined as value', (b) => b.hset('k', 'f', undefined), /argument 3 of hset is undefined/],
  ['4: undefined as key', (b) => b.get(undefined), /argument 1 of get is undefined/],
  ['4: undefined in an array', (b) => b.del(['a', undefined]), /element 1 of argument 1 of del is undefined/],
  ['4: undefined in an object', (b) => b.hset('k', { f: undefined }), /field f of argument 2 of hset is undefined/],
  ['4: undefined in a Map', (b) => b.mset(new Map([['f', undefined]])), /field f of argument 1 of mset is undefined/],
  ['4: undefined through call', (b) => b.call('SET', 'k', undefined), /argument 2 of set is undefined/],
  ['4: undefined behind options', (b) => b.set('k', 'v', 'EX', undefined), /argument 4 of set is undefined/],
  ['4: undefined among many', (b) => b.rpush('k', ...Array(40).fill('x'), undefined), /argument 42 of rpush is undef/],
  ['5: null as value', (b) => b.set('k', null), /argument 2 of set is null/],
  ['5: null as key', (b) => b.hset(null, 'f', 'v'), /argument 1 of hset is null/],
  ['5: null in an array', (b) => b.sadd('k', [null]), /element 0 of argument 2 of sadd is null/],
  ['5: null in an object', (b) => b.hset('k', { f: null }), /field f of argument 2 of hset is null.*onNull/],
  ['5: null as score', (b) => b.zadd('k', null, 'm'), /argument 2 of zadd is null/],

  ['6: NaN as value', (b) => b.set('k', Number.NaN), /argument 2 of set is NaN/],
  ['6: NaN as integer', (b) => b.incrby('k', Number.NaN), /argument 2 of incrby is NaN/],
  ['6: NaN in an array', (b) => b.rpush('k', [1, Number.NaN]), /of rpush is NaN/],
  ['6: NaN in an object', (b) => b.hset('k', { f: Number.NaN }), /of hset is NaN/],
  ['7: Infinity as value', (b) => b.set('k', Infinity), /argument 2 of set is infinite/],
  ['7: -Infinity as value', (b) => b.hset('k', 'f', -Infinity), /argument 3 of hset is infinite/],
  ['7: Infinity as member', (b) => b.zadd('k', 1, Infinity), /argument 3 of zadd is infinite/],
  ['7: Infinity as key of a zadd', (b) => b.zadd(Infinity, 1, 'm'), /argument 1 of zadd is infinite/],
  ['7: Infinity as integer', (b) => b.incrby('k', Infinity), /argument 2 of incrby is infinite/],
  ['7: Infinity through call', (b) => b.call('SET', 'k', Infinity), /argument 2 of set is infinite/],

  ['10: 2^53 as an integer', (b) => b.incrby('k', 2 ** 53), /argument 2 of incrby .*2\^53.*BigInt/],
  ['10: -1e20 as an integer', (b) => b.expire('k', -1e20), /argument 2 of expire .*BigInt/],
  ['10: 2^53 as an integer through call', (b) => b.call('INCRBY', 'k', 2 ** 53), /argument 2 of incrby .*BigInt/],
  ['12: 2^63 as an integer', (b) => b.incrby('k', 2n ** 63n), /argument 2 of incrby is beyond 64 bits/],
  ['12: -2^63 - 1 as an integer', (b) => b.decrby('k', -(2n ** 63n) - 1n), /argument 2 of decrby is beyond 64 bits/],
  ['12: 2^64 as a time', (b) => b.expire('k', 2n ** 64n), /argument 2 of expire is beyond 64 bits/],

  ['13: true', (b) => b.set('k', true), /argument 2 of set is a boolean \(true\)/],
  ['13: false', (b) => b.set('k', false), /argument 2 of set is a boolean \(false\)/],
  ['13: a boolean in an object', (b) => b.hset('k', { f: true }), /field f of argument 2 of hset is a boolean/],
  ['14: a symbol', (b) => b.set('k', Symbol('s')), /argument 2 of set is a symbol/],
  ['14: a symbol as key', (b) => b.hset(Symbol.iterator, 'f', 'v'), /argument 1 of hset is a symbol/],
  ['14: a symbol in an array', (b) => b.sadd('k', [Symbol('s')]), /element 0 of argument 2 of sadd is a symbol/],
  [
    '14: a symbol as key of a Map',
    (b) => b.hset('k', new Map([[Symbol('s'), 1]])),
    /a key of argument 2 of hset is a sy/,
  ],
  ['15: a function', (b) => b.set('k', () => 'v'), /argument 2 of set is a function/],
  ['15: a class', (b) => b.set('k', URL), /argument 2 of set is a function/],
  ['15: a function in place of fields', (b) => b.hset('k', () => ({})), /hset/],
  ['15: a callback at the end', (b) => b.set('k', 'v', () => {}), /argument 3 of set is a function/],
  ['16: an object as value', (b) => b.set('k', { a: 1 }), /argument 2 of set is an object/],
  ['16: an object in an array', (b) => b.sadd('k', ['a', {}]), /element 1 of argument 2 of sadd is an object/],
  ['16: an object in an object', (b) => b.hset('k', { f: {} }), /field f of argument 2 of hset is an object/],
  ['16: an object that is not the last', (b) => b.hset('k', { a: 1 }, 'x'), /argument 2 of hset is an object/],
  ['16: an object through call', (b) => b.call('HSET', 'k', { a: 1 }), /argument 2 of hset is an object/],
  ['16: an object as name of call', (b) => b.call({}, 'k'), /name of a command/],
  ['16: a Set', (b) => b.sadd('k', new Set(['a'])), /argument 2 of sadd is an object/],
  ['16: a Promise', (b) => b.hset('k', Promise.resolve()), /argument 2 of hset is an object/],
  ['16: an Error', (b) => b.hset('k', new Error('x')), /argument 2 of hset is an object/],
  ['16: a Map where there are no fields', (b) => b.set('k', new Map()), /argument 2 of set is a Map/],
  ['17: a hostile toString in a value is not called:', (b) => b.set('k', hostile()), /argument 2 of set is an object/],
  ['17: … in a key', (b) => b.get(hostile()), /argument 1 of get is an object/],
  ['17: … in an array', (b) => b.sadd('k', [hostile()]), /element 0 of argument 2 of sadd is an object/],
  ['17: … in an object', (b) => b.hset('k', { f: hostile() }), /field f of argument 2 of hset is an object/],
  ['17: … in a Map', (b) => b.hset('k', new Map([[hostile(), 1]])), /a key of argument 2 of hset is an object/],
  ['17: … in a name', (b) => b.call(hostile(), ['x']), /name of a command/],
  [
    '17: … of bytes that name a field',
    (b) => b.hset('k', new Map([[Object.assign(Buffer.from('f'), hostile()), {}]])),
    /a field of bytes of argument 2 of hset is an object/,
  ],

  ['18: a Date', (b) => b.set('k', new Date(0)), /argument 2 of set is a Date.*getTime\(\).*toISOString\(\)/],
  ['18: a Date in an object', (b) => b.hset('k', { at: new Date(0) }), /field at of argument 2 of hset is a Date/],
  ['18: a Date in place of fields', (b) => b.hset('k', new Date(0)), /argument 2 of hset is a Date/],
  // The contract flattens one level; what is deeper is refused.
  ['19: an array in an array', (b) => b.sadd('k', [['a']]), /element 0 of argument 2 of sadd is an array/],
  ['19: an array in an object', (b) => b.hset('k', { f: ['a'] }), /field f of argument 2 of hset is an array/],
  ['19: an array where one value stands', (b) => b.set('k', ['a']), /argument 2 of set is an array: set takes no list/],
  ['19: an array in an array through call', (b) => b.call('SADD', 'k', ['a', []]), /element 1 of argument 2 of sadd/],
  // eslint-disable-next-line no-sparse-arrays
  ['20: a hole in an array', (b) => b.rpush('k', ['a', , 'b']), /element 1 of argument 2 of rpush is undefined/],
  ['20: an array of nothing but holes', (b) => b.del(Array(3)), /element 0 of argument 1 of del is undefined/],

  ['27: an empty object', (b) => b.hset('k', {}), /argument 2 of hset has no fields: hset needs at least one/],
  ['27: an empty Map', (b) => b.mset(new Map()), /argument 1 of mset has no fields/],
  ['27: an empty array for hset', (b) => b.hset('k', []), /hset needs at least 3 arguments, got 1/],
  ['27: an empty array for del', (b) => b.del([]), /del needs at least 1 argument, got 0/],
  ['27: an empty object for zadd', (b) => b.zadd('k', {}), /argument 2 of zadd has no fields/],
  ['27: inherited fields alone', (b) => b.hset('k', Object.create({ a: 1 })), /argument 2 of hset has no fields/],
  ['28: an odd list', (b) => b.hset('k', 'f', 'v', 'f2'), /hset takes groups of 2 arguments/],
  ['28: an odd array', (b) => b.mset(['a', 1, 'b']), /mset takes groups of 2 arguments/],
  ['28: an odd list of scores', (b) => b.zadd('k', 1, 'm', 2), /zadd takes pairs of score and member/],
  [
    '29: an object of 1,048,576 fields',
    (b) => b.hset('k', Object.fromEntries(manyFields())),
    /hset has 2097153 arguments.*split/,
  ],
  [
    '29: an array of 1,048,576 values',
    (b) => b.rpush('k', Array(1 << 20).fill('')),
    /argument 2 of rpush has 1048576 el/,
  ],
  [
    '29: two arrays that are too many together',
    (b) => b.call('SADD', 'k', Array(600_000).fill('a'), Array(600_000).fill('b')),
    /sadd has 1200001 arguments/,
  ],

  [
    '31: a Float64Array',
    (b) => b.set('k', new Float64Array(2)),
    /argument 2 of set is a typed array other than Uint8Array/,
  ],
  ['31: an Int8Array', (b) => b.set('k', new Int8Array(2)), /argument 2 of set is a typed array other/],
  ['31: a Uint8ClampedArray', (b) => b.set('k', new Uint8ClampedArray(2)), /argument 2 of set is a typed array other/],
  [
    '31: a BigUint64Array',
    (b) => b.hset('k', { f: new BigUint64Array(1) }),
    /field f of argument 2 of hset is a typed/,
  ],
  ['31: a Uint16Array in place of fields', (b) => b.hset('k', new Uint16Array(2)), /hset/],
  [
    '32: an ArrayBuffer',
    (b) => b.set('k', new ArrayBuffer(4)),
    /argument 2 of set is an ArrayBuffer: .*new Uint8Array/,
  ],
  [
    '32: a DataView',
    (b) => b.set('k', new DataView(new ArrayBuffer(4))),
    /argument 2 of set is a DataView: .*new Uint8Array/,
  ],
  ['33: a detached view', (b) => b.set('k', detached()), /argument 2 of set is a view of memory that was detached/],
  [
    '33: a detached view in an array',
    (b) => b.sadd('k', ['a', detached()]),
    /of sadd is a view of memory that was det/,
  ],
  [
    '33: an empty view of memory that was detached',
    (b) => b.set('k', detached(0)),
    /argument 2 of set is a view of memory/,
  ],
  [
    '35: a view out of the bounds of a buffer that shrank',
    (b) => {
      const memory = resizable(16, 16)
      const view = new Uint8Array(memory, 8, 8)
      memory.resize(4)
      b.set('k', view)
    },
    /argument 2 of set is a view of memory that was detached or has shrunk/,
  ],
  [
    '36: bytes in shared memory',
    (b) => b.set('k', new Uint8Array(new SharedArrayBuffer(4))),
    /2 of set lies in shared/,
  ],
  [
    '36: a Buffer of shared memory',
    (b) => b.hset('k', { f: Buffer.from(new SharedArrayBuffer(4)) }),
    /hset lies in shared/,
  ],
  [
    '36: empty bytes in shared memory',
    (b) => b.set('k', new Uint8Array(new SharedArrayBuffer(0))),
    /set lies in shared/,
  ],
  ['37: shared memory', (b) => b.set('k', new SharedArrayBuffer(4)), /argument 2 of set is an ArrayBuffer/],
  ['38: a Proxy around a Buffer', (b) => b.set('k', new Proxy(Buffer.from('x'), {})), /argument 2 of set is an object/],
  [
    '38: a Proxy around bytes in place of fields',
    (b) => b.hset('k', new Proxy(new Uint8Array(2), {})),
    /2 of hset is an ob/,
  ],
  ['38: a revoked Proxy', (b) => b.set('k', revoked()), /argument 2 of set is a Proxy that was revoked/],
  [
    '38: a revoked Proxy in place of fields',
    (b) => b.hset('k', revoked()),
    /argument 2 of hset is a Proxy that was rev/,
  ],
  [
    '38: a revoked Proxy in an array',
    (b) => b.sadd('k', [revoked()]),
    /element 0 of argument 2 of sadd is a Proxy that/,
  ],
  [
    '42: a String object',
    (b) => b.set('k', Object('x')),
    /argument 2 of set is a boxed primitive: pass its valueOf\(\)/,
  ],
  ['42: a Number object', (b) => b.hset('k', { f: Object(1) }), /field f of argument 2 of hset is a boxed primitive/],

  ['46: call without a name', (b) => b.call(), /name of a command/],
  ['46: call with an empty array', (b) => b.call([]), /name of a command/],
  ['46: call with the name in an array', (b) => b.call(['SET', 'k', 'v']), /name of a command/],
  ...['', ' SET', 'SET k', 'SET\r\nk', 'SET\0', '1SET', '.SET', 'ſET', 'SÉT', 'SET🎉', 'S'.repeat(66), '\ud800'].map(
    (name): Refusal => [
      `47: the name ${JSON.stringify(name.slice(0, 20))}`,
      (b) => b.call(name, 'k', 'v'),
      /name of a comm/,
    ],
  ),
  ['47: a number as name', (b) => b.call(5, 'k'), /name of a command/],
  ['47: bytes as name', (b) => b.call(Buffer.from('SET'), 'k', 'v'), /name of a command/],
  ...[
    ['client', 'reply', 'on'],
    ['CLIENT', 'REPLY', 'OFF'],
    ['subscribe', 'c'],
    ['monitor'],
    ['hello', 3],
    ['reset'],
    ['quit'],
    ['shutdown', 'nosave'],
    ['blpop', 'k', 0],
    ['XREAD', 'BLOCK', 0, 'STREAMS', 'k', '$'],
    ['multi'],
    ['exec'],
  ].map((words): Refusal => {
    const row = words[0] === 'multi' || words[0] === 'exec' ? 49 : 48
    return [
      `${row}: call(${words.join(', ')})`,
      (b) => b.call(...(words as [string])),
      /cannot go through.*: \w/,
      FORBIDDEN,
    ]
  }),
  // The server does not mind in which form the word came, and would send no reply any more.
  [
    '48: CLIENT and REPLY in bytes',
    (b) => b.call('CLIENT', Buffer.from('reply'), 'OFF'),
    /CLIENT REPLY cannot/,
    FORBIDDEN,
  ],
  [
    '48: the method client with REPLY in bytes',
    (b) => b.client(Buffer.from('Reply'), 'OFF'),
    /REPLY cannot/,
    FORBIDDEN,
  ],
  ['48: BLOCK in bytes', (b) => b.xread(Buffer.from('BLOCK'), 0, 'STREAMS', 'k', '$'), /XREAD cannot/, FORBIDDEN],
  ['48: CLIENT and REPLY in an array', (b) => b.call('CLIENT', ['REPLY', 'OFF']), /CLIENT REPLY cannot/, FORBIDDEN],

  ['50: hset(key)', (b) => b.hset('k'), /hset needs at least 3 arguments, got 1/],
  ['50: set(key)', (b) => b.set('k'), /set needs at least 2 arguments, got 1/],
  ['50: get()', (b) => b.get(), /get takes 1 argument, got 0/],
  ['50: incrby(key)', (b) => b.incrby('k'), /incrby takes 2 arguments, got 1/],
  ['50: xgroup("CREATE")', (b) => b.xgroup('CREATE', 'k'), /xgroup create needs at least 3 arguments, got 1/],
  ['51: get(key, more)', (b) => b.get('k', 'more'), /get takes 1 argument, got 2/],
  ['51: get(key, undefined)', (b) => b.get('k', undefined), /get takes 1 argument, got 2/],
  ['51: incr(key, 1)', (b) => b.incr('k', 1), /incr takes 1 argument, got 2/],
  ['51: lpop(key, 1, 2)', (b) => b.lpop('k', 1, 2), /lpop takes at most 2 arguments, got 3/],
  ...['abc', '', ' 1', '1 ', '1e400', '-1e400', 'nan', '1,5', '++1', '१'].map((score): Refusal => [
    `52: the score '${score}'`,
    (b) => b.zadd('k', score, 'm'),
    /argument 2 of zadd is no valid score/,
  ]),
  ['52: the score NaN', (b) => b.zadd('k', Number.NaN, 'm'), /argument 2 of zadd is NaN/],
  [
    '52: a bad score behind options',
    (b) => b.zadd('k', 'NX', 'CH', 1, 'a', 'x', 'b'),
    /argument 6 of zadd is no valid sc/,
  ],
  ['52: a bad score in an object', (b) => b.zadd('k', { m: 'abc' }), /of zadd is no valid score/],
  ['54: set with NX and XX', (b) => b.set('k', 'v', 'NX', 'XX'), /set takes NX or XX, not both/],
  ['54: set with ex and px', (b) => b.set('k', 'v', 'ex', 1, 'px', 1), /set takes EX or PX, not both/],
  [
    '54: set with KEEPTTL and EX in bytes',
    (b) => b.set('k', 'v', 'KEEPTTL', Buffer.from('EX'), 1),
    /KEEPTTL or EX, not/,
  ],
  ['54: expire with NX and GT', (b) => b.expire('k', 1, 'NX', 'GT'), /expire takes NX or GT, not both/],
  ['54: zadd with GT and LT', (b) => b.zadd('k', 'GT', 'LT', 1, 'm'), /zadd takes GT or LT, not both/],
]

function manyFields(): [string, string][] {
  return Array.from({ length: 1 << 20 }, (_, at) => [`f${at}`, ''])
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

for (const [row, append, message, code] of refusals) {
  test(`4.1 row ${row} is refused`, (t) => isRefused(t, append, message, code))
}

// Allowed, and byte for byte the same on the server.

type Allowance = [
  row: string,
  append: (bulk: Loose, key: string) => unknown,
  read: (key: string) => Promise<unknown>,
  expected: unknown,
]

const get = (key: string) => client.getBuffer(key)
const hash = (key: string) => client.hgetall(key)
const list = (key: string) => client.lrange(key, 0, -1)
const text = (value: string) => Buffer.from(value)
/** The fields of the one entry of a stream, in their order. */
const entry = async (key: string) => (await client.xrange(key, '-', '+'))[0]?.[1]

const tricky = 'é€😀\u{10ffff}\0\r\n$5\r\nhello\r\n*1\r\n\ufeff\uffff'
const pool = Buffer.alloc(8192, 'a')
const shrunk = () => {
  const memory = resizable(16, 16)
  const view = new Uint8Array(memory)
  view.set(text('0123456789abcdef'))
  memory.resize(4)
  return view
}
const changed = (bulk: Loose, key: string) => {
  const bytes = Buffer.from('old')
  bulk.set(key, bytes)
  bytes.write('new')
}
const withoutPrototype = Object.assign(Object.create(null), { a: '1', b: 2 })
const awkwardNames = JSON.parse('{"__proto__":"1","constructor":"2","toString":"3","hasOwnProperty":"4"}')
class Row {
  id = 7
  name = 'n'
  get computed() {
    return 'not a field'
  }
}

const allowances: Allowance[] = [
  ['2: pairs, NUL, CR LF and RESP inside a value', (b, key) => b.set(key, tricky), get, text(tricky)],
  ['2: … inside a key', (b, key) => b.set(key + tricky, 1), (key) => get(key + tricky), text('1')],
  ['2: … inside a field and an object', (b, key) => b.hset(key, { [tricky]: tricky }), hash, { [tricky]: tricky }],
  ['2: … behind 4094 others', (b, key) => b.set(key, 'x'.repeat(4094) + tricky), get, text('x'.repeat(4094) + tricky)],
  ['3: an empty value', (b, key) => b.set(key, ''), get, text('')],
  ['3: an empty key', (b) => b.set('', 'empty'), () => get(''), text('empty')],
  ['3: an empty field', (b, key) => b.hset(key, '', ''), hash, { '': '' }],
  ['3: an empty field in an object', (b, key) => b.hset(key, { '': '' }), hash, { '': '' }],
  ['7: infinite scores', (b, key) => b.zadd(key, Infinity, 'a', -Infinity, 'b'), scores, ['b', '-inf', 'a', 'inf']],
  ['7: infinite scores in an object', (b, key) => b.zadd(key, { a: Infinity }), scores, ['a', 'inf']],
  ['7: infinite scores behind options', (b, key) => b.zadd(key, 'NX', 'CH', -Infinity, 'a'), scores, ['a', '-inf']],
  ['7: infinite scores through call', (b, key) => b.call('ZADD', key, 'NX', Infinity, 'a'), scores, ['a', 'inf']],
  ['8: -0 is 0', (b, key) => b.rpush(key, -0, [-0]), list, ['0', '0']],
  ['9: 1e21', (b, key) => b.set(key, 1e21), get, text('1e+21')],
  ['9: 1e-7', (b, key) => b.set(key, 1e-7), get, text('1e-7')],
  ['9: 0.1 + 0.2', (b, key) => b.set(key, 0.1 + 0.2), get, text('0.30000000000000004')],
  ['9: extremes', (b, key) => b.rpush(key, 5e-324, Number.MAX_VALUE), list, ['5e-324', '1.7976931348623157e+308']],
  ['9: 1e21 to incrbyfloat', (b, key) => b.incrbyfloat(key, 1e21), get, text('1000000000000000000000')],
  ['10: 2^53 - 1 as an integer', (b, key) => b.incrby(key, 2 ** 53 - 1), get, text('9007199254740991')],
  ['10: 2^60 as a value', (b, key) => b.set(key, 2 ** 60), get, text(String(2 ** 60))],
  ['11: bigints', (b, key) => b.rpush(key, 0n, -1n, 2n ** 53n + 1n), list, ['0', '-1', '9007199254740993']],
  ['11: a bigint beyond 64 bits as a value', (b, key) => b.set(key, -(2n ** 200n)), get, text(String(-(2n ** 200n)))],
  ['11: the greatest 64-bit integer', (b, key) => b.incrby(key, 2n ** 63n - 1n), get, text('9223372036854775807')],
  ['12: the least 64-bit integer', (b, key) => b.incrby(key, -(2n ** 63n)), get, text('-9223372036854775808')],
  ['17: an array is read by index, whatever it converts to', hostileArray, list, ['a', 'b']],
  // The contract flattens one level.
  ['19: a flat array', (b, key) => b.rpush(key, 'a', ['b', 1], 'c'), list, ['a', 'b', '1', 'c']],
  ['23: an object without prototype', (b, key) => b.hset(key, withoutPrototype), hash, { a: '1', b: '2' }],
  ['24: awkward names of fields', (b, key) => b.hset(key, awkwardNames), (key) => client.hlen(key), 4],
  ['24: own fields, not inherited ones', (b, key) => b.hset(key, new Row()), hash, { id: '7', name: 'n' }],
  [
    '25: a Map',
    (b, key) =>
      b.hset(
        key,
        new Map<unknown, unknown>([
          ['s', 1],
          [Buffer.from([0xff]), 'bytes'],
          [3, 4n],
        ]),
      ),
    async (key) => Object.entries(await client.hgetallBuffer(key)).length,
    3,
  ],
  [
    '26: fields like integers, which JavaScript sorts',
    (b, key) => b.xadd(key, '*', { b: 0, 2: 0, 1: 0 }),
    entry,
    ['1', '0', '2', '0', 'b', '0'],
  ],
  [
    '26: … and a Map does not',
    (b, key) =>
      b.xadd(
        key,
        '*',
        new Map([
          ['b', 0],
          ['2', 0],
          ['1', 0],
        ]),
      ),
    entry,
    ['b', '0', '2', '0', '1', '0'],
  ],
  ['30: a Buffer', (b, key) => b.set(key, Buffer.from([0, 255, 13, 10])), get, Buffer.from([0, 255, 13, 10])],
  ['30: a Uint8Array as key', (b, key) => b.set(new Uint8Array(text(key)), 'v'), get, text('v')],
  [
    '30: bytes that are no UTF-8',
    (b, key) => b.hset(key, { f: Buffer.from([0xc3, 0x28]) }),
    hashBuffer,
    Buffer.from([0xc3, 0x28]),
  ],
  ['34: a view that follows a buffer that shrank', (b, key) => b.set(key, shrunk()), get, text('0123')],
  ['39: an empty Buffer', (b, key) => b.set(key, Buffer.alloc(0)), get, text('')],
  ['39: an empty view of memory', (b, key) => b.set(key, new Uint8Array(new ArrayBuffer(0))), get, text('')],
  ['39: an empty Buffer in an array', (b, key) => b.rpush(key, [Buffer.alloc(0), 'x']), list, ['', 'x']],
  ['40: a Buffer that changes afterwards', changed, get, text('old')],
  ['41: a slice of a pool', (b, key) => b.set(key, pool.fill('xyz', 100, 103).subarray(99, 104)), get, text('axyza')],
  ['41: a small Buffer', (b, key) => b.set(key, Buffer.from('small')), get, text('small')],
  ['46: call with arrays', (b, key) => b.call('SET', [key, 'v'], []), get, text('v')],
  ['47: a name in lower case', (b, key) => b.call('set', key, 'v'), get, text('v')],
  ['47: a name in mixed case', (b, key) => b.call('rPuSh', key, 'v'), list, ['v']],
  [
    '52: scores as text',
    (b, key) => b.zadd(key, '1e3', 'a', '-.5', 'b', '+inf', 'c', '0x10', 'd'),
    scores,
    ['b', '-0.5', 'd', '16', 'a', '1000', 'c', 'inf'],
  ],
  ['53: EX as it is', (b, key) => b.set(key, 'v', 'EX', '1000'), async (key) => (await client.ttl(key)) > 900, true],
  ['53: expire -1', (b, key) => b.set(key, 'v') && b.expire(key, -1), (key) => client.exists(key), 0],
  ['53: expire 0', (b, key) => b.set(key, 'v') && b.expire(key, 0), (key) => client.exists(key), 0],
  ['54: the same option twice', (b, key) => b.set(key, 'v', 'NX', 'NX'), get, text('v')],
  ['54: a value that is called like an option', (b, key) => b.set(key, 'NX', 'XX'), get, null],
]

function scores(key: string): Promise<string[]> {
  return client.zrange(key, '0', '-1', 'WITHSCORES')
}

async function hashBuffer(key: string): Promise<unknown> {
  return client.hgetBuffer(key, 'f')
}

function hostileArray(bulk: Loose, key: string): void {
  bulk.rpush(key, Object.assign(['a', 'b'], hostile(), { [Symbol.iterator]: null, forEach: null, map: null }))
}

for (const [row, append, read, expected] of allowances) {
  test(`4.1 row ${row} is sent`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const key = nextKey()
    append(bulk, key)
    const { failed, failures } = await bulk.exec()
    t.is(failed, 0, failures[0]?.message)
    t.deepEqual(await read(key), expected)
  })
}

test('4.1 row 5: onNull leaves an empty field out, or sends an empty string', async (t) => {
  const fields = { a: null, b: undefined, c: 0 }
  const [skip, empty] = [nextKey(), nextKey()]
  await pipelineFor(t, { port: server.port, onNull: 'skip' }).hset(skip, fields).exec()
  await pipelineFor(t, { port: server.port, onNull: 'empty' })
    .hset(empty, new Map(Object.entries(fields)))
    .exec()
  t.deepEqual(await hash(skip), { c: '0' })
  t.deepEqual(await hash(empty), { a: '', b: '', c: '0' })
  const all = /argument 2 of hset has no fields/
  await isRefused(t, (b) => b.hset('k', { a: null }), all, INVALID, { onNull: 'skip' })
  // Arguments and elements of arrays are no fields.
  await isRefused(t, (b) => b.hset('k', 'f', null), /argument 3 of hset is null/, INVALID, { onNull: 'empty' })
  await isRefused(t, (b) => b.sadd('k', [null]), /element 0 of argument 2/, INVALID, { onNull: 'skip' })
})

test('4.1 row 21: what a getter throws passes through, and nothing is appended', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const thrown = new Error('from the getter')
  const fail = (): never => {
    throw thrown
  }
  const array = Object.defineProperty(['a', 'b'], 1, { get: fail })
  const object = {
    a: 1,
    get b() {
      return fail()
    },
  }
  const traps = ['get', 'ownKeys', 'getOwnPropertyDescriptor', 'getPrototypeOf'] as const
  const proxies = traps.map((trap) => new Proxy({ a: 1 }, { [trap]: fail }))
  const values = [array, object, ...proxies, new Proxy(['a'], { get: fail })]
  for (const value of values)
    t.is(
      t.throws(() => bulk.hset('k', value)),
      thrown,
    )
  t.is(bulk.length, 0)
  const key = nextKey()
  bulk.hset(key, { f: 'v' })
  t.is((await bulk.exec()).commands, 1)
  t.deepEqual(await hash(key), { f: 'v' })
})

test('4.1 row 21: an array that changes while it is read has as many elements as at first', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const growing = ['a', 'b']
  Object.defineProperty(growing, 0, { get: () => (growing.push('more'), 'grown') })
  const key = nextKey()
  bulk.rpush(key, growing)
  const shrinking = ['a', 'b', 'c']
  Object.defineProperty(shrinking, 0, { get: () => ((shrinking.length = 1), 'x') })
  t.throws(() => bulk.rpush(key, shrinking), {
    code: INVALID,
    message: /element 1 of argument 2 of rpush is undefined/,
  })
  t.is((await bulk.exec()).commands, 1)
  t.deepEqual(await list(key), ['grown', 'b'])
})

test('4.1 row 21: bytes that are detached while others are read are refused', (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const bytes = new Uint8Array(8)
  const object = {
    bytes,
    get after() {
      structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
      return 'v'
    },
  }
  t.throws(() => bulk.hset('k', object), { code: INVALID, message: /of hset is a view of memory that was detached/ })
  t.is(bulk.length, 0)
})

test('4.1 row 22: a getter that appends to the same pipeline is refused', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const other = pipelineFor(t, { port: server.port })
  const key = nextKey()
  const read = (target: Loose) =>
    new Proxy(['a'], { get: (array, name) => (target.set(key, 'v'), Reflect.get(array, name)) })
  const error = { instanceOf: RespipeError, code: INVALID, message: /while the arguments of another are read/ }
  t.throws(() => bulk.sadd('k', read(bulk)), error)
  t.throws(
    () =>
      bulk.hset('k', {
        get f() {
          return String(bulk.hset('k', { inner: 1 }))
        },
      }),
    error,
  )
  t.is(bulk.length, 0)
  bulk.rpush(`${key}:list`, read(other))
  t.deepEqual([bulk.length, other.length > 0], [1, true])
  await Promise.all([bulk.exec(), other.exec()])
  t.deepEqual([await list(`${key}:list`), await client.get(key)], [['a'], 'v'])
})

// The contract has no limit for one command but the buffer: what exceeds it is refused before it is copied. The longest
// strings there are, and what that costs: long/inputs.spec.ts.
test('4.1 row 43: a string that does not fit the buffer is refused', async (t) => {
  const bulk = pipelineFor(t, { maxBufferedBytes: 1_000_000 })
  const long = 'x'.repeat(1_000_000)
  for (const append of [() => bulk.set('k', long), () => bulk.sadd('k', ['a', long])]) {
    t.throws(append, { instanceOf: RespipeError, code: 'RESPIPE_BUFFER_FULL' })
    t.is(bulk.length, 0)
  }
})

test('4.1 row 44: bytes of more than 512 MiB are refused, though they would fit the buffer', (t) => {
  // The system provides memory for what is looked at, and nothing of this is.
  const long = new Uint8Array(2 ** 29 + 1)
  const error = { code: INVALID, message: /argument 2 of set is longer than 512 MiB/ }
  const bulk = pipelineFor(t, { maxBufferedBytes: 2 ** 31 })
  t.throws(() => bulk.set('k', long), error)
  t.is(bulk.length, 0)
})

test('4.1 row 45: what exceeds maxBufferedBytes is refused, and the rest goes on', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, maxBufferedBytes: 10_000 })
  const full = { instanceOf: RespipeError, code: 'RESPIPE_BUFFER_FULL', message: /maxBufferedBytes \(10000 bytes\)/ }
  const key = nextKey()
  for (const value of ['x'.repeat(10_000), Buffer.alloc(10_000), 'é'.repeat(5_000), '€'.repeat(3_400)]) {
    t.throws(() => bulk.set(key, value), full)
    t.throws(() => bulk.rpush(key, ['small', value]), full)
  }
  t.throws(() => bulk.rpush(key, Array(3_000).fill('x')), full)
  t.is(bulk.length, 0)
  let appended = 0
  t.throws(() => {
    for (;;) {
      bulk.rpush(key, 'x'.repeat(100))
      appended++
    }
  }, full)
  t.is(bulk.length, appended)
  t.is((await bulk.exec()).succeeded, appended)
  t.is(await client.llen(key), appended)
})

test('4.1 row 45: a command of many arguments that exceeds the buffer is refused', (t) => {
  const bulk = pipelineFor(t, { maxBufferedBytes: 1e6 })
  t.throws(() => bulk.rpush('k', Array(5_000).fill('x'.repeat(4_000))), { code: 'RESPIPE_BUFFER_FULL' })
  t.is(bulk.length, 0)
})

test('4.1 row 53: times that the server refuses are its to judge', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  bulk.set(key, 'v').expire(key, 1.5).set(key, 'v', 'EX', 0).set(key, 'v', 'EX', -1)
  const { commands, failed, errors } = await bulk.exec()
  t.deepEqual({ commands, failed, errors }, { commands: 4, failed: 3, errors: { ERR: 3 } })
})

for (const [what, receiver] of Object.entries({ undefined, null: null, object: {}, number: 1, array: [] })) {
  test(`4.1 row 55: a method called on ${what} is refused`, (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    for (const name of ['hset', 'call', 'get', 'zadd']) isNoReceiver(t, bulk, name, receiver)
  })
}

function isNoReceiver(t: ExecutionContext, bulk: Loose, name: string, receiver: unknown): void {
  const message = new RegExp(`${name} must be called on a pipeline`)
  t.throws(() => Reflect.apply(bulk[name]!, receiver, ['GET', 'f', 'v']), {
    instanceOf: RespipeError,
    code: INVALID,
    message,
  })
  t.is(bulk.length, 0)
}

test('4.1 row 55: a method called on the prototype, or on what inherits from a pipeline, is refused', (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  for (const receiver of [Object.getPrototypeOf(bulk), Object.create(bulk), new Proxy(bulk, {})]) {
    isNoReceiver(t, bulk, 'set', receiver)
  }
})

test('4.1 row 56: only bulkPipeline makes pipelines', (t) => {
  const Pipeline = pipelineFor(t, { port: server.port }).constructor as unknown as new (...args: unknown[]) => object
  const error = { instanceOf: RespipeError, code: INVALID, message: /made by bulkPipeline\(\), not by new/ }
  t.throws(() => new Pipeline(), error)
  t.throws(() => new Pipeline(Symbol('bulkPipeline'), {}), error)
  t.throws(() => new (class extends Pipeline {})(), error)
  // Classes throw this themselves.
  t.throws(() => (Pipeline as unknown as () => unknown)(), { instanceOf: TypeError, message: /without 'new'/ })
})

// The contract queues it; nothing is refused.
test('4.1 row 57: a second exec waits for its turn', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, replies: 'collect' })
  const key = nextKey()
  const outcomes = await Promise.all([bulk.incr(key).exec(), bulk.exec(), bulk.incr(key).incr(key).exec()])
  t.deepEqual(
    outcomes.map(({ replies }) => replies),
    [[1], [], [2, 3]],
  )
})

test('4.1 row 58: what is appended while an exec runs belongs to the next one', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const key = nextKey()
  const first = bulk.rpush(key, 'a').exec()
  bulk.rpush(key, 'b')
  t.is(bulk.length, 1)
  t.is((await first).commands, 1)
  t.deepEqual([bulk.length, await list(key)], [1, ['a']])
  t.is((await bulk.exec()).commands, 1)
  t.deepEqual(await list(key), ['a', 'b'])
})

for (const [how, code, end] of [
  ['close()', 'RESPIPE_CLOSED', (bulk: Loose) => bulk.close()],
  ['destroy()', 'RESPIPE_CLOSED', (bulk: Loose) => bulk.destroy()],
  ['an abort', 'RESPIPE_ABORTED', (_: Loose, controller: AbortController) => controller.abort()],
] as const) {
  test(`4.1 row 59: nothing goes after ${how}`, async (t) => {
    const controller = new AbortController()
    const bulk = pipelineFor(t, { port: server.port, signal: controller.signal })
    const key = nextKey()
    bulk.set(key, 'v')
    await bulk.exec()
    await end(bulk, controller)
    const error = { instanceOf: RespipeError, code }
    const appends = [() => bulk.set('k', 'v'), () => bulk.hset('k', { f: 1 }), () => bulk.call('SET', 'k', 'v')]
    for (const append of [...appends, () => bulk.zadd('k', 1, 'm')]) t.throws(append, error)
    for (const promise of [bulk.exec(), bulk.drain(), bulk.sync(), bulk.query('PING')])
      await t.throwsAsync(promise, error)
    t.deepEqual([bulk.length, bulk.needsDrain, bulk.discard()], [0, false, 0])
    t.is((await bulk.close()).succeeded, 1)
    t.false(bulk.stats().connected)
    bulk.destroy()
  })
}

test('4.1 row 60: an exec without commands does not touch the network', async (t) => {
  const bulk = pipelineFor(t, { port: 1 })
  const { commands, succeeded, failed, unknown, bytes } = await bulk.exec()
  t.deepEqual(
    { commands, succeeded, failed, unknown, bytes },
    { commands: 0, succeeded: 0, failed: 0, unknown: 0, bytes: 0 },
  )
  t.is((await bulk.sync()).reconnects, 0)
  t.is((await bulk.close()).commands, 0)
})

test('4.1 row 61: what an event listener throws goes where Node.js sends it', async (t) => {
  const source = `
    import { bulkPipeline } from './index.mjs'
    const bulk = bulkPipeline({ port: ${server.port} })
    bulk.on('failure', () => { throw new Error('from the listener') })
    process.once('uncaughtException', (error) => console.log(error.message))
    bulk.set('row:61', 'v').lpush('row:61', 'v').set('row:61', 'w')
    const { commands, succeeded, failed } = await bulk.exec()
    console.log(commands, succeeded, failed)
    console.log((await bulk.close()).commands)
  `
  const { code, stdout, stderr } = await runScript({ source })
  t.is(code, 0, stderr)
  t.is(stdout, 'from the listener\n3 2 1\n3\n')
})

test('4.1 row 63: with an aborted signal nothing is sent', async (t) => {
  const scripted = await scriptedFor(t, {})
  const bulk = pipelineFor(t, { port: scripted.port, signal: AbortSignal.abort() })
  const error = { instanceOf: RespipeError, code: 'RESPIPE_ABORTED' }
  t.throws(() => bulk.set('k', 'v'), error)
  await t.throwsAsync(bulk.exec(), error)
  await t.throwsAsync(bulk.query('PING'), error)
  // Whatever it had begun would be there before what this one begins.
  t.is(await pipelineFor(t, { port: scripted.port }).query('PING'), 'PONG')
  t.is(scripted.connections, 1)
})

for (const replies of ['Check', '', 3, 'verify', null] as never[]) {
  test(`4.1 row 64: replies: ${JSON.stringify(replies)} is refused`, (t) => {
    const message = /replies.*'check'.*'collect'.*'off'/
    t.throws(() => pipelineFor(t, { replies }), { instanceOf: RespipeError, code: 'RESPIPE_INVALID_OPTION', message })
  })
}
