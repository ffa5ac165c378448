// TLS against real servers: row 73 of the options, rows 2 and 31 of the fault matrix.
import test, { type ExecutionContext } from './helpers/test.ts'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { Redis } from 'ioredis'
import { type BulkPipelineOptions, bulkPipeline } from '../index.js'
import { isHonest, proxyFor, serverWith } from './helpers/loads.ts'
import { addsUp, bulkFor, randomNumbers, rejection, resolution, until, reasonOf } from './helpers/outcomes.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { type Server, startServer, supportsTls } from './helpers/server.ts'

const withTls = await supportsTls()
const testTls = withTls ? test : test.skip

const dir = mkdtempSync(join(tmpdir(), 'respipe-tls-'))
/** For tests that leave it as it is. */
let shared: Server

test.before(async () => {
  if (withTls) shared = await startServer({ tls: true })
})

test.after.always(async () => {
  await shared?.stop()
  rmSync(dir, { recursive: true, force: true })
})

/** The line ends of Windows. */
function crlf(text: string): string {
  return text.replaceAll('\r', '').replaceAll('\n', '\r\n')
}

type Tls = Exclude<BulkPipelineOptions['tls'], boolean | undefined>

/** Where there is one attempt alone, it is not ended by a busy machine. */
const PATIENT = { connectTimeoutMs: 600_000, stallTimeoutMs: 600_000 }

async function loads(t: ExecutionContext, port: number, tls: Tls) {
  const bulk = bulkFor(t, { port, tls, retry: { firstConnect: 0 }, ...PATIENT })
  const outcome = await resolution(t, bulk.set('key', 'value').exec())
  t.is(outcome.succeeded, 1)
  return bulk
}

/** Refused at once, however often it might be tried, and nothing of a key is shown. */
async function refuses(t: ExecutionContext, port: number, tls: Tls, reason: RegExp) {
  const bulk = bulkFor(t, { port, tls, retry: { firstConnect: 1_000, minDelayMs: 1_000, maxDelayMs: 1_000 } })
  const error = await rejection(t, bulk.set('key', 'value').exec(), 'RESPIPE_TLS')
  t.regex(reasonOf(error), reason)
  t.true(error.message.startsWith(`no TLS with 127.0.0.1:${port}: `), error.message)
  t.deepEqual(error.outcome.errors, { RESPIPE_TLS: 1 })
  const shown = `${inspect(error, { depth: 9, showHidden: true })}${inspect(bulk, { depth: 9 })}${error.stack}`
  const key = String(tls.key ?? '').split(/\r?\n/)[1]
  if (key) t.false(shown.includes(key))
}

/** Made by hand, as tutorials say. */
function selfSigned(name: string, ...options: string[]) {
  const [certFile, keyFile] = [join(dir, `${name}.crt`), join(dir, `${name}.key`)]
  const request = ['req', '-x509', '-nodes', '-keyout', keyFile, '-out', certFile, '-subj', '/CN=redis.example']
  execFileSync('openssl', [...request, ...options], { stdio: 'ignore' })
  const cert = readFileSync(certFile, 'utf8')
  return { cert, args: ['--tls-cert-file', certFile, '--tls-key-file', keyFile] }
}

const RSA = ['-newkey', 'rsa:2048']
const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
const HERE = ['-addext', 'subjectAltName=IP:127.0.0.1']

testTls('10,000 commands are loaded over TLS, to the byte', async (t) => {
  const { ca } = shared.certificates!
  const bulk = bulkFor(t, { url: shared.url, tls: { ca: ca.cert } })
  const values = Array.from({ length: 1_000 }, (_, i) => randomBytes(i % 300))
  for (let i = 0; i < 10_000; i++) bulk.hset(`load:${i % 100}`, String(i), values[i % 1_000]!)
  const outcome = await resolution(t, bulk.exec())
  t.is(outcome.succeeded, 10_000)
  t.is(bulk.stats().reconnects, 0)

  const client = new Redis({ port: shared.port, host: shared.host, tls: { ca: ca.cert } })
  t.teardown(() => client.disconnect())
  for (let key = 0; key < 100; key++) {
    const fields = await client.hgetallBuffer(`load:${key}`)
    t.is(Object.keys(fields).length, 100)
    const wrong = Object.entries(fields).find(([field, value]) => !value.equals(values[Number(field) % 1_000]!))
    t.is(wrong, undefined)
  }
})

