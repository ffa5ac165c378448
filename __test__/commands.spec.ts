// The commands: which have methods, which are refused and why, how many arguments they take, and what a failure says
// of them.

import test from './helpers/test.ts'
import { readFileSync } from 'node:fs'

import { RespipeError } from '../index.js'
import { pipelineFor, type Loose } from './helpers/pipelines.ts'
import { sharedServer } from './helpers/shared.ts'

const { server } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'
const FORBIDDEN = 'RESPIPE_FORBIDDEN_COMMAND'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
/** As the table of the core has them. */
const table = [...read('src/command/table.rs').matchAll(/^ {4}Command \{ name: "([^"]+)"(.*)$/gm)].map(
  ([, name = '', rest = '']) => ({ name, always: rest.includes('Forbidden::Always') }),
)
const declared = new Set([...read('commands.d.ts').matchAll(/^ {2}(\w+)[(<]/gm)].map(([, name]) => name!))
const declaredOfPipeline = new Set(
  [...read('index.d.ts').matchAll(/^ {2}(?:readonly )?(\w+)[(<:]/gm)].map(([, name]) => name!),
)

const forbidden = table.filter(({ always }) => always).map(({ name }) => name)

test('the table has been read', (t) => {
  t.true(table.length > 300, String(table.length))
  t.true(declared.size > 180, String(declared.size))
  t.true(forbidden.length > 35, String(forbidden.length))
})

test('every method of the prototype is declared, and every declared one is there', (t) => {
  const prototype = Object.getPrototypeOf(pipelineFor(t, {})) as object
  const own = Object.getOwnPropertyNames(prototype).filter((name) => name !== 'constructor')
  t.deepEqual(
    own.filter((name) => !declared.has(name) && !declaredOfPipeline.has(name) && name !== 'removeAllListeners'),
    [],
  )
  t.deepEqual(
    [...declared].filter((name) => !own.includes(name)),
    [],
  )
})

test('every command that is allowed has a method, and no forbidden one has', (t) => {
  const prototype = Object.getPrototypeOf(pipelineFor(t, {})) as object
  const allowed = table.filter(({ name, always }) => !always && /^[A-Z0-9_]+$/.test(name)).map(({ name }) => name)
  t.deepEqual(
    allowed.filter((name) => !declared.has(name.toLowerCase())),
    [],
  )
  // `exec`, `sync` and `discard` are methods of the pipeline itself, and no commands.
  const others = forbidden
    .map((name) => name.toLowerCase())
    .filter((name) => !['exec', 'sync', 'discard'].includes(name))
  t.deepEqual(
    others.filter((name) => declared.has(name) || name in prototype),
    [],
  )
  t.deepEqual(
    ['exec', 'sync', 'discard'].filter((name) => declared.has(name)),
    [],
  )
})

test('the methods named like forbidden commands send none of them', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  bulk.set('k', 'v')
  t.is(bulk.discard(), 1)
  t.is((await bulk.exec()).commands, 0)
  t.is((await bulk.sync()).commands, 0)
})

for (const name of forbidden) {
  test(`${name} is refused through call, in either case, with a hint`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const [first = '', ...words] = name.split(' ')
    const error = { instanceOf: RespipeError, code: FORBIDDEN, message: new RegExp(`^${name} cannot .*: \\w.{7,}`) }
    const cases = [(word: string) => word.toUpperCase(), (word: string) => word.toLowerCase()]
    for (const change of cases) {
      const more = words.map(change)
      t.throws(() => bulk.call(change(first), ...more, 'a', 'b', 'c', 'd'), error)
      t.throws(() => bulk.call(change(first), [...more, 'a', 'b', 'c', 'd']), error)
      t.throws(() => bulk.call(change(first), ...more), error)
      await t.throwsAsync(bulk.query(change(first), ...more), error)
      if (more.length === 0) continue
      t.throws(() => bulk[change(first).toLowerCase()]!(...more, 'a'), error)
      t.throws(() => bulk[change(first).toLowerCase()]!(...more.map((word) => Buffer.from(word)), 'a'), error)
    }
    t.is(bulk.length, 0)
  })
}

test('reading streams with BLOCK is refused, and without it is not', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, replies: 'collect' })
  const blocking: unknown[][] = [
    ['XREAD', 'BLOCK', 0, 'STREAMS', 's', '$'],
    ['xread', 'count', 1, 'block', 10n, 'streams', 's', '$'],
    ['XREAD', Buffer.from('Block'), 0, 'STREAMS', 's', '$'],
    ['XREADGROUP', 'GROUP', 'g', 'c', 'BLOCK', 0, 'STREAMS', 's', '>'],
    // A group may be called so.
    ['XREADGROUP', 'GROUP', 'STREAMS', 'c', 'BLOCK', 0, 'STREAMS', 's', '>'],
    ['XREAD', 'BLOCK', 0],
  ]
  for (const [name, ...args] of blocking as [string, ...any[]][]) {
    const error = { code: FORBIDDEN, message: /cannot .*without BLOCK/ }
    t.throws(() => bulk.call(name, ...args), error, args.join())
    t.throws(() => bulk.call(name, args), error, args.join())
    t.throws(() => bulk[name.toLowerCase()]!(...args, 'x', 'y'), error, args.join())
  }
  t.is(bulk.length, 0)
  bulk.xadd('BLOCK', '1-1', 'f', 'v').xread('COUNT', 1, 'STREAMS', 'BLOCK', 0)
  t.deepEqual((await bulk.exec()).replies, ['1-1', [['BLOCK', [['1-1', ['f', 'v']]]]]])
})

