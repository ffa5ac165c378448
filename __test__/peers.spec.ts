// Whom a pipeline finds at the other end, and what it says where that is nobody to load data into.
// Rows: 4.2 and 4.3 are tables of bad inputs, "fault" the matrix 3.2.
import test, { type ExecutionContext } from './helpers/test.ts'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { findRedisServer } from '../scripts/setup.js'
import type { BulkPipelineOptions } from '../index.js'
import { proxyFor, serverFor, serverWith } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { resp, scriptedFor } from './helpers/scripted.ts'
import { supportsTls } from './helpers/server.ts'

const testTls = (await supportsTls()) ? test : test.skip

const PASSWORD = "hunter2-ä'pass"
const ONCE = { firstConnect: 0 }

async function adminOf(t: ExecutionContext, options: { port: number; password?: string }) {
  const client = new Redis({ ...options, lazyConnect: true, retryStrategy: null, connectTimeout: 600_000 })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  await client.connect()
  return client
}

/** Loads two commands, and fails as said: nothing was written, the server is named, the password is not. */
async function fails(t: ExecutionContext, options: BulkPipelineOptions, code: string, text: RegExp) {
  // Where there is one attempt alone, it is not ended by a busy machine.
  const bulk = bulkFor(t, { retry: ONCE, connectTimeoutMs: 600_000, ...options })
  const heard: Error[] = []
  bulk.on('error', (error) => heard.push(error))
  const error = await rejection(t, bulk.set('key', 'value').incr('counter').exec(), code)
  t.regex(error.message, text)
  t.true(error.message.includes(options.path ?? `127.0.0.1:${options.port}`), error.message)
  const { commands, succeeded, failed, unknown, errors } = error.outcome
  t.deepEqual({ commands, succeeded, failed, unknown }, { commands: 2, succeeded: 0, failed: 2, unknown: 0 })
  t.deepEqual(errors, { [code]: 2 })
  t.deepEqual(
    error.outcome.failures.map((failure) => [failure.index, failure.command, String(failure.key), failure.code]),
    [
      [0, 'SET', 'key', code],
      [1, 'INCR', 'counter', code],
    ],
  )
  t.is(heard.length, 1)
  const shown = [error, heard[0], bulk, bulk.stats()].flatMap((value) => [
    String(value),
    inspect(value, { depth: 9, showHidden: true }),
    JSON.stringify(value) ?? '',
    value instanceof Error ? (value.stack ?? '') : '',
  ])
  for (const form of shown) t.notRegex(form, /hunter2/)
  return { bulk, error }
}

// A peer that says the same whatever it hears

const HELLO_MYSQL = Buffer.from('\x4a\0\0\0\x0a8.0.36-0ubuntu0.22.04.1\0\x08\0\0\0', 'latin1')
const TLS_ALERT = Buffer.from('15030100020246', 'hex')

