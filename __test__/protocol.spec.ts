// Replies that are none, or not those that belong to the commands: section 4.3 of the bad inputs, a row a test.
// The peer logs us in as Redis 7 would, answers the data of its first connection as the test says, and is healthy
// from its second connection on.
import test, { type ExecutionContext } from './helpers/test.ts'
import type { Socket } from 'node:net'
import { inspect } from 'node:util'
import type { BatchResult, BulkPipelineOptions, Reply } from '../index.js'
import { addsUp, bulkFor, rejection, resolution, until, reasonOf } from './helpers/outcomes.ts'
import { proxyFor, serverFor } from './helpers/loads.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'

type Bytes = string | Buffer

interface Peer {
  /** To the first data commands; those behind them are answered +OK. */
  replies?: (Bytes | null)[]
  /** To the nonce of the fence, and to EXEC. */
  fence?: (nonce: string) => Bytes | null
  exec?: Bytes
  /** In place of all that: told of each data command, after the login. */
  heard?: (command: string[], socket: Socket) => Bytes | null | undefined
}

async function peerFor(t: ExecutionContext, { replies = [], fence, exec, heard }: Peer) {
  const left = [...replies]
  let echoes = 0
  return scriptedFor(t, (command, socket, connection) => {
    const [name = '', argument = ''] = command
    if (connection > 0) return undefined
    if (name === 'ECHO' && echoes++ === 0) return undefined
    if (['HELLO', 'PING', 'CLIENT', 'INFO'].includes(name)) return undefined
    if (heard) return heard(command, socket)
    if (name === 'ECHO') return fence === undefined ? resp.bulk(argument) : fence(argument)
    if (name === 'EXEC') return exec
    return name === 'GET' ? left.shift() : undefined
  })
}

const COMMANDS = 3

/**
 * Long enough for every answer that is to come, and what such a test takes. What counts as progress, and from when on, is
 * for the tests of the core to say, whose clock stands still (`connection/task/tests.rs`).
 */
const STALL = 2_000

function load(t: ExecutionContext, port: number, options: BulkPipelineOptions) {
  // It may try again as it likes: nothing that is wrong here gets better by that.
  const bulk = bulkFor(t, { port, replies: 'collect', ...options })
  for (let i = 0; i < COMMANDS; i++) bulk.get(`key:${i}`)
  return { bulk, result: bulk.exec() }
}

/** The batch ends in RESPIPE_PROTOCOL, all of it in doubt, and the next one finds a fresh connection. */
async function violates(t: ExecutionContext, peer: Peer, text: RegExp, options: BulkPipelineOptions = {}) {
  const server = await peerFor(t, peer)
  const { bulk, result } = load(t, server.port, options)
  const error = await rejection(t, result, 'RESPIPE_PROTOCOL')
  t.regex(error.message, text)
  t.true(error.message.startsWith(`protocol error of 127.0.0.1:${server.port}: `), error.message)
  t.regex(error.message, /^[ -~]{1,400}$/)
  const { commands, succeeded, failed, unknown } = error.outcome
  t.deepEqual({ commands, succeeded, failed, unknown }, { commands: 3, succeeded: 0, failed: 0, unknown: 3 })
  await startsAfresh(t, bulk, server)
}

async function startsAfresh(t: ExecutionContext, bulk: ReturnType<typeof bulkFor>, server: { connections: number }) {
  const next = await resolution(t, bulk.set('key', 'value').set('key', 'value').exec())
  t.is(next.succeeded, 2)
  t.is(server.connections, 2)
}

/** Nothing moves: the batch ends in RESPIPE_STALLED, `answered` commands known. */
async function stalls(t: ExecutionContext, peer: Peer, answered = 0) {
  const server = await peerFor(t, peer)
  const { bulk, result } = load(t, server.port, { stallTimeoutMs: STALL, retry: { attempts: 0 } })
  const error = await rejection(t, result, 'RESPIPE_STALLED')
  t.regex(reasonOf(error), /stalled: no progress for 2000 ms$/)
  const { succeeded, unknown } = error.outcome
  t.deepEqual({ succeeded, unknown }, { succeeded: answered, unknown: COMMANDS - answered })
  await startsAfresh(t, bulk, server)
}

