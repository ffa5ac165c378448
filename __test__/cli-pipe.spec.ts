// `respipe pipe` in place of `redis-cli --pipe`: the same last line for the same input, and what differs by design.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import test from './helpers/test.ts'
import { folderWith } from './helpers/cli.ts'
import { respipe, start } from './helpers/command.ts'
import { watchedFor } from './helpers/loads.ts'
import { until } from './helpers/outcomes.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const resp = (...words: (string | Buffer)[]) =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => [Buffer.from(`$${Buffer.byteLength(word)}\r\n`), Buffer.from(word), CRLF]),
  ])
const CRLF = Buffer.from('\r\n')
const all = (...parts: (string | Buffer)[]) => Buffer.concat(parts.map((part) => Buffer.from(part)))

/** Errors and replies as redis-cli 7.0.15 counts them; `benchmark/pipe.js` asks the one that is there. */
for (const [name, input, errors, replies, keys] of [
  ['nothing', '', 0, 0, {}],
  ['blank lines', '\n\r\n   \n', 0, 0, {}],
  ['RESP', all(resp('SET', 'a', '1'), resp('SET', 'b', '2')), 0, 2, { a: '1', b: '2' }],
  ['inline commands', "SET a 1\r\nset b \"x\\n'y\"\n\n  SET\tc ''\n", 0, 3, { a: '1', b: "x\n'y", c: '' }],
  ['both', all(resp('SET', 'a', '1'), 'APPEND a 2\n', resp('APPEND', 'a', '3'), 'APPEND a 4'), 0, 4, { a: '1234' }],
  ['a last line without its end', 'SET a 1\nSET b 2', 0, 2, { a: '1', b: '2' }],
  ['a last command without its end', resp('SET', 'a', '1').subarray(0, -2), 0, 1, { a: '1' }],
  [
    'values that look like the protocol',
    resp('SET', 'a', '\r\n*1\r\n$4\r\nPING\r\n'),
    0,
    1,
    { a: '\r\n*1\r\n$4\r\nPING\r\n' },
  ],
  ['bytes of any kind', resp('SET', 'a', Buffer.from([0, 255, 13, 10])), 0, 1, { a: Buffer.from([0, 255, 13, 10]) }],
  ['errors in between', 'SET a 1\nLPUSH a x\nNOSUCH\nSET b\nSET c 3\n', 3, 5, { a: '1', c: '3' }],
  ['replies of many kinds', 'PING\nSADD s a b\nSMEMBERS s\nGET s\nCOMMAND DOCS\nTIME\n', 1, 6, {}],
  [
    'transactions',
    all(
      resp('SELECT', '0'),
      resp('MULTI'),
      resp('INCR', 'a'),
      resp('INCR', 'a'),
      resp('EXEC'),
      'MULTI\nSET b 1\nDISCARD\n',
    ),
    0,
    8,
    { a: '2', b: null },
  ],
  ['a transaction that is not queued', 'MULTI\nSET a\nSET b 1\nEXEC\nSET c 1\n', 2, 5, { b: null, c: '1' }],
  ['EXEC alone', 'EXEC\nSET a 1\n', 1, 2, { a: '1' }],
  ['many', 'INCR a\n'.repeat(50_000), 0, 50_000, { a: '50000' }],
] as [string, string | Buffer, number, number, Record<string, string | Buffer | null>][]) {
  test.serial(`the counts and the data of redis-cli: ${name}`, async (t) => {
    await client.flushall()
    const { code, stdout } = await respipe(t, ['pipe', '-u', server.url], { input })
    t.is(stdout.trimEnd().split('\n').at(-1), `errors: ${errors}, replies: ${replies}`)
    t.is(code, errors > 0 ? 1 : 0)
    for (const [key, value] of Object.entries(keys)) {
      t.deepEqual(await client.getBuffer(key), value === null ? null : Buffer.from(value), key)
    }
  })
}

