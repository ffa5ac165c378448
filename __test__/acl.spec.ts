// The least that a user has to be permitted, by what the options ask for: with exactly that a load
// succeeds, and without any one of it what is told names that.
import test, { type ExecutionContext } from './helpers/test.ts'
import { Redis } from 'ioredis'

import type { BulkPipelineOptions } from '../index.js'
import { proxyFor } from './helpers/loads.ts'
import { bulkFor, rejection, resolution, until } from './helpers/outcomes.ts'
import { type Server, startServer } from './helpers/server.ts'

const PASSWORD = 'acl-secret'
const BATCHES = 5

interface Row {
  what: string
  options: BulkPipelineOptions
  /** What it needs too, and other rows show the lack of. */
  besides?: string[]
  /** Beside SET, which is what is loaded; each with the code and the text under which its lack is told. */
  permissions: Record<string, [code: string, text: RegExp]>
  /** What works with all of them; otherwise `loads`. */
  script?: (t: ExecutionContext, place: Place) => Promise<void>
  /** What happens without one of them; otherwise `refused`. */
  without?: (t: ExecutionContext, place: Place, told: [code: string, text: RegExp]) => Promise<void>
}

interface Place {
  server: Server
  /** Of the user with exactly the permissions of the row. */
  options: BulkPipelineOptions
  admin: Redis
}

const ECHO: Row['permissions'] = { '+echo': ['RESPIPE_AUTH', /the user needs the permission \+echo: NOPERM/] }

const CHECKPOINT = { checkpoint: 'load:checkpoint' }
const CHECKPOINT_NEEDS = ['+echo', '+multi', '+exec', '+hset', '+hgetall']

const ROWS: Row[] = [
  { what: 'check', options: {}, permissions: ECHO },
  { what: 'collect', options: { replies: 'collect' }, permissions: ECHO },
  {
    what: 'transaction',
    options: { transaction: true },
    permissions: { ...ECHO, '+multi': ['NOPERM', /'multi'/], '+exec': ['EXECABORT', /NOPERM .*'exec'/] },
  },
  { what: 'reconnectEvery', options: { reconnectEvery: 1 }, permissions: ECHO },
  {
    what: 'reconnectEvery without a pause',
    options: { reconnectEvery: 2 },
    besides: ['+echo'],
    permissions: { '+info': ['', /./], '+wait': ['', /./], '+client|unblock': ['', /./] },
    script: (t, place) => changesConnections(t, place, 'at work'),
    without: (t, place) => changesConnections(t, place, 'idle'),
  },
  { what: 'a db', options: { db: 3 }, permissions: { ...ECHO, '+select': ['RESPIPE_AUTH', /SELECT: NOPERM/] } },
  {
    what: 'a clientName',
    options: { clientName: 'etl' },
    permissions: { ...ECHO, '+client|setname': ['RESPIPE_AUTH', /CLIENT SETNAME: NOPERM/] },
  },
  { what: 'query', options: {}, permissions: ECHO, script: looks },
  {
    what: 'off',
    options: { replies: 'off' },
    permissions: {
      ...ECHO,
      '+client|reply': ['RESPIPE_AUTH', /with replies: 'off' the user needs the permission \+client\|reply: NOPERM/],
    },
    script: loadsInSilence,
  },
  {
    what: 'off in transactions',
    options: { replies: 'off', transaction: true },
    permissions: {
      ...ECHO,
      '+client|reply': ['RESPIPE_AUTH', /\+client\|reply: NOPERM/],
      '+multi': ['RESPIPE_AUTH', /needs MULTI: NOPERM/],
      '+exec': ['RESPIPE_AUTH', /needs EXEC: NOPERM/],
    },
    script: loadsInSilence,
  },
  {
    what: 'the count of errors that goes with off',
    options: { replies: 'off' },
    besides: ['+echo', '+client|reply'],
    permissions: { '+info': ['', /null/] },
    script: (t, place) => loadsInSilence(t, place, 0),
    without: (t, place) => loadsInSilence(t, place, null),
  },
  {
    what: 'waitReplicas',
    options: { waitReplicas: { count: 1, timeoutMs: 20 } },
    besides: ['+echo'],
    permissions: { '+wait': ['RESPIPE_AUTH', /waitReplicas needs WAIT: NOPERM/] },
    script: asksForReplicas,
    // The load itself goes on without it.
    without: asksForReplicas,
  },
  {
    what: 'checkpoint',
    options: CHECKPOINT,
    permissions: {
      ...ECHO,
      '+multi': ['RESPIPE_AUTH', /a batch was refused: NOPERM .*'multi'/],
      '+exec': ['RESPIPE_AUTH', /a batch was refused: .*NOPERM .*'exec'/],
      '+hset': ['RESPIPE_AUTH', /checkpoint needs HSET: NOPERM/],
      '+hgetall': ['RESPIPE_AUTH', /checkpoint needs HGETALL: NOPERM/],
    },
  },
  {
    what: 'checkpoint that another process continues',
    options: CHECKPOINT,
    besides: CHECKPOINT_NEEDS,
    permissions: {
      '+hdel': ['RESPIPE_AUTH', /checkpoint needs HDEL: NOPERM/],
      '+client|info': ['RESPIPE_AUTH', /written by another connection, which cannot be ended: .*\(CLIENT INFO\)/],
      '+client|kill': [
        'RESPIPE_AUTH',
        /written by another connection, which cannot be ended: .*\+client\|kill: NOPERM/,
      ],
    },
    script: continues,
    without: continues,
  },
  {
    what: 'sending again after a stall of our own',
    options: {},
    besides: ['+echo'],
    permissions: { '+client|info': ['', /./], '+client|kill': ['', /./] },
    script: sendsAgain,
    without: leavesUnknown,
  },
  {
    what: 'the same by run_id',
    options: {},
    besides: ['+echo'],
    permissions: { '+info': ['', /./], '+client|kill': ['', /./] },
    script: sendsAgain,
    without: leavesUnknown,
  },
  {
    what: 'checkpoint after a stall of our own',
    options: CHECKPOINT,
    besides: CHECKPOINT_NEEDS,
    permissions: {
      '+client|info': ['RESPIPE_AUTH', /the connection before cannot be ended, as checkpoint needs: .*\(CLIENT INFO\)/],
      '+client|kill': [
        'RESPIPE_AUTH',
        /the connection before cannot be ended, as checkpoint needs: .*\+client\|kill: NOPERM/,
      ],
    },
    script: sendsAgain,
    without: sendsAgain,
  },
]