for (const [what, greeting, code, text] of [
  ['row 81, fault 5: an HTTP error', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'PROTOCOL', /HTTP.*looks like an HTTP server/],
  ['row 81, fault 5: an HTML page', '<!DOCTYPE HTML><html><body>', 'PROTOCOL', /looks like an HTTP server/],
  ['row 81, fault 5: an SSH banner', 'SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n', 'PROTOCOL', /looks like an SSH server/],
  ['row 81, fault 5: a MySQL greeting', HELLO_MYSQL, 'PROTOCOL', /8\.0\.36.*looks like a MySQL server/],
  ['row 81, fault 5: a TLS alert', TLS_ALERT, 'PROTOCOL', /\\x15\\x03.*looks like a TLS port/],
  ['fault 5: an SMTP greeting', '220 mail.example ESMTP\r\n', 'PROTOCOL', /looks like an SMTP or FTP server/],
  ['fault 5: garbage', Buffer.from([0, 1, 2, 0xff, 27, 91, 50, 74]), 'PROTOCOL', /\\x00\\x01\\x02\\xff\\x1b\[2J/],
  ['fault 5: an empty line', '\r\n', 'PROTOCOL', /unknown type of reply at byte 0/],
  ['fault 5: a wrong answer', '+HELLO\r\n', 'PROTOCOL', /unexpected reply to HELLO: \+HELLO/],
  ['fault 5: an answer too many', '*0\r\n+OK\r\n', 'PROTOCOL', /more than one reply to HELLO/],
  ['fault 5: an endless line', `+${'x'.repeat(70_000)}`, 'PROTOCOL', /line too long/],
  ['row 83, fault 3: NOAUTH', '-NOAUTH Authentication required.\r\n', 'AUTH', /NOAUTH Authentication required/],
  ['row 83, fault 3: WRONGPASS', '-WRONGPASS invalid pair\r\n', 'AUTH', /HELLO: WRONGPASS invalid pair/],
  ['fault 6: LOADING', '-LOADING Redis is loading\r\n', 'CONNECT', /LOADING Redis is loading/],
  ['fault 6: MASTERDOWN', '-MASTERDOWN Link with MASTER is down\r\n', 'CONNECT', /MASTERDOWN Link/],
  ['fault 6: CLUSTERDOWN', '-CLUSTERDOWN The cluster is down\r\n', 'CONNECT', /CLUSTERDOWN The cluster/],
  ['row 85, fault 4: too many clients', '-ERR max number of clients reached\r\n', 'CONNECT', /max number of clients/],
] as const) {
  test(`${what} is told`, async (t) => {
    const { port } = await scriptedFor(t, { greeting, silent: true })
    await fails(t, { port, password: PASSWORD }, `RESPIPE_${code}`, text)
  })
}

test('row 81, fault 5: a real HTTP server is told', async (t) => {
  const server = createHttpServer((_, response) => response.end('hello'))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  await fails(t, { port, password: PASSWORD }, 'RESPIPE_PROTOCOL', /HTTP\/1\.1 400.*looks like an HTTP server/)
})

test('row 84, fault 4: protected mode is told in full, at once', async (t) => {
  const text = `DENIED Redis is running in protected mode because protected mode is enabled and no password is set. ${'In this mode connections are only accepted from the loopback interface. '.repeat(8)}`
  const server = await scriptedFor(t, { onConnection: (socket) => socket.end(`-${text}\r\n`) })
  const retry = { firstConnect: 5 }
  const { error } = await fails(t, { port: server.port, retry }, 'RESPIPE_CONNECT', /DENIED Redis is running/)
  t.true(error.message.includes(text))
  t.is(server.connections, 1)
})

for (const [what, sent] of [
  ['closes at once', ''],
  ['closes within its first reply', '*14\r\n$6\r\nser'],
] as const) {
  test(`fault 4: a peer that ${what} is tried as often as said`, async (t) => {
    const server = await scriptedFor(t, { onConnection: (socket) => socket.end(sent) })
    const retry = { firstConnect: 2 }
    await fails(t, { port: server.port, retry }, 'RESPIPE_CONNECT', /closed the connection during login, at HELLO/)
    t.is(server.connections, 3)
  })
}

test('2g: a silent server costs connectTimeoutMs', async (t) => {
  const { port } = await scriptedFor(t, { silent: true })
  const options = { port, password: PASSWORD, connectTimeoutMs: 200 }
  await fails(t, options, 'RESPIPE_CONNECT', /login was not answered within 200 ms/)
})

test('row 89: a server that sends a byte now and then costs connectTimeoutMs', async (t) => {
  const { port } = await scriptedFor(t, {
    onConnection(socket) {
      socket.write('+')
      const timer = setInterval(() => socket.write('x'), 20)
      socket.once('close', () => clearInterval(timer))
    },
  })
  await fails(t, { port, connectTimeoutMs: 300 }, 'RESPIPE_CONNECT', /login was not answered within 300 ms/)
})

test('fault 1: a refused connection is tried as often as said', async (t) => {
  await fails(
    t,
    { port: 1, retry: { firstConnect: 2 } },
    'RESPIPE_CONNECT',
    /connection refused: nothing listens there/,
  )
})

test('fault 1: a name without address is told', async (t) => {
  const bulk = bulkFor(t, { host: 'no-such-host.invalid', retry: ONCE })
  const error = await rejection(t, bulk.set('key', 'value').exec(), 'RESPIPE_CONNECT')
  t.regex(error.message, /^cannot connect to no-such-host\.invalid:6379: /)
})

// TLS

testTls('row 82, fault 2: TLS spoken to a plain Redis ends in time', async (t) => {
  const { port } = await serverFor(t)
  const options = { port, tls: { rejectUnauthorized: true, ca: await anyCertificate(t) }, connectTimeoutMs: 300 }
  await fails(t, options, 'RESPIPE_TLS', /no answer to the TLS handshake within 300 ms: is it a plain port\?/)
})

testTls('2g: a TLS port spoken to plainly is told', async (t) => {
  const { port } = await serverWith(t, { tls: true })
  const bulk = bulkFor(t, { port, password: PASSWORD, retry: ONCE })
  // It depends on OpenSSL whether an alert comes before the reset.
  const error = await rejection(t, bulk.set('key', 'value').exec(), /^RESPIPE_(CONNECT|PROTOCOL)$/)
  t.regex(error.message, /TLS port/)
  t.notRegex(inspect(error), /hunter2/)
})

async function anyCertificate(t: ExecutionContext): Promise<string> {
  return (await serverWith(t, { tls: true })).certificates!.ca.cert
}

// Login

test('fault 4: maxclients is retried, told once that is used up, and forgotten once a place is free', async (t) => {
  const { port } = await serverWith(t, { args: ['--maxclients', '1'] })
  const occupant = await occupy(t, port)

  const retry = { firstConnect: 2 }
  await fails(t, { port, retry }, 'RESPIPE_CONNECT', /ERR max number of clients reached/)

  const proxy = await proxyFor(t, { port })
  const patient = bulkFor(t, { port: proxy.port, retry: { firstConnect: 1_000_000 } })
  const loaded = patient.set('key', 'value').exec()
  // The first of them at least was refused.
  await until(() => proxy.connections >= 2)
  occupant.destroy()
  t.is((await resolution(t, loaded)).succeeded, 1)
})

/** Takes the only place of a server, where it may be taken still by who looked whether the server is up. */
async function occupy(t: ExecutionContext, port: number) {
  for (;;) {
    const occupant = connect(port, '127.0.0.1')
    t.teardown(() => occupant.destroy())
    occupant.on('error', () => {})
    occupant.write('PING\r\n')
    const [answer] = await once(occupant, 'data')
    if (String(answer).startsWith('+PONG')) return occupant
    occupant.destroy()
  }
}

test('row 83, fault 3: wrong and missing passwords end at once, and may be put right', async (t) => {
  const { port } = await serverWith(t, { args: ['--requirepass', 'right'] })
  const admin = await adminOf(t, { port, password: 'right' })
  const retry = { firstConnect: 1_000, minDelayMs: 1_000, maxDelayMs: 1_000 }
  const wrong = { port, password: PASSWORD, retry }
  const { bulk } = await fails(t, wrong, 'RESPIPE_AUTH', /^login refused by .*HELLO: WRONGPASS/)
  await fails(t, { port, retry }, 'RESPIPE_AUTH', /NOAUTH/)
  await fails(t, { port, retry, username: 'nobody', password: PASSWORD }, 'RESPIPE_AUTH', /WRONGPASS/)
  await fails(t, { port, retry, password: '' }, 'RESPIPE_AUTH', /WRONGPASS/)
  t.is(await admin.dbsize(), 0)

  await admin.config('SET', 'requirepass', PASSWORD)
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
  t.is(await admin.dbsize(), 1)
})

test('fault 3: a password where none is configured is for the server to judge', async (t) => {
  // Since Redis 6 the default user without a password takes any.
  const { port } = await serverFor(t)
  const bulk = bulkFor(t, { port, password: PASSWORD })
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)

  const old = await scriptedFor(t, ([name]) => {
    if (name === 'HELLO') return resp.error("ERR unknown command 'HELLO'")
    return name === 'AUTH' ? resp.error('ERR Client sent AUTH, but no password is set') : undefined
  })
  await fails(t, { port: old.port, password: PASSWORD }, 'RESPIPE_AUTH', /AUTH: ERR Client sent AUTH, but no password/)
})