testTls(
  'row 73: a CA is a string or bytes, with the line ends of any system, and may stand among others',
  async (t) => {
    const { ca, otherCa } = shared.certificates!
    for (const good of [
      ca.cert,
      Buffer.from(ca.cert),
      crlf(ca.cert),
      `${otherCa.cert}${ca.cert}`,
      `# some text\n${otherCa.cert}\n\n${crlf(ca.cert)}`,
    ]) {
      await loads(t, shared.port, { ca: good })
    }
    const { cert, key } = shared.certificates!.client
    await loads(t, shared.port, { ca: ca.cert, cert: crlf(cert), key: crlf(key) })
  },
)

testTls('row 73, fault 2: a wrong CA is refused at once', async (t) => {
  const { otherCa } = shared.certificates!
  await refuses(t, shared.port, { ca: otherCa.cert }, /signed by nobody in ca/)
  // The system trusts none of ours.
  await refuses(t, shared.port, {}, /signed by nobody in ca|no trusted certificates/)
})

testTls('row 73, fault 2: a certificate for another host is refused, unless servername names that', async (t) => {
  const { port, certificates } = await serverWith(t, { tls: { certificate: 'wrongHost' } })
  const ca = certificates!.ca.cert
  await refuses(t, port, { ca }, /is not for "127\.0\.0\.1", but for other\.example$/)
  await refuses(t, port, { ca, servername: 'third.example' }, /is not for "third\.example", but for other\.example$/)
  await loads(t, port, { ca, servername: 'other.example' })
})