test('call takes names of modules and of unknown commands', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const names = ['JSON.SET', 'ft.search', 'TS.ADD', 'bf.add', 'CMS.INITBYDIM', 'my_module.do-it', 'x|y', 'a', 'A1']
  for (const name of names) bulk.call(name, 'k', 1)
  const { commands, failed, failures } = await bulk.exec()
  t.deepEqual({ commands, failed }, { commands: names.length, failed: names.length })
  t.deepEqual(
    failures.map(({ code, command }) => [code, command]),
    names.map((name) => ['ERR', name.toUpperCase()]),
  )
})

test("the number of arguments of call is the server's to judge", async (t) => {
  const { failed, failures } = await pipelineFor(t, { port: server.port }).call('GET').call('GET', 'a', 'b').exec()
  t.is(failed, 2)
  t.regex(failures[0]!.message, /wrong number of arguments/)
})

const arities: [append: (bulk: Loose) => unknown, message: RegExp | null][] = [
  [(b) => b.get(), /get takes 1 argument, got 0/],
  [(b) => b.mset(), /mset needs at least 2 arguments, got 0/],
  [(b) => b.mset('a'), /mset needs at least 2 arguments, got 1/],
  [(b) => b.mset('a', 1, 'b'), /mset takes groups of 2/],
  [(b) => b.mset('a', 1, 'b', 2), null],
  [(b) => b.zadd('k', 1), /zadd needs at least 3 arguments, got 2/],
  [(b) => b.zadd('k', 'NX', 1), /zadd takes pairs of score and member, got 1/],
  [(b) => b.zadd('k', 'NX', 1, 'm'), null],
  [(b) => b.del(), /del needs at least 1 argument, got 0/],
  [(b) => b.del(['a', 'b'], 'c'), null],
  [(b) => b.config('SET'), /config set needs at least 2 arguments, got 0/],
  [(b) => b.config('SET', 'maxmemory'), /config set needs at least 2 arguments, got 1/],
  [(b) => b.config('set', 'maxmemory', 0, 'timeout'), /config set takes groups of 2/],
  [(b) => b.config('set', { timeout: 0, 'tcp-keepalive': 300 }), null],
  [(b) => b.config(), /config needs at least 1 argument, got 0/],
  [(b) => b.config('NO-SUCH', 1), null],
  [(b) => b.object('ENCODING'), /object encoding takes 1 argument, got 0/],
  [(b) => b.object('encoding', 'k', 'more'), /object encoding takes 1 argument, got 2/],
  [(b) => b.command(), null],
  [(b) => b.dbsize('x'), /dbsize takes 0 arguments, got 1/],
  [(b) => b.xgroup('create', 's', 'g', '$', 'MKSTREAM'), null],
  [(b) => b.eval('return 1'), /eval needs at least 2 arguments, got 1/],
  [(b) => b.eval('return 1', 0), null],
  [(b) => b.lpop('k', 2), null],
  [(b) => b.lpop('k', 2, 3), /lpop takes at most 2 arguments, got 3/],
]
for (const [append, message] of arities) {
  test(`arity: ${String(append).slice(7)} ${message === null ? 'is taken' : 'is refused'}`, (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    if (message === null) append(bulk)
    else t.throws(() => append(bulk), { instanceOf: RespipeError, code: INVALID, message })
    t.is(bulk.length, message === null ? 1 : 0)
  })
}

test('a failure names its command and its key', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const binary = Buffer.from([0, 0xff, 13, 10])
  bulk.set('text', 'v').set(binary, 'v')
  bulk
    .hset('text', 'f', 'v')
    .hset(binary, 'f', 'v')
    .hset('text', { f: 'v' })
    .eval("return redis.error_reply('ERR of the script')", 1, 'text', 'argument')
    .eval("return redis.error_reply('ERR of the script')", 0, 'text')
    .xgroup('CREATE', 'text', 'g', '$')
    .call('xgroup', 'create', 'text', 'g', '$')
    .object('FREQ', 'text')
    .call('OBJECT', 'ENCODING', 'text', 'more')
    .call('mset', 'text', 1, 'other')
    .call('JSON.SET', 'text', '$', '1')
    .call('LPUSH', 'text', 'v')
    .call('ping', 'a', 'b')
    .lpush('', 'v')
    .set('', 'v')
    .lpush('', 'v')
  const { failures, commands, failed } = await bulk.exec()
  t.is(commands, 18)
  const found = Object.fromEntries(
    failures.map(({ index, command, key, code }) => [index, [command, key?.toString('latin1'), code]]),
  )
  t.is(failed, failures.length)
  t.deepEqual(found, {
    2: ['HSET', 'text', 'WRONGTYPE'],
    3: ['HSET', '\0\xff\r\n', 'WRONGTYPE'],
    4: ['HSET', 'text', 'WRONGTYPE'],
    5: ['EVAL', 'text', 'ERR'],
    6: ['EVAL', undefined, 'ERR'],
    7: ['XGROUP', 'text', 'WRONGTYPE'],
    8: ['XGROUP', 'text', 'WRONGTYPE'],
    9: ['OBJECT', 'text', 'ERR'],
    10: ['OBJECT', 'text', 'ERR'],
    11: ['MSET', 'text', 'ERR'],
    12: ['JSON.SET', undefined, 'ERR'],
    13: ['LPUSH', 'text', 'WRONGTYPE'],
    14: ['PING', undefined, 'ERR'],
    17: ['LPUSH', '', 'WRONGTYPE'],
  })
})