/** The batch goes through, with these replies; `OK` to those behind them. */
async function counts(t: ExecutionContext, replies: (Bytes | null)[], values: Reply[], peer: Peer = {}) {
  const server = await peerFor(t, { replies, ...peer })
  const { result } = load(t, server.port, {})
  const outcome = await resolution(t, result)
  const expected = [...values, ...Array.from({ length: COMMANDS - values.length }, () => 'OK')]
  t.deepEqual(outcome.replies, expected)
  t.is(outcome.succeeded, COMMANDS)
  t.is(server.connections, 1)
}

async function failures(t: ExecutionContext, reply: Bytes, options: BulkPipelineOptions = {}): Promise<BatchResult> {
  const server = await peerFor(t, { replies: ['+OK\r\n', reply] })
  const { result } = load(t, server.port, options)
  const outcome = await resolution(t, result)
  t.is(outcome.succeeded, 2)
  t.is(outcome.failed, 1)
  t.is(outcome.failures[0]?.index, 1)
  t.is(outcome.failures[0]?.command, 'GET')
  t.is(String(outcome.failures[0]?.key), 'key:1')
  t.true(outcome.replies?.[1] instanceof Error)
  t.is(server.connections, 1)
  return outcome
}

test('4.3 row 88: replies split at every byte are the same', async (t) => {
  const server = await serverFor(t)
  const proxy = await proxyFor(t, server)
  proxy.slice(1)
  const filled = async (port: number) => {
    // Each byte costs a turn of an event loop that has other things to do.
    const bulk = bulkFor(t, { port, replies: 'collect', connectTimeoutMs: 600_000, stallTimeoutMs: 600_000 })
    bulk.set('text', 'a\r\nb$-1\r\n').get('text').get('none').incr('number').hset('hash', { a: 1, b: 'é' })
    bulk.hgetall('hash').lpush('text', 1).set('empty', '').get('empty').lrange('none', 0, -1).call('nonsense')
    bulk.call('COMMAND', 'INFO', 'get', 'none').call('XADD', 's', '1-1', 'f', 'v').xrange('s', '-', '+').del('number')
    const outcome = await resolution(t, bulk.del('text', 'hash', 'empty', 's').exec())
    await bulk.close()
    return outcome
  }
  const sliced = await filled(proxy.port)
  t.deepEqual(sliced, await filled(server.port))
  t.deepEqual(sliced.errors, { ERR: 1, WRONGTYPE: 1 })
  t.is(sliced.succeeded, 14)
})

test('4.3 row 88: so are odd ones, and wrong ones', async (t) => {
  const answers = '*2\r\n$-1\r\n%1\r\n+a\r\n,1.5\r\n|1\r\n+a\r\n+b\r\n!8\r\nERR oops\r\n>2\r\n+x\r\n+y\r\n_\r\n'
  const server = await peerFor(t, {
    heard: ([name = '', argument], socket) => {
      if (name === 'ECHO') return bytewise(socket, answers + resp.bulk(argument!))
      return null
    },
  })
  const { result } = load(t, server.port, {})
  const outcome = await resolution(t, result)
  t.deepEqual(outcome.replies?.[0], [null, ['a', '1.5']])
  t.is(outcome.replies?.[2], null)
  t.like(outcome.failures[0], { index: 1, code: 'ERR', message: 'ERR oops' })

  const malformed = '+OK\r\n$5\r\nabcdefg\r\n'
  await violates(
    t,
    { heard: ([name], socket) => (name === 'ECHO' ? bytewise(socket, malformed) : null) },
    /no line end behind a bulk at byte \d+/,
  )
})