testTls('row 73, fault 2: an expired certificate is refused', async (t) => {
  const { port, certificates } = await serverWith(t, { tls: { certificate: 'expired' } })
  await refuses(t, port, { ca: certificates!.ca.cert }, /the server's certificate has expired, \d+ days ago/)
})

testTls('the same ones do with rejectUnauthorized: false', async (t) => {
  const { port } = await serverWith(t, { tls: { certificate: 'expired' } })
  await loads(t, port, { rejectUnauthorized: false })
  await loads(t, shared.port, { rejectUnauthorized: false, ca: shared.certificates!.otherCa.cert })
  await loads(t, shared.port, { rejectUnauthorized: false, servername: 'other.example' })
})

testTls('row 72: rejectUnauthorized: false warns once a process', async (t) => {
  const source = `
    import { bulkPipeline } from './index.mjs'
    for (let i = 0; i < 3; i++) {
      const bulk = bulkPipeline(process.argv[1], { tls: { rejectUnauthorized: false } })
      await bulk.set('key', 'value').exec()
      await bulk.close()
    }
    console.log('loaded')`
  const { code, stdout, stderr } = await runScript({ source }, { args: [shared.url] })
  t.is(code, 0, stderr)
  t.is(stdout, 'loaded\n')
  t.is(stderr.split('RESPIPE_TLS_UNVERIFIED').length - 1, 1, stderr)
})

testTls('row 73: client certificates may be required', async (t) => {
  const { port, certificates } = await serverWith(t, { tls: { clientCertificates: 'required' } })
  const { ca, client, otherCa } = certificates!
  await loads(t, port, { ca: ca.cert, cert: client.cert, key: client.key })
  await refuses(t, port, { ca: ca.cert }, /requires a certificate of the client: give cert and key/)
  const { cert, key } = otherCa
  await refuses(t, port, { ca: ca.cert, cert, key }, /refuses the certificate of the client/)
})

// Self-signed

for (const [what, options] of [
  ['RSA', RSA],
  ['EC', EC],
] as const) {
  testTls(`row 73: a self-signed certificate (${what}) is trusted where ca holds it, as in Node.js`, async (t) => {
    const { cert, args } = selfSigned(what, ...options, ...HERE)
    const { port } = await serverWith(t, { tls: true, args })
    await loads(t, port, { ca: cert })
    await loads(t, port, { ca: `${shared.certificates!.ca.cert}${cert}` })

    const client = new Redis({
      port,
      host: '127.0.0.1',
      tls: { ca: cert },
      lazyConnect: true,
      retryStrategy: null,
      connectTimeout: 600_000,
    })
    t.teardown(() => client.disconnect())
    await client.connect()
    t.is(await client.get('key'), 'value')

    await refuses(t, port, { ca: shared.certificates!.ca.cert }, /authority \(CA:TRUE\) and not itself in ca/)
    await refuses(t, port, { ca: cert, servername: 'other.example' }, /not for "other\.example", but for 127\.0\.0\.1/)
  })
}

testTls('row 73: its like is not trusted, with the same names and another key', async (t) => {
  const { args } = selfSigned('shown', ...EC, ...HERE)
  const { cert } = selfSigned('like', ...EC, ...HERE)
  const { port } = await serverWith(t, { tls: true, args })
  await refuses(t, port, { ca: cert }, /authority \(CA:TRUE\) and not itself in ca/)
})

testTls('row 73: a self-signed certificate needs the name', async (t) => {
  const { cert, args } = selfSigned('nameless', ...EC)
  const { port } = await serverWith(t, { tls: true, args })
  await refuses(t, port, { ca: cert }, /but for no name at all \(it has no subjectAltName\)/)
})

testTls('row 73: a certificate of an authority is trusted where ca holds it alone', async (t) => {
  const { server } = shared.certificates!
  await loads(t, shared.port, { ca: server.cert })
})

// What is given

test('row 73: an empty text is no option', (t) => {
  for (const name of ['ca', 'cert', 'key']) {
    for (const empty of ['', Buffer.alloc(0)]) {
      const tls = { ca: 'x', cert: 'x', key: 'x', [name]: empty }
      t.throws(() => bulkPipeline({ tls }), { code: 'RESPIPE_INVALID_OPTION', message: new RegExp(`tls\\.${name} `) })
    }
  }
})

testTls('row 73: junk is refused with a reason', async (t) => {
  const { ca, client, otherCa } = shared.certificates!
  const { cert, key } = client
  const file = join(dir, 'encrypted.key')
  execFileSync('openssl', ['pkey', '-in', client.keyFile, '-aes256', '-passout', 'pass:x', '-out', file])
  const encrypted = readFileSync(file, 'utf8')
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  const good = { ca: ca.cert, cert, key }
  const cases: [Tls, RegExp][] = [
    [{ ca: 'junk' }, /ca holds no certificate in PEM form/],
    [{ ca: ' ' }, /ca holds no certificate in PEM form/],
    [{ ca: randomBytes(1_000) }, /ca (holds no certificate in PEM form|is not valid PEM)/],
    [{ ca: key }, /ca holds no certificate in PEM form/],
    [{ ca: broken }, /ca holds a certificate that cannot be read/],
    [{ ca: ca.cert.slice(0, 200) }, /ca is not valid PEM/],
    [{ ...good, cert: 'junk' }, /cert holds no certificate in PEM form/],
    [{ ...good, cert: cert.slice(0, 200) }, /cert is not valid PEM/],
    [{ ...good, key: 'junk' }, /key holds no private key in PEM form/],
    [{ ...good, key: cert }, /key holds no private key in PEM form/],
    [{ ...good, key: key.slice(0, 100) }, /key holds no private key in PEM form/],
    [{ ...good, key: otherCa.key }, /key does not belong to cert/],
    [{ ...good, key: encrypted }, /key is encrypted: decrypt it first/],
    [{ ...good, cert: broken }, /cert and key cannot be used/],
  ]
  for (const [tls, reason] of cases) await refuses(t, shared.port, tls, reason)
})

// The connection

testTls('fault 2: a handshake that breaks off is tried again', async (t) => {
  const server = await scriptedFor(t, { onConnection: (socket) => socket.end() })
  const retry = { firstConnect: 2 }
  const bulk = bulkFor(t, { port: server.port, tls: { ca: shared.certificates!.ca.cert }, retry })
  const error = await rejection(t, bulk.set('key', 'value').exec(), 'RESPIPE_TLS')
  t.regex(error.message, /the connection broke off in the TLS handshake/)
  t.is(server.connections, 3)
})

testTls('fault 2: a peer that answers in plain text is told', async (t) => {
  const server = await scriptedFor(t, { greeting: '-ERR unknown command\r\n', silent: true })
  await refuses(
    t,
    server.port,
    { ca: shared.certificates!.ca.cert },
    /the peer does not speak TLS: is this a plain port\?/,
  )
})

testTls('TLS in pieces of one byte is the same', async (t) => {
  const proxy = await proxyFor(t, shared)
  proxy.slice(1)
  await loads(t, proxy.port, { ca: shared.certificates!.ca.cert })
})

testTls('fault 8: a connection that ends while idle is replaced in silence', async (t) => {
  const server = await serverWith(t, { tls: true })
  const ca = server.certificates!.ca.cert
  const bulk = await loads(t, server.port, { ca })
  const client = new Redis({ port: server.port, tls: { ca } })
  t.teardown(() => client.disconnect())
  await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await until(() => !bulk.stats().connected)
  t.is((await resolution(t, bulk.set('key', 'value').exec())).succeeded, 1)
  t.is(bulk.stats().reconnects, 1)
})

testTls('fault 31: an end without close_notify is a loss, never a clean end', async (t) => {
  const server = await serverWith(t, { tls: true })
  const proxy = await proxyFor(t, server)
  const ca = server.certificates!.ca.cert
  const client = new Redis({ port: server.port, tls: { ca } })
  t.teardown(() => client.disconnect())
  const random = randomNumbers(31)
  /** The server has done whatever reached it: of its connections only ours is left. */
  const isOver = async () =>
    String(await client.client('LIST'))
      .trim()
      .split('\n').length === 1

  for (const direction of ['up', 'down'] as const) {
    const bulk = bulkFor(t, { port: proxy.port, tls: { ca }, retry: { attempts: 0 } })
    for (let round = 0; round < 5; round++) {
      const counter = `counter:${direction}:${round}`
      // The login has come about, so that the cut is in the batch: it has 90 kB up, 20 kB down.
      await bulk.set('key', 'value').exec()
      for (let i = 0; i < 3_000; i++) bulk.incr(counter)
      const fault = proxy.finAfter(1 + random(direction === 'up' ? 80_000 : 10_000), direction)
      const error = await rejection(t, bulk.exec(), 'RESPIPE_CONNECTION_LOST')
      t.true(fault.hasHappened)
      const { unknown, failed } = error.outcome
      t.true(unknown > 0 || failed > 0, inspect(error.outcome))
      await until(isOver)
      await isHonest(t, client, counter, error.outcome)
    }
  }

  // With further attempts, the rest is loaded all the same.
  const bulk = bulkFor(t, { port: proxy.port, tls: { ca }, maxInFlightBytes: 16_384 })
  await bulk.set('key', 'value').exec()
  for (let i = 0; i < 5_000; i++) bulk.incr('counter')
  const fault = proxy.finAfter(50_000)
  const outcome = await resolution(t, bulk.exec())
  t.true(fault.hasHappened)
  t.is(outcome.failed, 0)
  // 16 kB are 600 of them.
  t.true(outcome.unknown > 0 && outcome.unknown < 2_000, inspect(outcome))
  await isHonest(t, client, 'counter', outcome)
  addsUp(t, await bulk.close())
})