test('row 86: a server without HELLO is logged in with AUTH and SELECT', async (t) => {
  const server = await scriptedFor(t, ([name]) =>
    name === 'HELLO' ? resp.error(`ERR unknown command 'HELLO', with args beginning with: '2' 'AUTH'`) : undefined,
  )
  const { port } = server
  const bulk = bulkFor(t, { port, username: 'user', password: PASSWORD, db: 3, clientName: 'loader' })
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
  t.deepEqual(
    server.commands.filter(([name]) => name !== 'ECHO'),
    [
      ['HELLO', '2', 'AUTH', 'user', PASSWORD],
      ['AUTH', 'user', PASSWORD],
      ['ROLE'],
      ['CLIENT', 'ID'],
      ['CLIENT', 'SETNAME', 'loader'],
      ['SELECT', '3'],
      ['PING'],
      ['CLIENT', 'INFO'],
      ['INFO', 'server'],
      ['SET', 'key', 'value'],
    ],
  )
})

test('row 71: a server that quotes the password does not make it known', async (t) => {
  const quoting = (text: string) => scriptedFor(t, ([name]) => (name === 'HELLO' ? text : undefined))
  for (const [text, code] of [
    [`-WRONGPASS ${PASSWORD} is wrong\r\n`, 'RESPIPE_AUTH'],
    [`-LOADING ${PASSWORD}\r\n`, 'RESPIPE_CONNECT'],
    [`-DENIED ${PASSWORD}\r\n`, 'RESPIPE_CONNECT'],
    [`+${PASSWORD}\r\n`, 'RESPIPE_PROTOCOL'],
    [`HELLO 2 AUTH default ${PASSWORD}\r\n`, 'RESPIPE_PROTOCOL'],
    [`*4\r\n+mode\r\n+standalone\r\n+role\r\n+${PASSWORD}\r\n`, 'RESPIPE_REFUSED'],
    [`*4\r\n+mode\r\n+standalone\r\n+role\r\n+x${PASSWORD.slice(0, 8)}\r\n`, 'RESPIPE_REFUSED'],
  ] as const) {
    const { port } = await quoting(text)
    await fails(t, { port, password: PASSWORD }, code, /./)
  }
})

