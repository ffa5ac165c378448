// Pipelines that take over the address, the login and the TLS of a client that is there already.
import test, { type ExecutionContext } from './helpers/test.ts'
import { createClient, createClientPool, createCluster, createSentinel } from '@redis/client'
import { Cluster, Redis, type RedisOptions } from 'ioredis'
import { inspect } from 'node:util'

import { bulkPipeline, RespipeError } from '../index.js'
import type { BulkPipeline, IoredisClient, NodeRedisClient } from '../index.js'
import { serverWith } from './helpers/loads.ts'
import { rejection, resolution } from './helpers/outcomes.ts'
import { type Server, startServer, supportsTls } from './helpers/server.ts'

const SECRET = 'client-secret'

const testTls = (await supportsTls()) ? test : test.skip

let server: Server
test.before(async () => {
  server = await startServer({ unixSocket: true })
  const admin = new Redis(server.port)
  await admin.acl('SETUSER', 'loader', 'on', `>${SECRET}`, '~*', '&*', '+@all')
  await admin.acl('SETUSER', 'open', 'on', 'nopass', '~*', '&*', '+@all')
  admin.disconnect()
})
test.after.always(() => server?.stop())

type NodeRedisOptions = NonNullable<Parameters<typeof createClient>[0]>

/** Clients of both libraries that never connect by themselves. */
function ioredis(options: RedisOptions | string, more: RedisOptions = {}): Redis {
  const lazy = { lazyConnect: true, ...more }
  return typeof options === 'string' ? new Redis(options, lazy) : new Redis({ ...lazy, ...options })
}

function nodeRedis(options: NodeRedisOptions): NodeRedisClient {
  return createClient(options)
}

function ends(t: ExecutionContext, bulk: BulkPipeline): BulkPipeline {
  t.teardown(() => bulk.destroy())
  return bulk
}

/** One try, however long it takes. */
const ONCE = { retry: { firstConnect: 0 }, connectTimeoutMs: 600_000 }

/** Where it writes, and as whom. */
async function identity(t: ExecutionContext, bulk: BulkPipeline) {
  ends(t, bulk)
  const outcome = await resolution(t, bulk.set('key', 'value').exec())
  t.is(outcome.succeeded, 1, inspect(outcome))
  const info = String(await bulk.query('CLIENT', 'INFO'))
  return Object.fromEntries(['name', 'db', 'user'].map((name) => [name, new RegExp(` ${name}=(\\S*)`).exec(info)?.[1]]))
}

interface Place {
  what: string
  ioredis: () => IoredisClient
  nodeRedis: () => NodeRedisClient
  is: { name: string; db: string; user: string }
}

const PLACES: Place[] = [
  {
    what: 'a host and a port',
    ioredis: () => ioredis({ host: '127.0.0.1', port: server.port }),
    nodeRedis: () => nodeRedis({ socket: { host: '127.0.0.1', port: server.port } }),
    is: { name: '', db: '0', user: 'default' },
  },
  {
    what: 'a port alone',
    ioredis: () => ioredis({ port: server.port, family: 4 }),
    nodeRedis: () => nodeRedis({ socket: { port: server.port, family: 4, keepAlive: true } }),
    is: { name: '', db: '0', user: 'default' },
  },
  {
    what: 'an ACL user, a db and a name',
    ioredis: () => ioredis({ port: server.port, username: 'loader', password: SECRET, db: 3, connectionName: 'job' }),
    nodeRedis: () =>
      nodeRedis({ socket: { port: server.port }, username: 'loader', password: SECRET, database: 3, name: 'job' }),
    is: { name: 'job', db: '3', user: 'loader' },
  },
  {
    what: 'a user without a password',
    ioredis: () => ioredis({ port: server.port, username: 'open' }),
    nodeRedis: () => nodeRedis({ socket: { port: server.port }, username: 'open' }),
    is: { name: '', db: '0', user: 'open' },
  },
  {
    what: 'a url with a login and a db',
    ioredis: () => ioredis(`redis://loader:${SECRET}@127.0.0.1:${server.port}/4`),
    nodeRedis: () => nodeRedis({ url: `redis://loader:${SECRET}@127.0.0.1:${server.port}/4`, name: 'job' }),
    is: { name: '', db: '4', user: 'loader' },
  },
  {
    what: 'a unix socket',
    ioredis: () => ioredis(server.path!, { db: 2 }),
    nodeRedis: () => nodeRedis({ url: `unix://loader:${SECRET}@${server.path}?db=2` }),
    is: { name: '', db: '2', user: 'default' },
  },
]