for (const { what, options, permissions, besides = [], script = loads, without = refused } of ROWS) {
  const needed = [...besides, ...Object.keys(permissions)]

  test(`${what}: ${needed.join(' ')} will do`, async (t) => {
    await script(t, await placeFor(t, options, needed))
  })

  for (const [missing, told] of Object.entries(permissions)) {
    test(`${what}: without ${missing} that is told`, async (t) => {
      const rest = needed.filter((permission) => permission !== missing)
      await without(t, await placeFor(t, options, rest), told)
    })
  }
}

test('with no permission but the least, three refusals a login are all that the server notes', async (t) => {
  const place = await placeFor(t, {}, ['+echo'])
  const { admin } = place
  await admin.acl('LOG', 'RESET')
  await loads(t, place)
  const log = (await admin.acl('LOG')) as unknown as string[][]
  const denied = log.map((entry) => entry[entry.indexOf('object') + 1])
  // The newest first.
  t.deepEqual(denied, ['info', 'client|info', 'ping'])
})

/** Batch after batch; all of it arrives. */
async function loads(t: ExecutionContext, { options, admin }: Place) {
  const bulk = bulkFor(t, options)
  for (let batch = 0; batch < BATCHES; batch++) {
    for (let i = 0; i < 10; i++) bulk.set(`key:${batch}:${i}`, i)
    const { succeeded, failed } = await resolution(t, bulk.exec())
    t.deepEqual([succeeded, failed], [10, 0])
  }
  const { succeeded, reconnects } = await bulk.close()
  t.is(succeeded, 10 * BATCHES)
  t.is(reconnects > 0, options.reconnectEvery !== undefined)
  t.is(await admin.dbsize(), 10 * BATCHES + (options.checkpoint ? 1 : 0))
}

/** Whether the connection before is let go while it still is at work. */
async function changesConnections(t: ExecutionContext, place: Place, before: 'at work' | 'idle') {
  const { server, admin } = place
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { ...place.options, port: proxy.port })
  // The proxy has its turn once all of it is executed: no connection waits for work.
  // The last connection has less than its share: nobody takes over from it.
  for (let batch = 0; batch < 31; batch++) {
    for (let i = 0; i < 100; i++) bulk.set(`key:${batch}:${i}`, i)
    void bulk.exec()
  }
  const { succeeded, reconnects } = await resolution(t, bulk.close())
  t.is(succeeded, 3_100)
  t.is(reconnects, 15)
  t.is(await admin.dbsize(), 3_100)
  const unblocked = Number(/cmdstat_client\|unblock:calls=(\d+)/.exec(await admin.info('commandstats'))?.[1] ?? 0)
  // Once it is tried whether that is possible.
  if (before === 'idle') t.true(unblocked <= 1, `${unblocked} times`)
  else t.is(unblocked, 1 + reconnects)
}

