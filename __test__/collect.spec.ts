import test, { type ExecutionContext } from './helpers/test.ts'
import type { Socket } from 'node:net'
import { type BulkPipelineOptions, type Reply, RespipeError } from '../index.js'
import { bulkFor, until } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

// Replies as values: those of a load with `replies: 'collect'`, and those of `query`. Memory: long/collect.spec.ts.

const { server, client } = await sharedServer()
/** Where nothing listens, and nothing ever will. */
const NOWHERE = 1

function open(t: ExecutionContext, options: BulkPipelineOptions = {}) {
  return bulkFor(t, { port: server.port, replies: 'collect', ...options })
}

/** A server that answers GET with these bytes, in turn, and all else as usual. */
async function answering(t: ExecutionContext, ...replies: (string | Buffer)[]) {
  return scriptedFor(t, ([name]) => (name === 'GET' ? replies.shift() : undefined))
}

const shapes: [wire: string, utf8: Reply, buffer?: Reply][] = [
  ['+simple\r\n', 'simple'],
  ['+\r\n', ''],
  [':0\r\n', 0],
  [':-42\r\n', -42],
  [':9007199254740991\r\n', 2 ** 53 - 1],
  [':9007199254740992\r\n', 2n ** 53n],
  [':-9007199254740991\r\n', -(2 ** 53 - 1)],
  [':-9007199254740992\r\n', -(2n ** 53n)],
  [':9223372036854775807\r\n', 2n ** 63n - 1n],
  [':-9223372036854775808\r\n', -(2n ** 63n)],
  ['$-1\r\n', null],
  ['*-1\r\n', null],
  ['$0\r\n\r\n', '', Buffer.alloc(0)],
  ['$3\r\na\r\n\r\n', 'a\r\n', Buffer.from('a\r\n')],
  ['$4\r\n☺x\r\n', '☺x', Buffer.from('☺x')],
  ['*0\r\n', []],
  ['*2\r\n*2\r\n:1\r\n$1\r\na\r\n*1\r\n*1\r\n$-1\r\n', [[1, 'a'], [[null]]], [[1, Buffer.from('a')], [[null]]]],
]

for (const encoding of ['utf8', 'buffer'] as const) {
  test(`replies have the shapes of RESP2, bulk strings as ${encoding}`, async (t) => {
    const { port } = await answering(t, ...shapes.map(([wire]) => wire))
    const bulk = open(t, { port, encoding })
    for (const _ of shapes) bulk.get('key')
    const { replies } = await bulk.exec()
    t.deepEqual(
      replies,
      shapes.map(([, utf8, buffer = utf8]) => (encoding === 'buffer' ? buffer : utf8)),
    )
  })
}

test('bytes that are no text come back whole from buffer alone', async (t) => {
  const bytes = Buffer.from([0xff, 0, 0x80, 0x0d, 0x0a])
  const bulk = open(t, { encoding: 'buffer' })
  const { replies } = await bulk.set('bytes', bytes).get('bytes').exec()
  t.deepEqual(replies, ['OK', bytes])
  const text = await open(t).get('bytes').exec()
  t.deepEqual(text.replies, [bytes.toString()])
})

test('an error is an Error with its code, also within an array', async (t) => {
  const { port } = await answering(t, '-WRONGTYPE no\r\n', '*2\r\n-ERR a b\r\n+OK\r\n', '-\u001b[31mred\r\n')
  const bulk = open(t, { port })
  const { replies = [], succeeded, errors } = await bulk.get('a').get('b').get('c').exec()
  t.deepEqual({ succeeded, errors: Object.values(errors) }, { succeeded: 1, errors: [1, 1] })
  const [plain, [nested] = [], coloured] = replies as [Error, Error[], Error]
  for (const [error, code, message] of [
    [plain, 'WRONGTYPE', 'WRONGTYPE no'],
    [nested, 'ERR', 'ERR a b'],
  ] as const) {
    t.true(error instanceof Error)
    t.deepEqual([(error as { code?: string }).code, error?.message], [code, message])
  }
  t.false(coloured.message.includes('\u001b'))
})

