import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { Redis, type RedisOptions } from 'ioredis'
import { randomNumbers, until } from './helpers/outcomes.ts'
import { encoded } from './helpers/pipelines.ts'
import { CommandPositions, ReplyPositions } from './helpers/positions.ts'
import { startProxy } from './helpers/proxy.ts'
import { runScript } from './helpers/rss.ts'
import { resp, startScripted } from './helpers/scripted.ts'
import { startServer, supportsTls, type ServerOptions } from './helpers/server.ts'
import test, { type ExecutionContext } from './helpers/test.ts'

const testTls = (await supportsTls()) ? test : test.skip

async function serverFor(t: ExecutionContext, options?: ServerOptions) {
  const server = await startServer(options)
  t.teardown(() => server.stop())
  return server
}

/** An independent client that tries once and says what went wrong. */
async function clientFor(t: ExecutionContext, options: RedisOptions) {
  const client = new Redis({ retryStrategy: null, maxRetriesPerRequest: 0, lazyConnect: true, ...options })
  client.on('error', () => {})
  t.teardown(() => client.disconnect())
  await client.connect()
  return client
}

async function proxied(t: ExecutionContext) {
  const server = await serverFor(t)
  const proxy = await startProxy(server)
  t.teardown(() => proxy.stop())
  return { server, proxy }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

test('a server answers on its port, and is gone with its folder after stop', async (t) => {
  const server = await startServer()
  const client = await clientFor(t, { port: server.port })
  t.is(await client.ping(), 'PONG')
  client.disconnect()
  const { pid, dir } = server
  t.true(isAlive(pid))
  await server.stop()
  t.false(isAlive(pid))
  t.false(existsSync(dir))
})

test('a server takes options and listens on a unix socket', async (t) => {
  const server = await serverFor(t, { unixSocket: true, args: ['--maxmemory', '3mb'] })
  const client = await clientFor(t, { path: server.path })
  t.deepEqual(await client.config('GET', 'maxmemory'), ['maxmemory', '3145728'])
})

test('a killed server comes back on its port with what it saved', async (t) => {
  const server = await serverFor(t, { args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  const { port, pid } = server
  await (await clientFor(t, { port })).set('key', 'value')
  await server.kill('SIGKILL')
  t.false(isAlive(pid))
  await server.restart()
  t.not(server.pid, pid)
  t.is(await (await clientFor(t, { port })).get('key'), 'value')
})

test('a stopped server answers nothing until it continues', async (t) => {
  const server = await serverFor(t)
  const client = await clientFor(t, { port: server.port })
  await server.kill('SIGSTOP')
  const answer = client.ping()
  t.is(await Promise.race([answer, delay(100, 'nothing')]), 'nothing')
  await server.kill('SIGCONT')
  t.is(await answer, 'PONG')
})

test('a server that does not start says why', async (t) => {
  await t.throwsAsync(startServer({ args: ['--no-such-option', '1'] }), { message: /no-such-option/ })
  await t.throwsAsync(startServer({ binary: '/no/such/server' }), { message: /ENOENT/ })
})

testTls('a server speaks TLS with a certificate of its own CA', async (t) => {
  const server = await serverFor(t, { tls: true })
  const { ca, otherCa } = server.certificates!
  const client = await clientFor(t, { port: server.port, host: server.host, tls: { ca: ca.cert } })
  t.is(await client.ping(), 'PONG')
  await t.throwsAsync(tlsError(server.port, otherCa.cert), { message: /unable to verify|self-signed/ })
})

testTls('an expired certificate and one for another host are refused', async (t) => {
  const expired = await serverFor(t, { tls: { certificate: 'expired' } })
  await t.throwsAsync(tlsError(expired.port, expired.certificates!.ca.cert), { code: 'CERT_HAS_EXPIRED' })
  const wrongHost = await serverFor(t, { tls: { certificate: 'wrongHost' } })
  const refused = tlsError(wrongHost.port, wrongHost.certificates!.ca.cert)
  await t.throwsAsync(refused, { code: 'ERR_TLS_CERT_ALTNAME_INVALID' })
})

testTls('client certificates can be required', async (t) => {
  const server = await serverFor(t, { tls: { clientCertificates: 'required' } })
  const { ca, client: own } = server.certificates!
  const tls = { ca: ca.cert, cert: own.cert, key: own.key }
  const client = await clientFor(t, { port: server.port, host: server.host, tls })
  t.is(await client.ping(), 'PONG')
  await t.throwsAsync(clientFor(t, { port: server.port, host: server.host, tls: { ca: ca.cert } }))
})

async function tlsError(port: number, ca: string): Promise<void> {
  const socket = connectTls({ port, host: '127.0.0.1', ca })
  await once(socket, 'secureConnect')
  socket.destroy()
}

test('a scripted server answers a login, and what the test overrides', async (t) => {
  const server = await startScripted(([name]) => (name?.toUpperCase() === 'GET' ? resp.bulk('scripted') : undefined))
  t.teardown(() => server.stop())
  const options = { port: server.port, username: 'user', password: 'secret', db: 3, enableReadyCheck: false }
  const client = await clientFor(t, options)
  t.is(await client.get('key'), 'scripted')
  t.is(await client.echo('text'), 'text')
  t.deepEqual(await client.multi().set('a', 1).ping().exec(), [
    [null, 'OK'],
    [null, 'PONG'],
  ])
  t.deepEqual(server.commands[0]?.slice(-2), ['user', 'secret'])
  t.true(server.commands.some(([name, db]) => name?.toUpperCase() === 'SELECT' && db === '3'))
})

test('a scripted server keeps silent while replies are off', async (t) => {
  const server = await startScripted()
  t.teardown(() => server.stop())
  const socket = connect(server.port, server.host)
  socket.write('*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n*1\r\n$4\r\nPING\r\n')
  socket.write('*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n*2\r\n$4\r\nECHO\r\n$1\r\nx\r\n')
  let received = ''
  for await (const chunk of socket) {
    received += chunk
    if (received.length >= 12) break
  }
  t.is(received, '+OK\r\n$1\r\nx\r\n')
})

test('a scripted server greets, hangs and cuts', async (t) => {
  const greeting = await startScripted({ greeting: '-ERR max number of clients reached\r\n', silent: true })
  t.teardown(() => greeting.stop())
  const socket = connect(greeting.port, greeting.host)
  const [first] = await once(socket, 'data')
  t.is(String(first), '-ERR max number of clients reached\r\n')
  socket.destroy()

  const cutting = await startScripted({ resetAfter: 20 })
  t.teardown(() => cutting.stop())
  const cut = connect(cutting.port, cutting.host)
  cut.write('*1\r\n$4\r\nPING\r\n')
  const [answer] = await once(cut, 'data')
  t.is(String(answer), '+PONG\r\n')
  cut.write('*1\r\n$4\r\nPING\r\n')
  const [error] = await once(cut, 'error')
  t.is(error.code, 'ECONNRESET')
})

test('a proxy passes everything on, in slices too, and counts it', async (t) => {
  const { proxy } = await proxied(t)
  const client = await clientFor(t, { port: proxy.port })
  proxy.slice(3)
  const value = 'é'.repeat(500)
  await client.set('key', value)
  t.is(await client.get('key'), value)
  t.is(proxy.connections, 1)
  t.is(proxy.open, 1)
  t.true(proxy.bytes.up > 1_000 && proxy.bytes.down > 1_000)
})

test('a proxy cuts at the byte, and the server has what came before it', async (t) => {
  for (const how of ['resetAfter', 'finAfter'] as const) {
    const { proxy, server } = await proxied(t)
    const socket = connect(proxy.port, proxy.host)
    await once(socket, 'connect')
    const increment = '*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n'
    proxy[how](increment.length * 2 + 5)
    let errorCode = 'none'
    socket.on('error', (error: NodeJS.ErrnoException) => (errorCode = error.code ?? ''))
    socket.resume()
    socket.write(increment.repeat(10))
    await closed(socket)
    t.is(errorCode, how === 'resetAfter' ? 'ECONNRESET' : 'none')
    t.is(await (await clientFor(t, { port: server.port })).get('n'), '2')
  }
})

test('a proxy can cut between the replies', async (t) => {
  const { proxy } = await proxied(t)
  const socket = connect(proxy.port, proxy.host)
  proxy.finAfter(9, 'down')
  socket.write('*1\r\n$4\r\nPING\r\n'.repeat(3))
  let received = ''
  for await (const chunk of socket) received += chunk
  t.is(received, '+PONG\r\n+P')
})

const increment = (key: string) => encoded('INCR', key)

/** Ten INCRs of one connection, in one write. */
async function tenIncrements(port: number) {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  let received = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => (received += chunk))
  socket.write(Buffer.concat(Array.from({ length: 10 }, () => increment('n'))))
  return { socket, received: () => received }
}

test('a fault happens behind the nth command, and the server has just those before it', async (t) => {
  const { proxy, server } = await proxied(t)
  const fault = proxy.at({ command: 'INCR', nth: 4 }, 'fin')
  t.false(fault.hasHappened)
  const { socket } = await tenIncrements(proxy.port)
  await Promise.all([closed(socket), fault.happened])
  t.true(fault.hasHappened)
  t.is(await (await clientFor(t, { port: server.port })).get('n'), '4')
})

test('a fault happens behind the reply to the nth command, whatever else is answered', async (t) => {
  const { proxy, server } = await proxied(t)
  const fault = proxy.at({ replyTo: 'INCR', nth: 3 }, 'fin')
  const socket = connect(proxy.port, proxy.host)
  socket.write(Buffer.concat(['ECHO', 'INCR', 'LRANGE', 'INCR', 'ECHO', 'INCR', 'INCR'].map(commandOf)))
  let received = ''
  for await (const chunk of socket) received += chunk
  t.is(received, '$4\r\necho\r\n:1\r\n*0\r\n:2\r\n$4\r\necho\r\n:3\r\n')
  t.true(fault.hasHappened)
  t.is(await (await clientFor(t, { port: server.port })).get('n'), '4')
})

function commandOf(name: string): Buffer {
  if (name === 'ECHO') return encoded('ECHO', 'echo')
  return name === 'INCR' ? increment('n') : encoded('LRANGE', 'none', '0', '-1')
}

test('a fault of one connection leaves the others alone', async (t) => {
  const { proxy, server } = await proxied(t)
  proxy.at({ command: 'INCR', nth: 2, connection: 2 }, 'reset')
  const first = await tenIncrements(proxy.port)
  await until(() => first.received().endsWith(':10\r\n'))
  const second = await tenIncrements(proxy.port)
  await closed(second.socket)
  const third = await tenIncrements(proxy.port)
  await until(() => third.received().endsWith(':22\r\n'))
  t.is(await (await clientFor(t, { port: server.port })).get('n'), '22')
  first.socket.destroy()
  third.socket.destroy()
})

test('nothing passes while the function of a fault runs', async (t) => {
  const { proxy, server } = await proxied(t)
  const client = await clientFor(t, { port: server.port })
  const seen: unknown[] = []
  proxy.at({ command: 'INCR', nth: 6 }, async ({ number }) => {
    await until(async () => (await client.get('n')) === '6')
    seen.push(number, await client.set('n', 100))
  })
  const { socket, received } = await tenIncrements(proxy.port)
  await until(() => received().endsWith(':104\r\n'))
  t.deepEqual(seen, [1, 'OK'])
  socket.destroy()
})

test('positions are found in whatever pieces the bytes come', (t) => {
  const random = randomNumbers(17)
  const commands = Array.from({ length: 300 }, (_, i) =>
    encoded(i % 3 === 0 ? 'set' : 'INCR', 'é'.repeat(random(80)), '$5\r\n'),
  )
  const replies = [
    '+OK\r\n',
    ':1\r\n',
    '-ERR no\r\n',
    '$-1\r\n',
    '*-1\r\n',
    '*0\r\n',
    '$3\r\n\r\n+\r\n',
    '*2\r\n*1\r\n$0\r\n\r\n:5\r\n',
  ]
  const up = new CommandPositions()
  const down = new ReplyPositions()
  for (const [parts, feed] of [
    [commands, (piece: Buffer) => up.feed(piece).map(({ end, name }) => ({ end, name }))],
    [
      commands.map((_, i) => Buffer.from(replies[i % replies.length]!)),
      (piece: Buffer) => down.feed(piece).map((end) => ({ end, name: '' })),
    ],
  ] as const) {
    const whole = Buffer.concat(parts)
    const found: number[] = []
    const names: string[] = []
    for (let at = 0; at < whole.length;) {
      const piece = whole.subarray(at, at + 1 + random(50))
      for (const { end, name } of feed(piece)) {
        found.push(at + end)
        names.push(name)
      }
      at += piece.length
    }
    let end = 0
    t.deepEqual(
      found,
      parts.map((part) => (end += part.length)),
    )
    if (parts === commands) t.deepEqual(names.slice(0, 3), ['SET', 'INCR', 'INCR'])
  }
})

test('a stalled proxy goes on where it stopped', async (t) => {
  const { proxy } = await proxied(t)
  const client = await clientFor(t, { port: proxy.port })
  proxy.stall()
  const answer = client.ping()
  t.is(await Promise.race([answer, delay(100, 'nothing')]), 'nothing')
  proxy.resume()
  t.is(await answer, 'PONG')
})

test('a proxy can lose replies of work that was done', async (t) => {
  const { proxy, server } = await proxied(t)
  const client = await clientFor(t, { port: proxy.port })
  const witness = await clientFor(t, { port: server.port })

  proxy.swallowReplies()
  const swallowed = t.throwsAsync(client.set('swallowed', 1), { message: /closed/ })
  while ((await witness.exists('swallowed')) === 0) await delay(5)
  proxy.blackhole()
  const blackholed = t.throwsAsync(client.set('blackholed', 1), { message: /closed/ })
  await delay(100)
  t.is(await witness.exists('blackholed'), 0)

  client.disconnect()
  await Promise.all([swallowed, blackholed])
})

test('a proxy resets, refuses and heals', async (t) => {
  const { proxy } = await proxied(t)
  const client = await clientFor(t, { port: proxy.port })
  const gone = closed(client)
  proxy.blockNew()
  proxy.resetAll()
  await gone
  await t.throwsAsync(tcp(proxy.port), { code: 'ECONNREFUSED' })
  await proxy.heal()
  t.is(await (await clientFor(t, { port: proxy.port })).ping(), 'PONG')
})

/** Unlike `once`, whatever errors come before. */
function closed(emitter: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', resolve))
}

async function tcp(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.destroy()
}

test('a proxy slows down and writes garbage', async (t) => {
  const { proxy } = await proxied(t)
  const socket = connect(proxy.port, proxy.host)
  await once(socket, 'connect')
  socket.write('PING\r\n')
  await once(socket, 'data')
  proxy.garbage('garbage')
  const [garbage] = await once(socket, 'data')
  t.is(String(garbage), 'garbage')

  proxy.throttle(10_000)
  const start = performance.now()
  socket.write(`*2\r\n$4\r\nECHO\r\n$2000\r\n${'x'.repeat(2000)}\r\n`)
  let received = 0
  for await (const chunk of socket) {
    received += chunk.length
    if (received >= 2009) break
  }
  // It is 200 ms; the clock of the event loop may have stood a little behind when it began.
  t.true(performance.now() - start > 150)
})

test('a script tells its exit code, its output and its peak of memory', async (t) => {
  const source = `const block = Buffer.alloc(100e6, 1); console.log(process.argv[2] ?? process.argv[1], block.length); process.exitCode = 3`
  const result = await runScript({ source }, { args: ['argument'] })
  t.is(result.code, 3)
  t.is(result.stdout, 'argument 100000000\n')
  t.true(result.peakRss! > 100e6 && result.peakRss! < 300e6)
  const small = await runScript({ source: '' })
  t.true(small.peakRss! < 100e6, String(small.peakRss))
})