/** Each byte in a packet of its own. Replies are under way when this returns. */
function bytewise(socket: Socket, text: string): null {
  void (async () => {
    for (const byte of text) {
      socket.write(byte)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  return null
}

test('4.3 row 89: a reply that comes a byte at a time, and never ends, is no progress', async (t) => {
  await stalls(
    t,
    {
      heard: ([name], socket) => {
        if (name !== 'ECHO') return null
        socket.write('+OK\r\n+')
        const timer = setInterval(() => socket.write('x'), 20)
        socket.once('close', () => clearInterval(timer))
        return null
      },
    },
    1,
  )
})

const MALFORMED: [row: string, bytes: Bytes, text: RegExp][] = [
  ['row 90: a bare line feed', '+OK\n', /line feed without carriage return at byte 8: \+OK\\n/],
  ['row 90: a carriage return within a line', '+O\rK\r\n', /carriage return within a line/],
  ['row 90: no line end behind a bulk', '$2\r\nabcd', /no line end behind a bulk/],
  ['row 90: half a line end behind a bulk', '$2\r\nab\rx', /no line end behind a bulk/],
  ['row 90: an empty line', '\r\n', /unknown type of reply at byte 5/],
  ['row 91: an endless status', `+${'x'.repeat(70_000)}\r\n`, /line too long/],
  ['row 91: an endless error', `-${'x'.repeat(70_000)}\r\n`, /line too long/],
  ['row 91: an endless integer', `:${'1'.repeat(70_000)}\r\n`, /line too long/],
  ['row 92: no integer', ':\r\n', /not a 64-bit integer/],
  ['row 92: a fraction', ':1.5\r\n', /not a 64-bit integer/],
  ['row 92: an integer above 64 bits', ':9223372036854775808\r\n', /not a 64-bit integer/],
  ['row 92: an integer below 64 bits', ':-9223372036854775809\r\n', /not a 64-bit integer/],
  ['row 92: an integer with a blank', ': 1\r\n', /not a 64-bit integer/],
  ['row 94: a negative bulk', '$-2\r\n', /not a length/],
  ['row 94: a negative array', '*-2\r\n', /not a length/],
  ['row 94: a length with a sign', '$+5\r\nabcde\r\n', /not a length/],
  ['row 94: a length with a leading zero', '$05\r\nabcde\r\n', /not a length/],
  ['row 94: a length with a blank', '$ 5\r\nabcde\r\n', /not a length/],
  ['row 94: a length with a letter', '$5a\r\nabcde\r\n', /not a length/],
  ['row 95: a bulk of 2 GiB', '$2147483648\r\n', /length above the limit/],
  ['row 95: a bulk of 8 EiB', '$9223372036854775807\r\n', /length above the limit/],
  ['row 95: an array of 2^31', '*2147483648\r\n', /length above the limit/],
  ['row 97: 129 levels', `${'*1\r\n'.repeat(129)}:1\r\n`, /nested too deeply/],
  ['row 97: 10,000 levels', `${'*1\r\n'.repeat(10_000)}:1\r\n`, /nested too deeply/],
  ['row 102: a streamed string', '$?\r\n;4\r\nabcd\r\n;0\r\n', /streamed replies are not supported/],
  ['row 102: a streamed array', '*?\r\n:1\r\n.\r\n', /streamed replies are not supported/],
  ['row 102: a chunk', ';4\r\nabcd\r\n', /unknown type of reply/],
  ['row 103: no boolean', '#x\r\n', /not a boolean/],
  ['row 103: no double', ',abc\r\n', /not a double/],
  ['row 103: no big number', '(12x\r\n', /not a big number/],
  ['row 103: a verbatim string without a format', '=1\r\nx\r\n', /verbatim string without format/],
  ['row 103: a null with a text', '_x\r\n', /not a null/],
  ['row 81: HTTP in mid-stream', 'HTTP/1.1 502 Bad Gateway\r\n\r\n', /HTTP\/1\.1 502.*HTTP server/],
  ['row 81: a TLS alert in mid-stream', Buffer.from('15030300020128', 'hex'), /TLS port/],
]

for (const [row, bytes, text] of MALFORMED) {
  test(`4.3 ${row}`, (t) => violates(t, { replies: ['+OK\r\n', bytes] }, text))
}

test('4.3 row 92: integers are all of 64 bits, with either sign', async (t) => {
  await counts(t, [':+1\r\n', ':-0\r\n', ':9223372036854775807\r\n'], [1, 0, 9223372036854775807n])
  await counts(t, [':-9223372036854775808\r\n'], [-9223372036854775808n])
})

test('4.3 row 93: there are three nulls', (t) => counts(t, ['$-1\r\n', '*-1\r\n', '_\r\n'], [null, null, null]))

// What it costs in memory: long/protocol.spec.ts.

test('4.3 row 96: an array that was announced and never comes is no progress', (t) =>
  stalls(t, { replies: ['*2147483647\r\n', null, null], fence: () => null }))

test('4.3 row 96: nor is a bulk, behind a reply', (t) =>
  stalls(t, { replies: ['+OK\r\n', '$536870912\r\n', null], fence: () => null }, 1))

test('4.3 row 97: 128 levels are read', async (t) => {
  let value: Reply = 7
  for (let i = 0; i < 128; i++) value = [value]
  await counts(t, [`${'*1\r\n'.repeat(128)}:7\r\n`], [value])
})

test('4.3 row 98: empty aggregates are a reply each, within others too', async (t) => {
  await counts(t, ['*0\r\n', '%0\r\n', '~0\r\n'], [[], [], []])
  await counts(t, ['*3\r\n*0\r\n*-1\r\n*1\r\n%0\r\n', '$0\r\n\r\n'], [[[], null, [[]]], ''])
})

test('4.3 row 99: replies of RESP3 are a reply each, in the shapes of RESP2', async (t) => {
  await counts(t, ['%1\r\n+a\r\n:1\r\n', '~2\r\n:1\r\n:2\r\n', '#t\r\n'], [['a', 1], [1, 2], 1])
  await counts(
    t,
    [',1.5\r\n', '(123456789012345678901\r\n', '=8\r\ntxt:abcd\r\n'],
    ['1.5', '123456789012345678901', 'abcd'],
  )
  const outcome = await failures(t, '!9\r\nERR x\r\ny!\r\n')
  t.like(outcome.failures[0], { code: 'ERR', message: 'ERR x\\r\\ny!' })
})

test('4.3 row 100: an attribute is part of the reply behind it', async (t) => {
  const attribute = '|1\r\n+ttl\r\n:3600\r\n'
  await counts(t, [`${attribute}:1\r\n`, `${attribute}*1\r\n${attribute}$1\r\na\r\n`], [1, ['a']])
  await counts(t, [], [], { fence: (nonce) => attribute + resp.bulk(nonce) })
})

test('4.3 row 101: pushes are no replies, wherever they come', async (t) => {
  const push = '>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n'
  await counts(t, [`${push}:1\r\n`, `${push}${push}+a\r\n${push}`], [1, 'a'], {
    fence: (nonce) => push + resp.bulk(nonce) + push,
  })
  await violates(t, { replies: [`*1\r\n${push}`] }, /push within a reply/)
})

test('4.3 row 104: a reply too many', async (t) => {
  await violates(t, { replies: ['+OK\r\n+OK\r\n'] }, /expected \$32.*, got \+OK/)
  await violates(t, { replies: ['+OK\r\n', '+OK\r\n', '$1\r\na\r\n$1\r\na\r\n'] }, /expected \$32.*, got \$1/)
})

for (const [what, said, text] of [
  ['a reply', '+OK\r\n', /a reply that nothing asked for: \+OK/],
  ['an error', '-ERR who are you\r\n', /the server says: ERR who are you/],
  ['garbage', '\x1b[2J', /unknown type of reply.*\\x1b\[2J/],
] as const) {
  test(`4.3 row 104: ${what} while nothing is outstanding ends the connection, and nothing else`, async (t) => {
    const server = await peerFor(t, {})
    const { bulk, result } = load(t, server.port, {})
    const heard: Error[] = []
    bulk.on('error', (error) => heard.push(error))
    t.is((await resolution(t, result)).succeeded, 3)
    for (const socket of server.sockets) socket.write(said)
    await until(() => heard.length > 0)
    t.is((heard[0] as { code?: string }).code, 'RESPIPE_PROTOCOL')
    t.regex(heard[0]!.message, text)
    await startsAfresh(t, bulk, server)
    const summary = await bulk.close()
    addsUp(t, summary)
    t.is(summary.succeeded, 5)
  })
}

for (const [what, fence, text] of [
  ['too short', (nonce) => resp.bulk(nonce.slice(1)), /expected \$32.*, got \$31/],
  ['too long', (nonce) => resp.bulk(`${nonce}0`), /expected \$32.*, got \$33/],
  ['in upper case', (nonce) => resp.bulk(nonce.replace(/[0-9]/g, 'a').toUpperCase()), /expected \$32/],
  ['binary', () => Buffer.from(`$32\r\n${'\xff'.repeat(32)}\r\n`, 'latin1'), /got \\xff|got \$32\\r\\n\\xff/],
  ['a status', (nonce) => resp.simple(nonce), /expected \$32.*, got \+/],
  ['an old one', () => resp.bulk('0'.repeat(32)), /expected \$32/],
  ['null', () => resp.nil, /expected \$32.*, got \$-1/],
  ['refused', () => resp.error('ERR no'), /fence was answered by an error: ERR no/],
] as [string, (nonce: string) => Bytes, RegExp][]) {
  test(`4.3 row 105: a nonce that is ${what}`, (t) => violates(t, { fence }, text))
}

test('4.3 row 106: an error with a smuggled line is noticed at the nonce', async (t) => {
  await violates(t, { replies: ['-ERR a\r\n+OK\r\n'] }, /expected \$32.*, got \+OK/)
  await violates(t, { replies: ['-ERR a\r\n-ERR b\r\n'] }, /expected|answered by an error/)
})

test('4.3 row 107: error texts are cut and made fit for a terminal', async (t) => {
  const long = await failures(t, `-ERR ${'x'.repeat(60_000)}\r\n`)
  t.is(long.failures[0]?.code, 'ERR')
  t.true(long.failures[0]!.message.length <= 1_024)
  const longer = await failures(t, `!1000004\r\nERR ${'x'.repeat(1_000_000)}\r\n`)
  t.true(longer.failures[0]!.message.length <= 1_024)
  await violates(t, { replies: [`-ERR ${'x'.repeat(1_000_000)}\r\n`] }, /line too long/)

  const steering = await failures(t, '-ERR \x1b[2J\x1b]0;title\x07 \x00\x7f\r\n')
  t.is(steering.failures[0]?.message, 'ERR \\x1b[2J\\x1b]0;title\\x07 \\x00\\x7f')
  const coded = await failures(t, '-\x1b[31mERR text\r\n')
  t.deepEqual(coded.errors, { '\\x1b[31mERR': 1 })
  const blank = await failures(t, `-${'y'.repeat(60_000)}\r\n`)
  t.true(Object.keys(blank.errors)[0]!.length <= 64)
  await failures(t, '-\r\n')
})

test('4.3 row 107: error codes with names of Object.prototype are counted like others', async (t) => {
  for (const code of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    const { errors, failures: details } = await failures(t, `-${code} text\r\n`)
    t.deepEqual(Object.entries(errors), [[code, 1]])
    t.is(details[0]?.code, code)
  }
})

for (const said of [
  'MOVED __proto__ 127.0.0.1:1',
  'MOVED 99999 127.0.0.1:1',
  'MOVED -1 127.0.0.1:1',
  'MOVED 1 127.0.0.1',
  'MOVED 1 :7000',
  'MOVED 1 127.0.0.1:0',
  'MOVED 1 127.0.0.1:65536',
  'MOVED 1 [::1]:7000',
  'MOVED 1 ',
  'MOVED',
  'ASK 1 127.0.0.1:1',
]) {
  test(`4.3 rows 108 and 109: without a cluster, nothing is redirected: ${said}`, async (t) => {
    const outcome = await failures(t, `-${said}\r\n`)
    const code = said.split(' ')[0]!
    t.deepEqual(outcome.errors, { [code]: 1 })
    t.is(outcome.failures[0]?.message, said)
  })
}

for (const said of ['TRYAGAIN later', 'CLUSTERDOWN no slot']) {
  const code = said.split(' ')[0]!

  test(`4.3 row 109: ${code} is waited for: the command is sent again, and its reply stands in its place`, async (t) => {
    const server = await peerFor(t, { replies: ['+first\r\n', `-${said}\r\n`, '+third\r\n', '+second\r\n'] })
    const { bulk, result } = load(t, server.port, {})
    const outcome = await resolution(t, result)
    t.deepEqual(outcome.replies, ['first', 'second', 'third'])
    t.is(outcome.succeeded, 3)
    t.deepEqual(
      server.commands.filter(([name]) => name === 'GET').map(([, key]) => key),
      ['key:0', 'key:1', 'key:2', 'key:1'],
    )
    t.is(server.connections, 1)
    // Of a lost connection only.
    t.is(bulk.stats().resent, 0)
  })

  test(`4.3 row 109: ${code} is told where there are no repeats`, async (t) => {
    const outcome = await failures(t, `-${said}\r\n`, { retry: { attempts: 0 } })
    t.deepEqual(outcome.errors, { [code]: 1 })
    t.is(outcome.failures[0]?.message, said)
  })
}

for (const [what, exec, text] of [
  ['fewer', '*2\r\n+OK\r\n+OK\r\n', /EXEC of 3 commands was answered by \*2/],
  ['more', `*4\r\n${'+OK\r\n'.repeat(4)}`, /EXEC of 3 commands was answered by \*4/],
  ['none', '*0\r\n', /EXEC of 3 commands was answered by \*0/],
  ['null', '*-1\r\n', /EXEC of 3 commands was answered by \*-1/],
  ['a status', '+OK\r\n', /EXEC of 3 commands was answered by \+OK/],
  ['one reply less than announced', '*3\r\n+OK\r\n+OK\r\n', /the fence was answered before all commands were/],
] as const) {
  test(`4.3 row 111: EXEC answers ${what}`, (t) => violates(t, { exec }, text, { transaction: true }))
}

test('4.3 row 112: QUEUED outside of a transaction is noticed at the nonce', async (t) => {
  await violates(t, { heard: () => '+QUEUED\r\n' }, /expected \$32.*, got \+QUEUED/)
})

test('4.3 row 112: EXECABORT is an error at its index, in a transaction of all', async (t) => {
  const outcome = await failures(t, '-EXECABORT Transaction discarded\r\n')
  t.deepEqual(outcome.errors, { EXECABORT: 1 })

  const server = await peerFor(t, { replies: ['+QUEUED\r\n', '-ERR no\r\n', '+QUEUED\r\n'], exec: '-EXECABORT no\r\n' })
  const refused = await resolution(t, load(t, server.port, { transaction: true }).result)
  t.deepEqual(refused.errors, { ERR: 1, EXECABORT: 2 })
  t.is(refused.failures.find(({ code }) => code === 'ERR')?.index, 1)
})

test('4.3 row 112: OK in place of QUEUED', async (t) => {
  await violates(t, { replies: ['+OK\r\n'] }, /expected \+QUEUED.*, got \+OK/, { transaction: true })
})

for (const [what, said, answered] of [
  ['before any reply', '', 0],
  ['between CR and LF', '+OK\r\n+OK\r', 1],
  ['in the middle of a bulk', '+OK\r\n$10\r\nabc', 1],
  ['in the middle of an array', '*2\r\n+OK\r\n', 0],
  ['in the middle of the nonce', '+OK\r\n+OK\r\n+OK\r\n$32\r\n', 3],
  ['before the nonce', '+OK\r\n+OK\r\n+OK\r\n', 3],
] as const) {
  const heard: Peer['heard'] = ([name], socket) => {
    if (name === 'ECHO') socket.end(said)
    return null
  }

  test(`4.3 row 113: FIN ${what}: what was not answered is asked again`, async (t) => {
    const server = await peerFor(t, { heard })
    const { bulk, result } = load(t, server.port, {})
    const outcome = await resolution(t, result)
    t.is(outcome.succeeded, COMMANDS)
    t.deepEqual(outcome.replies, ['OK', 'OK', 'OK'])
    const asked = server.commands.filter(([name]) => name === 'GET').map(([, key]) => key)
    t.deepEqual(asked, ['key:0', 'key:1', 'key:2', ...['key:0', 'key:1', 'key:2'].slice(answered)])
    t.is(bulk.stats().resent, COMMANDS - answered)
    await startsAfresh(t, bulk, server)
  })

  test(`4.3 row 113: FIN ${what}: what was not answered is unknown, where nothing is sent again`, async (t) => {
    const server = await peerFor(t, { heard })
    const { bulk, result } = load(t, server.port, { resend: 'none' })
    const outcome = await resolution(t, result)
    t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown], [answered, 0, COMMANDS - answered])
    t.is(outcome.replies?.length, COMMANDS)
    for (const [index, reply] of outcome.replies!.entries()) t.is(reply instanceof Error, index >= answered)
    await startsAfresh(t, bulk, server)
  })

  test(`4.3 row 113: FIN ${what}, without another attempt: lost`, async (t) => {
    const server = await peerFor(t, { heard })
    const { bulk, result } = load(t, server.port, { retry: { attempts: 0 } })
    const error = await rejection(t, result, 'RESPIPE_CONNECTION_LOST')
    t.regex(reasonOf(error), /lost: the server closed it$/)
    t.deepEqual([error.outcome.succeeded, error.outcome.unknown], [answered, COMMANDS - answered])
    await startsAfresh(t, bulk, server)
  })
}

test('4.3 row 114: RST behind the last reply leaves nothing in doubt', async (t) => {
  const server = await peerFor(t, { fence: () => null })
  const { bulk, result } = load(t, server.port, {})
  await until(() => bulk.stats().succeeded === 3)
  for (const socket of server.sockets) socket.resetAndDestroy()
  t.is((await resolution(t, result)).succeeded, 3)
  await startsAfresh(t, bulk, server)
})

for (const resend of ['idempotent', 'none'] as const) {
  test(`4.3 row 114: RST while we write, resend: '${resend}'`, async (t) => {
    const server = await peerFor(t, {
      heard: (_, socket) => {
        socket.resetAndDestroy()
        return null
      },
    })
    const bulk = bulkFor(t, { port: server.port, maxInFlightBytes: 100_000, resend })
    for (let i = 0; i < 1_000; i++) bulk.set(`key:${i}`, 'x'.repeat(1_000))
    const outcome = await resolution(t, bulk.exec())
    t.is(outcome.failed, 0)
    const { resent } = bulk.stats()
    const doubtful = resend === 'none' ? outcome.unknown : resent
    t.true(doubtful > 0 && doubtful < 300, inspect({ ...outcome, resent }))
    t.is(resend === 'none' ? resent : outcome.unknown, 0)
    t.is(server.connections, 2)
  })
}

test('4.3 row 115: a zombie takes everything and answers nothing', async (t) => {
  await stalls(t, { heard: () => null })
})

test('4.3 row 115: a zombie does not hold up what comes after it', async (t) => {
  const server = await peerFor(t, { heard: () => null })
  // Nothing else is waited for.
  const { result } = load(t, server.port, { stallTimeoutMs: 200, resend: 'none' })
  const outcome = await resolution(t, result)
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown], [0, 0, 3])
})