test('without collect there are no replies', async (t) => {
  const result = await open(t, { replies: 'check' }).set('plain', 1).exec()
  t.false('replies' in result)
  t.deepEqual((await open(t).exec()).replies, [])
})

test('each command has its reply, in order, over many batches', async (t) => {
  const bulk = open(t, { maxInFlightBytes: 2_000 })
  const batches = []
  for (let batch = 0; batch < 50; batch++) {
    for (let index = 0; index < 37; index++) {
      const text = `${batch}:${index}`
      if (index % 10 === 9) bulk.call('NO.SUCH', text)
      else bulk.echo(text)
    }
    batches.push(bulk.exec())
  }
  for (const [batch, { replies = [] }] of (await Promise.all(batches)).entries()) {
    t.deepEqual(
      replies.map((reply) => (reply instanceof Error ? 'error' : reply)),
      replies.map((_, index) => (index % 10 === 9 ? 'error' : `${batch}:${index}`)),
    )
    t.is(replies.length, 37)
  }
})

test('a reply may be large', async (t) => {
  const value = 'é'.repeat(2 * 2 ** 20)
  await client.set('large', value)
  for (const encoding of ['utf8', 'buffer'] as const) {
    const { replies = [] } = await open(t, { encoding }).get('large').echo('x').exec()
    t.true(encoding === 'utf8' ? replies[0] === value : Buffer.from(value).equals(replies[0] as Buffer))
    t.is(String(replies[1]), 'x')
  }
})

test('many replies come back in one batch', async (t) => {
  const bulk = open(t)
  await bulk.set('many', 'value').exec()
  for (let index = 0; index < 30_000; index++) bulk.get('many')
  const { replies = [], succeeded } = await bulk.exec()
  t.deepEqual([succeeded, replies.length], [30_000, 30_000])
  t.true(replies.every((reply) => reply === 'value'))
})