for (const { what, is, ...clients } of PLACES) {
  test(`from ioredis: ${what} is taken over`, async (t) => {
    t.deepEqual(await identity(t, bulkPipeline.fromIoredis(clients.ioredis(), ONCE)), is)
  })

  test(`from node-redis: ${what} is taken over`, async (t) => {
    const found = await identity(t, bulkPipeline.fromNodeRedis(clients.nodeRedis(), ONCE))
    const ofUrl = what.includes('url') ? { name: 'job' } : what.includes('unix') ? { user: 'loader' } : {}
    t.deepEqual(found, { ...is, ...ofUrl })
  })
}

test('digits stand for numbers, as clients take them from an environment', async (t) => {
  const { host } = server
  const port = String(server.port)
  const redis = ioredis({ host, port, db: '5' } as object)
  t.is((await identity(t, bulkPipeline.fromIoredis(redis, ONCE))).db, '5')
  const client = nodeRedis({ socket: { host, port }, database: '5' } as object)
  t.is((await identity(t, bulkPipeline.fromNodeRedis(client, ONCE))).db, '5')
})

test('a client that is connected, and one that was derived from it, will do', async (t) => {
  // By itself it gives a busy machine five seconds.
  const client = createClient({ socket: { port: server.port, connectTimeout: 600_000 }, database: 1 })
  await client.connect()
  t.teardown(() => client.destroy())
  t.is((await identity(t, bulkPipeline.fromNodeRedis(client, ONCE))).db, '1')
  t.is((await identity(t, bulkPipeline.fromNodeRedis(client.withTypeMapping({}), ONCE))).db, '1')
  t.is(await client.get('key'), 'value')

  const redis = new Redis(server.port, { db: 1 })
  t.teardown(() => redis.disconnect())
  await redis.ping()
  t.is((await identity(t, bulkPipeline.fromIoredis(redis.duplicate({ lazyConnect: true }), ONCE))).db, '1')
  t.is(await redis.get('key'), 'value')
})

test('the client is not connected, and nothing of it is changed', (t) => {
  const redis = ioredis({ port: server.port, username: 'loader', password: SECRET, tls: { ca: ['x'] } })
  const client = nodeRedis({ socket: { port: server.port }, username: 'loader', password: SECRET })
  const before = [inspect(redis.options, { depth: 9 }), inspect(client.options, { depth: 9 })]
  ends(t, bulkPipeline.fromIoredis(redis))
  ends(t, bulkPipeline.fromNodeRedis(client))
  t.deepEqual([inspect(redis.options, { depth: 9 }), inspect(client.options, { depth: 9 })], before)
  t.deepEqual([redis.status, client.isOpen], ['wait', false])
  redis.disconnect()
})

test('explicit options win', async (t) => {
  const redis = ioredis({ host: 'nowhere.invalid', port: 1, username: 'nobody', password: 'x', db: 3 })
  const there = { host: '127.0.0.1', port: server.port, username: 'loader', password: SECRET, clientName: 'mine' }
  const found = await identity(t, bulkPipeline.fromIoredis(redis, { ...there, ...ONCE }))
  t.deepEqual(found, { name: 'mine', db: '3', user: 'loader' })

  const atSocket = nodeRedis({ socket: { path: '/nowhere.sock' } as object })
  t.is((await identity(t, bulkPipeline.fromNodeRedis(atSocket, { port: server.port, ...ONCE }))).user, 'default')

  const secured = ioredis({ port: 1, tls: { servername: 'redis.example' } })
  t.is((await identity(t, bulkPipeline.fromIoredis(secured, { path: server.path!, ...ONCE }))).db, '0')
  t.is((await identity(t, bulkPipeline.fromIoredis(secured, { tls: false, port: server.port, ...ONCE }))).db, '0')
})