for (const [name, input, stderr, errors, replies, code] of [
  [
    'what fails within a transaction counts',
    'MULTI\nSET a x\nINCR a\nEXEC\n',
    'standard input, row 2: INCR a: ERR value is not an integer or out of range\n',
    1,
    4,
    1,
  ],
  [
    'what would upset the replies is refused, and the rest goes on',
    'SET a 1\nMONITOR\nSET b 1\n',
    'standard input, row 1: MONITOR: MONITOR cannot go through a bulk pipeline: use redis-cli monitor, or a client of its own\n',
    1,
    3,
    1,
  ],
  [
    'another database ends it',
    'SET a 1\nSELECT 3\nSET b 1\n',
    'respipe: cannot read standard input: row 1, at byte 8: SELECT 3, but the pipeline writes to db 0: what follows belongs elsewhere (see --db)\n',
    1,
    2,
    2,
  ],
  [
    'half a transaction is not begun',
    'SET a 1\nMULTI\nSET b 1\n',
    'respipe: cannot read standard input: row 1, at byte 8: MULTI without EXEC: the commands behind it are not done\n',
    0,
    1,
    2,
  ],
  [
    'half a command is not sent',
    all('SET a 1\n', resp('SET', 'b', '123').subarray(0, -4)),
    'respipe: cannot read standard input: row 1, at byte 8: the file ends within a command\n',
    0,
    1,
    2,
  ],
  [
    'a note of the time in an append-only file is passed over',
    all('#TS:1628217470\r\n', resp('SET', 'a', '1')),
    '',
    0,
    2,
    0,
  ],
] as [string, string | Buffer, string, number, number, number][]) {
  test.serial(`by design: ${name}`, async (t) => {
    await client.flushall()
    const ended = await respipe(t, ['pipe', '-u', server.url], { input })
    t.deepEqual(
      { ...ended, stdout: ended.stdout.trimEnd().split('\n').at(-1) },
      { code, stderr, stdout: `errors: ${errors}, replies: ${replies}` },
    )
    t.is(await client.get('a'), name.startsWith('what fails') ? 'x' : '1')
    t.is(await client.exists('b'), input.includes('MONITOR') ? 1 : 0)
  })
}

test.serial('an append-only file, as a server has written it', async (t) => {
  // Without fsync: what is answered is in the file, while with the default, everysec, a slow disk delays that.
  const { server: origin, client: observer } = await watchedFor(t, {
    args: ['--appendonly', 'yes', '--appendfsync', 'no', '--enable-debug-command', 'yes'],
  })
  const commands = Array.from({ length: 2_000 }, (_, i) => [
    `SET s:${i} "v\\r\\n${i}" EX 10000`,
    `HSET h:${i % 50} f${i} ${i}`,
    `ZADD z ${i} m${i}`,
    ...(i % 10 === 0 ? ['MULTI', 'INCR c', `XADD x * a ${i}`, 'EXEC', 'ZPOPMIN z'] : []),
    ...(i % 7 === 0 ? [`EVAL "redis.call('set', KEYS[1], '1') return redis.call('incr', KEYS[1])" 1 e:${i}`] : []),
  ])
  t.is((await respipe(t, ['pipe', '-u', origin.url], { input: commands.flat().join('\n') })).code, 0)
  const digest = await observer.call('DEBUG', 'DIGEST')
  const copy = await watchedFor(t, { args: ['--enable-debug-command', 'yes'] })
  const file = join(origin.dir, 'appendonlydir', 'appendonly.aof.1.incr.aof')
  const { code, stderr } = await respipe(t, ['pipe', file, '-p', String(copy.port)])
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  t.is(await copy.client.call('DEBUG', 'DIGEST'), digest)
})

/** `long/cli.spec.ts` has a larger one, for which the default has to be raised. */
test.serial('a command larger than most, and packed', async (t) => {
  await client.flushall()
  const value = Buffer.alloc(2 * 1024 * 1024, '0123456789\r\n')
  const input = gzipSync(all(resp('SET', 'a', value), resp('STRLEN', 'a')), { level: 1 })
  const { code, stdout } = await respipe(t, ['pipe', '-u', server.url], { input })
  t.is(code, 0)
  t.true(stdout.endsWith('\nerrors: 0, replies: 2\n'))
  t.is(await client.strlen('a'), value.length)
  const { stderr } = await respipe(t, ['pipe', '-u', server.url, '--max-buffered-bytes', '1MiB'], { input })
  t.regex(stderr, /^respipe: .*: a command of more than --max-buffered-bytes \(1048576 bytes\)\n$/)
})

test.serial('--json, --failures and --checkpoint are for pipe too', async (t) => {
  await client.flushall()
  const folder = folderWith(t)
  const [file, failures] = [join(folder, 'a.resp'), join(folder, 'failures.ndjson')]
  writeFileSync(file, 'SET a 1\nLPUSH a x\nRPUSH list 1\n')
  const flags = ['--failures', failures, '--checkpoint', 'progress', '--json']
  const run = async (more: string[] = []) => {
    const { stdout } = await respipe(t, ['pipe', file, '-u', server.url, ...flags, ...more])
    return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
  }
  t.like(await run(), { rows: 3, succeeded: 2, failed: 1, errors: { WRONGTYPE: 1 }, exitCode: 1 })
  t.like(await run(['--resume']), { rows: 3, commands: 0, exitCode: 0 })
  t.is(await client.llen('list'), 1)
})

test.serial('what comes slowly arrives before more comes', async (t) => {
  await client.flushall()
  const { child, ended } = start(t, ['pipe', '-u', server.url], { input: 'pipe' })
  child.stdin?.write('SET a 1\nSET b')
  await until(async () => (await client.get('a')) === '1')
  t.is(await client.exists('b'), 0)
  child.stdin?.end(' 2\n')
  const { code, stdout } = await ended
  t.is(code, 0)
  t.true(stdout.endsWith('errors: 0, replies: 2\n'))
})