test('4.3 row 115: what a zombie was asked is asked again, once its connection is ended for certain', async (t) => {
  const server = await peerFor(t, { heard: () => null })
  const { bulk, result } = load(t, server.port, { stallTimeoutMs: STALL })
  const outcome = await resolution(t, result)
  t.deepEqual([outcome.succeeded, outcome.failed, outcome.unknown], [3, 0, 0])
  t.is(bulk.stats().resent, 3)
  const killed = server.commands.findIndex(([name, word]) => name === 'CLIENT' && word === 'KILL')
  t.deepEqual(server.commands[killed]?.slice(0, 4), ['CLIENT', 'KILL', 'ID', '1'])
  t.is(server.commands.filter(([name], at) => name === 'GET' && at > killed).length, 3)
})

/** A server that stops reading in the middle of the large command, and says something. */
function interrupting(t: ExecutionContext, say: (socket: Socket) => void) {
  let isHeard = false
  return scriptedFor(t, (_, socket) => {
    if (isHeard) return undefined
    isHeard = true
    socket.prependListener('data', () => {
      // No login has as much.
      if (socket.bytesRead < 50_000 || socket.isPaused()) return
      socket.pause()
      say(socket)
    })
    return undefined
  })
}

/** More than the system takes for a peer that does not read. */
const LARGE = Buffer.alloc(16 << 20)

test('4.3 row 117: a reply to what was not wholly written', async (t) => {
  const server = await interrupting(t, (socket) => socket.write('+OK\r\n'))
  const bulk = bulkFor(t, { port: server.port })
  const error = await rejection(t, bulk.set('large', LARGE).exec(), 'RESPIPE_PROTOCOL')
  t.regex(error.message, /a reply to what was not written yet: \+OK/)
  t.is(error.outcome.succeeded, 0)
  await startsAfresh(t, bulk, server)
})

test('4.3 row 117: an error in the middle of a command may say that the server cannot read it', async (t) => {
  const server = await interrupting(t, (socket) => socket.end('-ERR Protocol error: invalid bulk length\r\n'))
  const bulk = bulkFor(t, { port: server.port })
  const result = await resolution(t, bulk.set('large', LARGE).exec())
  t.like(result.failures, [{ command: 'SET', code: 'ERR', message: 'ERR Protocol error: invalid bulk length' }])
  await startsAfresh(t, bulk, server)
})