async function loadsInSilence(t: ExecutionContext, { options, admin }: Place, errors: number | null = null) {
  const bulk = bulkFor(t, options)
  for (let i = 0; i < 10; i++) bulk.set(`key:${i}`, i)
  t.like(await resolution(t, bulk.close()), { unknown: 10, serverErrorReplies: errors })
  t.is(await admin.dbsize(), 10)
}

/** There is none. */
async function asksForReplicas(
  t: ExecutionContext,
  { options }: Place,
  [code, text]: [string, RegExp] = ['RESPIPE_REFUSED', /only 0 of 1 replicas/],
) {
  const error = await rejection(t, bulkFor(t, options).set('key', 'value').close(), code)
  t.regex(error.message, text)
  t.like(error.outcome, { succeeded: 1 })
}

async function continues(t: ExecutionContext, { options }: Place, told?: [string, RegExp]) {
  await bulkFor(t, options).set('key', 1).exec()
  const next = bulkFor(t, options)
  if (told) {
    const error = await t.throwsAsync(next.lastCheckpoint(), { code: told[0] })
    t.regex(error!.message, told[1])
  } else {
    t.deepEqual(await next.lastCheckpoint(), { batch: 1 })
  }
}

/** Nothing is heard of a batch until its connection is given up. */
async function stalls(t: ExecutionContext, { server, options }: Place) {
  const proxy = await proxyFor(t, server)
  const bulk = bulkFor(t, { ...options, port: proxy.port, stallTimeoutMs: 1_000 })
  // The last that is said before the data is written.
  const last = options.checkpoint ? 'MULTI' : 'ECHO'
  const fault = proxy.at({ replyTo: last, connection: 1 }, () => until(() => proxy.connections > 1))
  return { bulk, executed: bulk.set('key', 1).exec(), fault }
}

async function sendsAgain(t: ExecutionContext, place: Place, told?: [string, RegExp]) {
  const { bulk, executed, fault } = await stalls(t, place)
  if (told) {
    const error = await rejection(t, executed, told[0])
    await fault.happened
    t.regex(error.message, told[1])
    t.like(error.outcome, { unknown: 1 })
    return
  }
  t.like(await resolution(t, executed), { succeeded: 1 })
  await fault.happened
  const { succeeded, reconnects, resent } = await bulk.set('key', 2).close()
  t.is(succeeded, 2)
  t.true(reconnects >= 1 && (resent >= 1 || place.options.checkpoint !== undefined), `${reconnects}, ${resent}`)
  t.is(await place.admin.get('key'), '2')
}

async function leavesUnknown(t: ExecutionContext, place: Place) {
  const { bulk, executed, fault } = await stalls(t, place)
  t.like(await resolution(t, executed), { succeeded: 0, unknown: 1 })
  await fault.happened
  t.like(await bulk.set('key', 2).close(), { succeeded: 1, unknown: 1, resent: 0 })
  t.is(await place.admin.get('key'), '2')
}

/** Nothing arrives: the login fails, or each command does. */
async function refused(t: ExecutionContext, { options, admin }: Place, [code, text]: [string, RegExp]) {
  const bulk = bulkFor(t, { ...options, retry: { firstConnect: 0, attempts: 0 } })
  const executed = bulk.set('key', 'value').exec()
  if (code.startsWith('RESPIPE_')) {
    const { message } = await rejection(t, executed, code)
    t.regex(message, text)
  } else {
    const { failures } = await resolution(t, executed)
    t.deepEqual(
      failures.map((failure) => failure.code),
      [code],
    )
    t.regex(failures[0]!.message, text)
  }
  t.is(await admin.exists('key'), 0)
}

async function looks(t: ExecutionContext, { options }: Place) {
  const bulk = bulkFor(t, options)
  t.is(await bulk.query('SET', 'key', 'value'), 'OK')
}

/** A server, and a user on it who may do just that. */
async function placeFor(t: ExecutionContext, wanted: BulkPipelineOptions, permissions: string[]): Promise<Place> {
  const server = await startServer()
  t.teardown(() => server.stop())
  const admin = new Redis({ port: server.port, db: wanted.db ?? 0, disableClientInfo: true })
  t.teardown(() => admin.disconnect())
  await admin.acl('SETUSER', 'loader', 'reset', 'on', `>${PASSWORD}`, '~*', '-@all', '+set', ...permissions)
  return { server, options: { port: server.port, username: 'loader', password: PASSWORD, ...wanted }, admin }
}
