// The command as a process, against real servers: what arrives, and how it ends.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import test, { type ExecutionContext } from './helpers/test.ts'
import type { Redis } from 'ioredis'
import { folderWith } from './helpers/cli.ts'
import { pasted, respipe, start } from './helpers/command.ts'
import { proxyFor, serverFor, watchedFor } from './helpers/loads.ts'
import { type ServerOptions, startServer, supportsTls } from './helpers/server.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()
const { url } = server

const CSV = 'id,name\n1,Ada\n2,"Zürich, ""old"""\n'
const TSV = CSV.replaceAll(/^(id|1|2),/gm, '$1\t')
const NDJSON = '{"id":1,"name":"Ada"}\n{"id":2,"name":"Zürich, \\"old\\""}\n'

for (const [name, content] of [
  ['users.csv', CSV],
  ['users.csv.gz', gzipSync(CSV)],
  ['users.csv.zst', storedZstd(CSV)],
  ['users.tsv', TSV],
  ['users.ndjson', NDJSON],
] as const) {
  test(`the rows of ${name} arrive`, async (t) => {
    const file = join(folderWith(t, { [name]: Buffer.from(content) }), name)
    const prefix = `rows:${name}`
    const ended = await respipe(t, ['import', file, `HSET ${prefix}:{id} {*}`, `SADD ${prefix} {id}`, '-u', url])
    t.deepEqual({ ...ended, stdout: '' }, { code: 0, stdout: '', stderr: '' })
    t.regex(ended.stdout, /^2 rows of .*\n {2}arrived {2}4 commands of 4, /)
    t.deepEqual(await client.hgetall(`${prefix}:2`), { id: '2', name: 'Zürich, "old"' })
    t.is(await client.scard(prefix), 2)
  })
}

test('standard input is a file too, also packed', async (t) => {
  const flags = ['--format', 'csv', '--no-header', '--delimiter', ';', '--url', url]
  for (const [key, input] of [
    ['plain', 'a;1\nb;2'],
    ['packed', gzipSync('a;1\nb;2')],
  ] as const) {
    const { code, stdout } = await respipe(t, ['import', '-', `HSET stdin:${key} {0} {1}`, ...flags], { input })
    t.is(code, 0)
    t.regex(stdout, /^2 rows of standard input in /)
    t.deepEqual(await client.hgetall(`stdin:${key}`), { a: '1', b: '2' })
  }
})

test('files of commands need no template, and their transactions are such', async (t) => {
  const text = 'SET text:a "1\\n2"\nMULTI\nINCR text:b\nINCR text:b\nEXEC\n'
  const file = join(folderWith(t, { 'all.redis': text }), 'all.redis')
  t.is((await respipe(t, ['import', file, '-u', url])).code, 0)
  t.deepEqual(await client.mget('text:a', 'text:b'), ['1\n2', '2'])
})

