// The least that a user has to be permitted, by what the options ask for: with exactly that a load
// succeeds, and without any one of it what is told names that.
import test, { type ExecutionContext } from 'ava'
import { Redis } from 'ioredis'

import type { BulkPipelineOptions } from '../index.js'
import { bulkFor, rejection, resolution } from './helpers/outcomes.ts'
import { startServer } from './helpers/server.ts'

const PASSWORD = 'acl-secret'
const BATCHES = 5

interface Row {
  what: string
  options: BulkPipelineOptions
  /** Beside SET, which is what is loaded; each with the code and the text under which its lack is told. */
  permissions: Record<string, [code: string, text: RegExp]>
  /** What works with all of them; otherwise `loads`. */
  script?: (t: ExecutionContext, place: Place) => Promise<void>
  /** What happens without one of them; otherwise `refused`. */
  without?: (t: ExecutionContext, place: Place, told: [code: string, text: RegExp]) => Promise<void>
}

interface Place {
  /** Of the user with exactly the permissions of the row. */
  options: BulkPipelineOptions
  admin: Redis
}

const ECHO: Row['permissions'] = { '+echo': ['RESPIPE_AUTH', /the user needs the permission \+echo: NOPERM/] }

const ROWS: Row[] = [
  { what: 'check', options: {}, permissions: ECHO },
  { what: 'collect', options: { replies: 'collect' }, permissions: ECHO },
  {
    what: 'transaction',
    options: { transaction: true },
    permissions: { ...ECHO, '+multi': ['NOPERM', /'multi'/], '+exec': ['EXECABORT', /NOPERM .*'exec'/] },
  },
  { what: 'reconnectEvery', options: { reconnectEvery: 1 }, permissions: ECHO },
  { what: 'a db', options: { db: 3 }, permissions: { ...ECHO, '+select': ['RESPIPE_AUTH', /SELECT: NOPERM/] } },
  {
    what: 'a clientName',
    options: { clientName: 'etl' },
    permissions: { ...ECHO, '+client|setname': ['RESPIPE_AUTH', /CLIENT SETNAME: NOPERM/] },
  },
  { what: 'query', options: {}, permissions: ECHO, script: looks },
]

for (const { what, options, permissions, script = loads, without = refused } of ROWS) {
  const needed = Object.keys(permissions)

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
  const { options, admin } = await placeFor(t, {}, ['+echo'])
  await admin.acl('LOG', 'RESET')
  await loads(t, { options, admin })
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
  t.is(await admin.dbsize(), 10 * BATCHES)
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
  const admin = new Redis({ port: server.port, db: wanted.db ?? 0 })
  t.teardown(() => admin.disconnect())
  await admin.acl('SETUSER', 'loader', 'reset', 'on', `>${PASSWORD}`, '~*', '-@all', '+set', ...permissions)
  return { options: { port: server.port, username: 'loader', password: PASSWORD, ...wanted }, admin }
}