test('an ACL user logs in; without the permissions it needs it is told which', async (t) => {
  const { port } = await serverFor(t)
  const admin = await adminOf(t, { port })
  const rules = ['on', `>${PASSWORD}`, '~*', '&*', '-@all', '+@write']
  await admin.acl('SETUSER', 'loader', ...rules, '+echo')
  await admin.acl('SETUSER', 'mute', ...rules)
  await admin.acl('SETUSER', 'elsewhere', ...rules, '+echo')
  const password = PASSWORD

  const bulk = bulkFor(t, { port, username: 'loader', password })
  const outcome = await resolution(t, bulk.set('key', 'value').get('key').exec())
  t.is(outcome.succeeded, 1)
  t.deepEqual(outcome.errors, { NOPERM: 1 })
  t.like(outcome.failures[0], { index: 1, command: 'GET', code: 'NOPERM' })

  await fails(t, { port, username: 'mute', password }, 'RESPIPE_AUTH', /needs the permission \+echo: NOPERM/)
  await fails(t, { port, username: 'elsewhere', password, db: 1 }, 'RESPIPE_AUTH', /SELECT: NOPERM/)
  await fails(t, { port, username: 'loader', password, clientName: 'x' }, 'RESPIPE_AUTH', /CLIENT SETNAME: NOPERM/)
})

test('row 69, fault 3: a db out of range is told in the words of the server', async (t) => {
  const { port } = await serverFor(t)
  await fails(t, { port, db: 16 }, 'RESPIPE_AUTH', /SELECT: ERR DB index is out of range/)
})

test('fault 6: a server that is loading is waited for', async (t) => {
  const server = await scriptedFor(t, ([name], _, connection) =>
    name === 'HELLO' && connection < 3 ? resp.error('LOADING Redis is loading the dataset in memory') : undefined,
  )
  const bulk = bulkFor(t, { port: server.port })
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
  t.is(server.connections, 4)
  t.is(bulk.stats().reconnects, 0)
})

// Servers that are no place to write to

test('row 87, fault 7: a replica is refused', async (t) => {
  const master = await serverFor(t)
  const replica = await serverWith(t, { args: ['--replicaof', '127.0.0.1', String(master.port)] })
  const retry = { firstConnect: 1_000, minDelayMs: 1_000, maxDelayMs: 1_000 }
  await fails(t, { port: replica.port, retry }, 'RESPIPE_REFUSED', /no place to write to: it is a replica/)
})