test('replies that nobody has taken count towards the ceiling, until they are', async (t) => {
  await client.set('ceiling', 'x'.repeat(30_000))
  // In a process of its own, whose event loop is not let go, so that nobody takes them.
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { maxBufferedBytes: 40_000, replies: 'collect' })
    const first = bulk.get('ceiling').get('ceiling').exec()
    const isFull = () => {
      try {
        bulk.set('key', 'x'.repeat(10_000))
        bulk.discard()
        return false
      } catch ({ code }) {
        return code === 'RESPIPE_BUFFER_FULL'
      }
    }
    while (!isFull());
    console.log((await first).replies.length, isFull())
  `
  const { stdout, stderr } = await runScript({ source }, { args: [server.url] })
  t.deepEqual([stdout, stderr], ['2 false\n', ''])
})

test('commands of a batch that is given up have Errors for replies', async (t) => {
  const bulk = open(t, { port: NOWHERE, retry: { attempts: 0 } })
  const { outcome } = await t.throwsAsync<RespipeError>(bulk.set('a', 1).set('b', 2).exec(), {
    code: 'RESPIPE_CONNECT',
  })
  const { replies = [] } = outcome as { replies?: Reply[] }
  t.deepEqual(
    replies.map((reply) => (reply as { code?: string }).code),
    ['RESPIPE_CONNECT', 'RESPIPE_CONNECT'],
  )
})

// query

test('a query is answered beside the load, and leaves it alone', async (t) => {
  const bulk = open(t, { replies: 'check' })
  bulk.set('query', 'value').rpush('query:list', 'a', 'b')
  t.is(await bulk.query('GET', 'query'), null)
  t.is(bulk.length, 2)
  const load = bulk.exec()
  await load
  t.is(await bulk.query('get', 'query'), 'value')
  t.deepEqual(await bulk.query('LRANGE', 'query:list', 0, -1n), ['a', 'b'])
  t.deepEqual(await bulk.query('MGET', ['query', Buffer.from('no')]), ['value', null])
  t.is(await bulk.query('PTTL', 'query'), -1)
  const { commands, batches } = await bulk.sync()
  t.deepEqual({ commands, batches }, { commands: 2, batches: 1 })
})

test('a query is answered while a load stands still', async (t) => {
  let mute: Socket | undefined
  const scripted = await scriptedFor(t, ([name], socket) => {
    if (name === 'SET') mute = socket
    return socket === mute ? null : undefined
  })
  const bulk = open(t, { port: scripted.port })
  const load = bulk.set('key', 1).exec()
  await until(() => mute !== undefined)
  t.is(await bulk.query('PING'), 'PONG')
  bulk.destroy()
  await t.throwsAsync(load, { code: 'RESPIPE_CLOSED' })
})

test('questions that are asked at once are each answered', async (t) => {
  const bulk = open(t, { encoding: 'buffer' })
  const answers = await Promise.all(Array.from({ length: 100 }, (_, number) => bulk.query('ECHO', number)))
  t.deepEqual(answers.map(String), Array.from(answers.keys(), String))
  t.true(Buffer.isBuffer(answers[0]))
})

test('a query that the server refuses resolves with the Error', async (t) => {
  const reply = await open(t).query('NO.SUCH')
  t.true(reply instanceof Error)
  t.is((reply as { code?: string }).code, 'ERR')
})

test('a query cannot ask for what upsets the accounting', async (t) => {
  const bulk = open(t)
  for (const words of [
    ['SUBSCRIBE', 'x'],
    ['MONITOR'],
    ['BLPOP', 'x', '0'],
    ['CLIENT', 'REPLY', 'OFF'],
    ['SELECT', '1'],
    ['MULTI'],
  ]) {
    const [name = '', ...args] = words
    await t.throwsAsync(bulk.query(name, ...args), { instanceOf: RespipeError, code: 'RESPIPE_FORBIDDEN_COMMAND' })
  }
  t.is(await bulk.query('PING'), 'PONG')
})

test('a query finds a new connection where the idle one was closed', async (t) => {
  const bulk = open(t)
  const id = Number(await bulk.query('CLIENT', 'ID'))
  await client.client('KILL', 'ID', id)
  // Behind the end of the other connection: whoever hears of this has heard of that.
  await bulk.set('query:closed', 1).exec()
  t.true(Number(await bulk.query('CLIENT', 'ID')) > id)
})

test('a query without a server rejects', async (t) => {
  const bulk = open(t, { port: NOWHERE, retry: { attempts: 0 } })
  await t.throwsAsync(bulk.query('PING'), { instanceOf: RespipeError, code: 'RESPIPE_CONNECT' })
  t.is((await bulk.exec()).commands, 0)
})

test('a reply that breaks the protocol, or another one behind it, rejects the query alone', async (t) => {
  const { port } = await answering(t, 'HTTP/1.1 400\r\n', resp.ok + resp.ok)
  const bulk = open(t, { port })
  for (const _ of [1, 2]) await t.throwsAsync(bulk.query('GET', 'key'), { code: 'RESPIPE_PROTOCOL' })
  t.is(await bulk.query('PING'), 'PONG')
  t.is((await bulk.set('key', 1).exec()).succeeded, 1)
})

test('a query keeps the process alive until it is answered, and no longer', async (t) => {
  const scripted = await scriptedFor(t, ([name], socket) => {
    if (name !== 'GET') return undefined
    // Time enough for a process that would end too early.
    setTimeout(() => socket.write(resp.bulk('late')), 300)
    return null
  })
  const source = `
    import { bulkPipeline } from './index.js'
    bulkPipeline(process.argv[1]).query('GET', 'key').then(console.log)
  `
  const { code, stdout } = await runScript({ source }, { args: [scripted.url] })
  t.deepEqual({ code, stdout }, { code: 0, stdout: 'late\n' })
})