testTls('TLS is taken over, with a certificate of our own', async (t) => {
  const secure = await serverWith(t, { tls: { clientCertificates: 'required' } })
  const { ca, otherCa, client } = secure.certificates!
  const { port } = secure
  const tls = {
    ca: [otherCa.cert, Buffer.from(ca.cert)],
    cert: [client.cert],
    key: client.key,
    servername: 'localhost',
  }
  const settings = { ...tls, minVersion: 'TLSv1.2' as const, rejectUnauthorized: true, checkServerIdentity: undefined }

  const redis = ioredis({ port, tls: settings as object })
  t.is((await identity(t, bulkPipeline.fromIoredis(redis, ONCE))).user, 'default')
  const overUrl = ioredis(`rediss://127.0.0.1:${port}`, { tls })
  t.is((await identity(t, bulkPipeline.fromIoredis(overUrl, ONCE))).user, 'default')
  const secured = nodeRedis({ socket: { port, tls: true, connectTimeout: 9, ...settings } as object })
  t.is((await identity(t, bulkPipeline.fromNodeRedis(secured, ONCE))).user, 'default')
  const securedByUrl = nodeRedis({ url: `rediss://localhost:${port}`, socket: tls as object })
  t.is((await identity(t, bulkPipeline.fromNodeRedis(securedByUrl, ONCE))).user, 'default')
})

testTls('what the client verifies is verified', async (t) => {
  const secure = await serverWith(t, { tls: true })
  const { otherCa, ca } = secure.certificates!
  const { port } = secure
  for (const tls of [{}, { ca: otherCa.cert }, { ca: ca.cert, servername: 'other.example' }]) {
    const redis = ends(t, bulkPipeline.fromIoredis(ioredis({ port, tls }), ONCE))
    await rejection(t, redis.set('key', 'value').exec(), 'RESPIPE_TLS')
    const client = nodeRedis({ socket: { port, tls: true, ...tls } })
    const bulk = ends(t, bulkPipeline.fromNodeRedis(client, ONCE))
    await rejection(t, bulk.set('key', 'value').exec(), 'RESPIPE_TLS')
  }
  const trusting = ioredis(`rediss://127.0.0.1:${port}`, { tls: { rejectUnauthorized: false } })
  t.is((await identity(t, bulkPipeline.fromIoredis(trusting, ONCE))).user, 'default')
})

/** What is thrown; it shows no secret. */
function refusal(t: ExecutionContext, make: () => unknown, code: string, message: RegExp) {
  const error = t.throws(make, { instanceOf: RespipeError })
  t.is(error?.code, code, error?.message)
  t.regex(error?.message ?? '', message)
  t.false(inspect(error, { depth: 9, showHidden: true }).includes(SECRET))
}

const LOSSY_TLS: [object, RegExp][] = [
  [{ checkServerIdentity: () => undefined }, /checkServerIdentity has no counterpart/],
  [{ pfx: SECRET }, /\.pfx has/],
  [{ passphrase: SECRET, key: SECRET }, /\.passphrase has/],
  [{ minVersion: 'TLSv1.3' }, /\.minVersion has/],
  [{ maxVersion: 'TLSv1.2' }, /\.maxVersion has/],
  [{ ciphers: 'ECDHE' }, /\.ciphers has/],
  [{ crl: SECRET }, /\.crl has/],
  [{ lookup: () => {} }, /\.lookup has/],
  [{ profile: 'Unknown' }, /\.profile has/],
]

for (const [tls, message] of LOSSY_TLS) {
  test(`${inspect(Object.keys(tls))} of TLS is refused rather than lost`, (t) => {
    const redis = ioredis({ tls })
    refusal(t, () => bulkPipeline.fromIoredis(redis), 'RESPIPE_UNSUPPORTED', message)
    const client = nodeRedis({ socket: { tls: true, ...tls } as object })
    refusal(t, () => bulkPipeline.fromNodeRedis(client), 'RESPIPE_UNSUPPORTED', message)
  })
}

/** What ioredis makes of the option of that name. */
function Connector() {
  return {}
}

const fromIoredis = (options: object) => () => bulkPipeline.fromIoredis(ioredis(options))
const fromNodeRedis = (options: object) => () => bulkPipeline.fromNodeRedis(nodeRedis(options))

test('what would change where or what is written is refused rather than lost', (t) => {
  const code = 'RESPIPE_UNSUPPORTED'
  refusal(t, fromIoredis({ keyPrefix: 'app:' }), code, /keyPrefix/)
  refusal(t, fromNodeRedis({ keyPrefix: 'app:' }), code, /keyPrefix/)
  refusal(t, fromIoredis({ Connector }), code, /Connector/)
  refusal(t, fromIoredis({ tls: 'Unknown' }), code, /tls is a profile/)
  refusal(t, fromNodeRedis({ socket: { lookup: () => {} } }), code, /socket\.lookup/)
  refusal(t, fromNodeRedis({ socket: { localAddress: '127.0.0.2' } }), code, /socket\.localAddress/)
  refusal(t, fromIoredis({ username: 'u', password: () => SECRET }), code, /password is a function/)
})