test('what is refused is told by line, in files and in JSON, and makes it exit code 1', async (t) => {
  await client.set('failing:2', 'a string')
  const lines = 'id,name\n1,"two\nlines"\n2,b\n3\n4,d\n'
  const folder = folderWith(t, { 'users.csv': lines })
  const [file, failures] = [join(folder, 'users.csv'), join(folder, 'failures.ndjson')]
  const args = ['import', file, 'HSET failing:{id} {*}', '-u', url, '--failures', failures]

  const { code, stdout, stderr } = await respipe(t, args)
  t.is(code, 1)
  const wrong = 'WRONGTYPE Operation against a key holding the wrong kind of value'
  t.deepEqual(stderr.trimEnd().split('\n').toSorted(), [
    `${file}:4: HSET failing:2: ${wrong}`,
    `${file}:5: HSET: 1 field for 2 columns`,
  ])
  t.regex(stdout, /\n {2}arrived {2}2 commands of 4, .*\n {2}failed {3}2 commands: /)
  const written = readFileSync(failures, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const refused = { row: 1, line: 4, command: 'HSET', key: 'failing:2', code: 'WRONGTYPE', message: wrong }
  t.deepEqual(
    written.find(({ row }) => row === 1),
    refused,
  )
  t.like(
    written.find(({ row }) => row === 2),
    { line: 5, command: 'HSET', code: 'RESPIPE_INVALID_ARGUMENT' },
  )

  const json = await respipe(t, [...args, '--json'])
  t.is(json.stderr, '')
  const last = JSON.parse(json.stdout.trimEnd().split('\n').at(-1) ?? '')
  t.like(last, { event: 'summary', rows: 4, commands: 4, succeeded: 2, failed: 2, unknown: 0, exitCode: 1 })
  t.deepEqual(
    last.failures.find(({ row }: { row: number }) => row === 1),
    refused,
  )
})

test('--max-failed gives up', async (t) => {
  const input = `id\n${'"\n'.repeat(3)}`.replaceAll('"', '1,2')
  const { code, stderr } = await respipe(
    t,
    ['import', '-', 'SET {id} 1', '--format', 'csv', '-u', url, '--max-failed', '2'],
    { input },
  )
  t.is(code, 1)
  t.true(stderr.endsWith('respipe: 2 commands have failed, and --max-failed is 2\n'), stderr)
})

test('check shows what import would send, and needs no server', async (t) => {
  const file = join(folderWith(t, { 'users.csv': `${CSV}3\n` }), 'users.csv')
  const ended = await respipe(t, ['check', file, 'HSET user:{id} {*}', '-p', '1'])
  t.deepEqual(ended, {
    code: 1,
    stdout: `"HSET" "user:1" "id" "1" "name" "Ada"
"HSET" "user:2" "id" "2" "name" "Zürich, \\"old\\""

${file}:4: 1 field for 2 columns
3 rows, 1 is broken; 2 commands, 132 B
`,
    stderr: '',
  })
})

for (const [name, args, message] of [
  ['a file that is not there', ['no-such.csv', 'SET {id} 1'], 'cannot read no-such.csv: there is no such file'],
  [
    'a column that is not there',
    ['-', 'SET {no} 1', '--format', 'csv'],
    'standard input: there is no column no, only id, name',
  ],
  ['a mistake in the template', ['-', 'SET {id', '--format', 'csv'], 'template, column 5: this brace is never closed'],
] as const) {
  test(`exit code 2: ${name}`, async (t) => {
    const { code, stdout, stderr } = await respipe(t, ['import', ...args, '-u', url], { input: CSV })
    t.deepEqual({ code, stdout }, { code: 2, stdout: '' })
    t.true(stderr.startsWith(`respipe: ${message}`), stderr)
  })
}

test('a login by REDISCLI_AUTH, by flag and by url', async (t) => {
  const closed = await serverFor(t, '--requirepass', 'hunter2')
  const run = (args: string[], env = {}) =>
    respipe(t, ['import', '-', 'SET {id} {name}', '--format', 'csv', ...args], { env, input: CSV })
  const port = ['-p', String(closed.port)]
  const within = closed.url.replace('//', '//:hunter2@')
  for (const [args, env, code] of [
    [port, {}, 3],
    [[...port, '-a', 'wrong'], {}, 3],
    [[...port, '-a', 'hunter2'], {}, 0],
    [port, { REDISCLI_AUTH: 'hunter2' }, 0],
    [[], { REDIS_URL: within }, 0],
    [['-u', within, '--no-auth-warning'], {}, 0],
    [port, { REDIS_URL: within }, 3],
  ] as const) {
    const ended = await run([...args], env)
    t.is(ended.code, code, ended.stderr)
    const isMissing = code === 3 && !args.some((arg) => arg === '-a')
    t.is(ended.stderr.endsWith('\nThe server wants a password: REDISCLI_AUTH, --askpass or -a gives it.\n'), isMissing)
    t.false(`${ended.stdout}${ended.stderr}`.includes('hunter2'))
  }
})

test('a unix socket and a database', async (t) => {
  const { server: local, client: witness } = await watchedFor(t, { unixSocket: true })
  const args = ['import', '-', 'SET {id} {name}', '--format', 'csv', '-s', local.path ?? '', '-n', '3']
  t.is((await respipe(t, args, { input: CSV })).code, 0)
  t.is(await witness.dbsize(), 0)
  await witness.select(3)
  t.is(await witness.get('1'), 'Ada')
})

test('TLS, for which the certificate must be trusted', async (t) => {
  if (!(await supportsTls())) return t.pass('the server program has none')
  const secure = await startServer({ tls: { clientCertificates: 'required' } })
  t.teardown(() => secure.stop())
  const { ca, client: own } = secure.certificates ?? t.fail()
  const args = ['import', '-', 'SET {id} {name}', '--format', 'csv', '-p', String(secure.port), '--tls']
  const files = ['--cert', own.certFile, '--key', own.keyFile]
  t.is((await respipe(t, [...args, ...files, '--cacert', ca.certFile], { input: CSV })).code, 0)
  const { code, stderr } = await respipe(t, [...args, ...files], { input: CSV })
  t.is(code, 3)
  t.regex(stderr, /^respipe: no TLS with 127\.0\.0\.1:\d+: /)
})

test('without a server it is exit code 3, with nothing done', async (t) => {
  // Below the ports that anybody but root can take.
  const args = ['import', '-', 'SET {id} 1', '--format', 'csv', '-p', '1', '--retry-attempts', '0']
  const { code, stdout, stderr } = await respipe(t, args, { input: CSV })
  t.is(code, 3)
  t.regex(stdout, /\n {2}arrived {2}0 commands of 2, .*\n {2}failed {3}2 commands: RESPIPE_CONNECT 2\n$/)
  t.regex(stderr, /^respipe: cannot connect to .*: connection refused: nothing listens there\n$/)
})

const ROWS = 20_000
const PAD = 'x'.repeat(100)
const ROWS_CSV = `id,pad\n${Array.from({ length: ROWS }, (_, id) => `${id},${PAD}\n`).join('')}`

/**
 * An LPUSH for each row, of which each must be there exactly once. A load gets 1 MiB ahead of its server at most, which is
 * a third of what is to be sent: while the server is held up, no load can come to its end.
 */
const PUSHES = ['LPUSH list {id}:{pad}', '--checkpoint', 'progress', '--max-buffered-bytes', '1MiB']
/** A server that a test holds up is not given up, however long that takes. */
const PATIENT = ['--stall-timeout-ms', '600000']

/** In the middle of the load, and of its file. */
const MIDDLE = { command: 'LPUSH', nth: 5_000 }

const STOPPING = 'respipe: stopping at the next fence; once more ends it at once\n'

async function areThereOnce(t: ExecutionContext, observer: Redis, key = 'list') {
  const list = await observer.lrange(key, 0, -1)
  t.deepEqual([list.length, new Set(list).size], [ROWS, ROWS])
}

/** A server behind a proxy, and the arguments for a load of all rows into it, from a file in a folder. */
async function loadFor(t: ExecutionContext, name: string, options?: ServerOptions) {
  const { server: target, client: observer } = await watchedFor(t, options)
  const proxy = await proxyFor(t, target)
  const folder = folderWith(t, { [name]: name.endsWith('.gz') ? gzipSync(ROWS_CSV) : ROWS_CSV })
  const args = ['import', join(folder, name), ...PUSHES, ...PATIENT, '-u', proxy.url]
  return { target, proxy, observer, folder, args }
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} ends it at a fence, and the printed line goes on there`, async (t) => {
    const { proxy, observer, folder, args } = await loadFor(t, "row's.csv")
    const fault = proxy.at(MIDDLE, 'stall')
    const { child, ended, says } = start(t, [...args, '--progress-interval-ms', '10'])
    await fault.happened
    child.kill(signal)
    // The load is stopped in the same turn of the event loop that says so: a later turn shows progress again.
    await says(new RegExp(`${STOPPING}\\d.*\n`))
    await proxy.heal()
    const { code: exitCode, stdout, stderr } = await ended
    t.is(exitCode, code, stderr)
    const held = await observer.llen('list')
    t.true(held < ROWS)
    t.true(stdout.includes(`\n  arrived  ${held.toLocaleString('en-US')} commands of `), stdout)

    const [, line = ''] = /\nTo go on where it ended:\n {2}(.*)\n$/.exec(stderr) ?? []
    t.true(line.startsWith('respipe import ') && line.endsWith(' --resume'), stderr)
    const again = await pasted(t, folder, line)
    t.is(again.code, 0, again.stderr)
    await areThereOnce(t, observer)
  })
}

test('a second Ctrl-C does not wait for the server', async (t) => {
  const { target, proxy, args } = await loadFor(t, 'rows.csv')
  const fault = proxy.at(MIDDLE, () => target.kill('SIGSTOP'))
  const { child, ended, says } = start(t, args)
  await fault.happened
  child.kill('SIGINT')
  await says(new RegExp(STOPPING))
  // A second signal within 100 ms counts as the same one, sent twice.
  await delay(200)
  t.is(child.exitCode, null)
  child.kill('SIGINT')
  const { code, stderr } = await ended
  t.deepEqual({ code, stderr }, { code: 130, stderr: STOPPING })
})

test('a server that dies and comes back loses nothing', async (t) => {
  const { target, proxy, observer, args } = await loadFor(t, 'rows.csv', {
    // What is answered is in the file: with the default, everysec, a slow disk delays that.
    args: ['--appendonly', 'yes', '--appendfsync', 'no'],
  })
  const fault = proxy.at(MIDDLE, async (link) => {
    await target.kill('SIGKILL')
    await target.restart()
    link.cut('reset')
  })
  const { code, stdout, stderr } = await respipe(t, args)
  await fault.happened
  t.is(code, 0, stderr)
  t.regex(stderr, /^(respipe: connected again, to 127\.0\.0\.1:\d+ \(lost\)\n)+$/)
  t.regex(stdout, /\n {2}reconnected {2}\d+ times?\n/)
  await areThereOnce(t, observer)
})

test('one that stays away is exit code 3, with the line to go on', async (t) => {
  const { target, proxy, args } = await loadFor(t, 'rows.csv')
  const fault = proxy.at(MIDDLE, () => target.kill('SIGKILL'))
  const { code, stderr } = await respipe(t, [...args, '--retry-attempts', '1', '--retry-max-delay-ms', '50'])
  await fault.happened
  t.is(code, 3)
  t.regex(stderr, /^respipe: .*\nTo go on where it ended:\n {2}respipe import .* --resume\n$/)
})

test('killed four times and run again with --resume, every row is there exactly once', async (t) => {
  const { proxy, observer, args } = await loadFor(t, 'rows.csv.gz')
  for (const [at, position] of [
    { command: 'LPUSH', nth: 1 },
    { command: 'LPUSH', nth: 4_321 },
    { replyTo: 'LPUSH', nth: 5_000 },
    { replyTo: 'EXEC', nth: 3 },
  ].entries()) {
    const running: { kill?: () => Promise<unknown> } = {}
    const fault = proxy.at(position, () => running.kill?.())
    const { child, ended } = start(t, [...args, ...(at === 0 ? [] : ['--resume'])])
    running.kill = () => {
      child.kill('SIGKILL')
      return ended
    }
    t.is((await ended).code, null)
    await fault.happened
  }
  const { code, stderr } = await respipe(t, [...args, '--resume'])
  t.is(code, 0, stderr)
  await areThereOnce(t, observer)
})

test('whoever reads the output may have enough of it: the load goes on', async (t) => {
  const { proxy, observer, args } = await loadFor(t, 'rows.csv')
  const fault = proxy.at(MIDDLE, 'stall')
  const { child, ended } = start(t, [...args, '--json', '--progress-interval-ms', '10'])
  const { stdout, stderr } = child
  if (stdout === null || stderr === null) return t.fail()
  const shown = once(stdout, 'data')
  await fault.happened
  await shown
  for (const stream of [stdout, stderr]) {
    stream.destroy()
    if (!stream.closed) await once(stream, 'close')
  }
  await proxy.heal()
  t.is((await ended).code, 0)
  await areThereOnce(t, observer)
})

test('a disk that is full ends the file of failures, and not the load', async (t) => {
  if (process.platform !== 'linux') return t.pass('only Linux has /dev/full')
  const input = 'id\n1,2\n3\n'
  const { code, stderr } = await respipe(
    t,
    ['import', '-', 'SET full:{id} 1', '--format', 'csv', '-u', url, '--failures', '/dev/full'],
    { input },
  )
  t.is(code, 1)
  t.regex(
    stderr,
    /^respipe: cannot write \/dev\/full: no space left on device; failures are only counted from here on\n/,
  )
  t.is(await client.get('full:3'), '1')
})

/** A frame of one block that is stored as it is (RFC 8878): Node.js 20 has no zstd. */
function storedZstd(text: string): Buffer {
  const content = Buffer.from(text)
  const block = Buffer.alloc(3)
  block.writeUIntLE((content.length << 3) | 1, 0, 3)
  // One segment, whose length is one byte.
  return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x20, content.length]), block, content])
}