test('row 87, fault 5: a Sentinel is refused', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'respipe-sentinel-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  // A Sentinel wants a file, which has to come first.
  const binary = join(dir, 'sentinel')
  writeFileSync(join(dir, 'sentinel.conf'), '')
  writeFileSync(binary, `#!/bin/sh\nexec '${findRedisServer()}' '${dir}/sentinel.conf' "$@"\n`)
  chmodSync(binary, 0o755)
  const { port } = await serverWith(t, { binary, args: ['--sentinel'] })
  await fails(t, { port }, 'RESPIPE_REFUSED', /it is a Sentinel, which holds no data/)
})

test('row 87: a greeting with missing, odd or repeated fields is judged by what it says', async (t) => {
  const greeting = (...fields: string[]) =>
    scriptedFor(t, ([name]) => (name === 'HELLO' ? resp.array(...fields) : undefined))
  const role = resp.bulk('role')
  const mode = [resp.bulk('mode'), resp.bulk('standalone')]

  // Without mode and role, ROLE is asked.
  for (const fields of [[], mode, [role, resp.bulk('master')]]) {
    const server = await greeting(...fields)
    const bulk = bulkFor(t, { port: server.port })
    t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
    t.true(server.commands.some(([name]) => name === 'ROLE'))
  }
  for (const [fields, code, text] of [
    [[...mode, role], 'RESPIPE_PROTOCOL', /unexpected reply to HELLO/],
    [[...mode, ...mode], 'RESPIPE_PROTOCOL', /unexpected reply to HELLO/],
    [[role, resp.integer(1)], 'RESPIPE_PROTOCOL', /unexpected reply to HELLO/],
    [[resp.integer(1), role], 'RESPIPE_PROTOCOL', /unexpected reply to HELLO/],
    [[...mode, role, resp.bulk('slave')], 'RESPIPE_REFUSED', /it is a replica/],
    [[...mode, role, resp.bulk('\x1b[2J')], 'RESPIPE_REFUSED', /its role is .*x1b\[2J.*, not master/],
    [[resp.bulk('mode'), resp.bulk('sentinel')], 'RESPIPE_REFUSED', /it is a Sentinel/],
  ] as const) {
    const { port } = await greeting(...fields)
    await fails(t, { port }, code, text)
  }
})

test('a cluster member takes what is its own; what it redirects has failed', async (t) => {
  const { port } = await serverWith(t, { args: ['--cluster-enabled', 'yes'] })
  const admin = await adminOf(t, { port })
  // A command of a slot that is nobody's could wait for ever.
  const bulk = bulkFor(t, { port, retry: { attempts: 2 } })
  const down = await resolution(t, bulk.set('key', 'value').exec())
  t.deepEqual(down.errors, { CLUSTERDOWN: 1 })

  await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await admin.config('SET', 'cluster-require-full-coverage', 'no')
  await until(async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
  // The slots of key, a and b are 12539, 15495 and 3300.
  const whole = await resolution(t, bulk.set('key', 1).set('a', 1).set('b', 1).exec())
  t.is(whole.succeeded, 3)
  await admin.call('CLUSTER', 'DELSLOTS', '15495')
  const torn = await resolution(t, bulk.set('key', 2).set('a', 2).mset('key', 3, 'b', 3).incr('key').exec())
  t.is(torn.succeeded, 2)
  t.deepEqual(
    torn.failures.map(({ index, code }) => [index, code]),
    [
      [1, 'CLUSTERDOWN'],
      [2, 'CROSSSLOT'],
    ],
  )
  t.is(await admin.get('key'), '3')
})

// Unix sockets

test('row 77: a unix socket that is none is told with its path', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'respipe-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'file')
  writeFileSync(file, '')
  for (const [path, text] of [
    [join(dir, 'missing'), /there is no such socket/],
    [file, /it is not a socket/],
    [dir, /it is not a socket/],
    [join(dir, 'x'.repeat(120)), /the path is too long for a unix socket/],
  ] as const) {
    await fails(t, { path }, 'RESPIPE_CONNECT', text)
  }
})

test('a unix socket is loaded through, and told once nothing listens on it', async (t) => {
  const server = await serverWith(t, { unixSocket: true })
  const path = server.path!
  const bulk = bulkFor(t, { path })
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
  await server.kill('SIGKILL')
  await fails(t, { path }, 'RESPIPE_CONNECT', /nothing listens on it/)
})