test('a provider of credentials is not asked', (t) => {
  let asked = 0
  const credentials = async () => ({ username: 'u', password: `${SECRET}${++asked}` })
  const subscribe = async () => [await credentials(), { dispose() {} }]
  const providers = [
    { credentialsProvider: { type: 'async-credentials-provider', credentials } },
    { credentialsProvider: { type: 'streaming-credentials-provider', subscribe, onReAuthenticationError() {} } },
    {
      password: SECRET,
      credentialsProvider: { type: 'async-credentials-provider', credentials, another: 1 },
    },
  ]
  for (const options of providers) {
    const make = () => bulkPipeline.fromNodeRedis(nodeRedis(options as object))
    refusal(t, make, 'RESPIPE_UNSUPPORTED', /^client\.options\.credentialsProvider cannot be asked/)
  }
  t.is(asked, 0)
})

test('clients of a cluster and of Sentinel are refused with the option that is not there yet', (t) => {
  const cluster = new Cluster([{ port: 1 }], { lazyConnect: true })
  const watched = new Redis({ sentinels: [{ port: 1 }], name: 'main', password: SECRET, lazyConnect: true })
  const nodeCluster = createCluster({ rootNodes: [{ url: `redis://:${SECRET}@127.0.0.1:1` }] })
  const nodeSentinel = createSentinel({ name: 'main', sentinelRootNodes: [{ host: '127.0.0.1', port: 1 }] })
  const code = 'RESPIPE_UNSUPPORTED'
  refusal(t, () => bulkPipeline.fromIoredis(cluster as unknown as Redis), code, /the option cluster yet/)
  refusal(t, () => bulkPipeline.fromIoredis(watched), code, /the option sentinel yet/)
  refusal(
    t,
    () => bulkPipeline.fromNodeRedis(nodeCluster as unknown as NodeRedisClient),
    code,
    /the option cluster yet/,
  )
  refusal(t, () => bulkPipeline.fromNodeRedis(nodeSentinel), code, /the option sentinel yet/)
})

test('anything else is no client', (t) => {
  const redis = ioredis({ password: SECRET })
  const client = nodeRedis({ password: SECRET })
  const code = 'RESPIPE_INVALID_ARGUMENT'
  const others: unknown[] = [
    undefined,
    null,
    1,
    SECRET,
    [],
    {},
    { options: {} },
    { status: 'x' },
    () => {},
    createClientPool(),
  ]
  for (const other of others) {
    refusal(t, () => bulkPipeline.fromIoredis(other as IoredisClient), code, /^client must be a Redis of ioredis/)
    refusal(
      t,
      () => bulkPipeline.fromNodeRedis(other as NodeRedisClient),
      code,
      /^client must be one of createClient\(/,
    )
  }
  refusal(t, () => bulkPipeline.fromIoredis(client as unknown as Redis), code, /: bulkPipeline\.fromNodeRedis takes/)
  refusal(t, () => bulkPipeline.fromNodeRedis(redis as unknown as NodeRedisClient), code, /: bulkPipeline\.fromIoredis/)
})

test('what does not fit is refused in the words of the options', (t) => {
  const code = 'RESPIPE_INVALID_OPTION'
  const redis = ioredis({ connectionName: 'my job', password: SECRET })
  refusal(t, () => bulkPipeline.fromIoredis(redis), code, /^the client's clientName must be printable ASCII/)
  const keyed = ioredis({ tls: { key: [SECRET, SECRET], cert: SECRET } })
  refusal(t, () => bulkPipeline.fromIoredis(keyed), code, /^the client's tls\.key must be PEM.*got an array$/)
  const numbered = ioredis({ password: 5 as unknown as string })
  refusal(t, () => bulkPipeline.fromIoredis(numbered), code, /^the client's password must be .*got a number$/)
  const secured = nodeRedis({ socket: { tls: true, path: '/x.sock' } as object })
  refusal(t, () => bulkPipeline.fromNodeRedis(secured), code, /^tls goes with a host, not with a unix socket/)
  const plain = ioredis({ password: SECRET })
  const url = `redis://:${SECRET}@h`
  refusal(t, () => bulkPipeline.fromIoredis(plain, { url } as object), code, /^url is given beside a client/)
  refusal(t, () => bulkPipeline.fromIoredis(plain, url as unknown as object), code, /^options must be an object/)
  refusal(t, () => bulkPipeline.fromIoredis(plain, { prot: 1 } as object), code, /did you mean port/)
})
