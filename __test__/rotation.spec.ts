// Connections that change after so many batches: nothing is lost, nothing waits, nothing stays behind.

import test from './helpers/test.ts'
import type { Socket } from 'node:net'
import { watchedFor } from './helpers/loads.ts'
import { bulkFor, until } from './helpers/outcomes.ts'
import { keepsOrder, leavesNothing, MODES, PATIENT, rotates } from './helpers/rotations.ts'
import { scriptedFor } from './helpers/scripted.ts'

for (const [what, options] of MODES) {
  test(`${what}: 100 batches over 10 connections`, (t) => rotates(t, options, 100))
}

test('automatic batches count', async (t) => {
  const { client, port } = await watchedFor(t)
  const bulk = bulkFor(t, { port, reconnectEvery: 5, autoExec: { commands: 100 }, ...PATIENT })
  for (let index = 0; index < 10_000; index++) bulk.rpush('list', index)
  const { succeeded, batches, reconnects } = await bulk.close()
  t.deepEqual([succeeded, batches], [10_000, 100])
  // The last one had its share as well, and its successor may be there by now.
  t.true(reconnects === 19 || reconnects === 20, `${reconnects}`)
  const list = await client.lrange('list', 0, -1)
  t.true(
    list.every((value, index) => value === String(index)),
    'in order',
  )
})

for (const [mode, options] of [
  ['check', {}],
  ['transactions', { transaction: true }],
  ['off', { replies: 'off' }],
] as const) {
  test(`${mode}: what is written to the next connection comes behind all of the one before`, (t) =>
    keepsOrder(t, options, { batches: 40, large: 3_000 }))
}

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

onLinux('500 rotations leave no descriptor and no thread behind', (t) => leavesNothing(t, 500))

test('the old connection ends with nothing unread', async (t) => {
  // A socket that is closed with unread bytes is reset, and the peer hears of it.
  const resets: Error[] = []
  const heard = new Set<Socket>()
  const scripted = await scriptedFor(t, (_command, socket) => {
    if (!heard.has(socket)) socket.on('error', (error) => resets.push(error))
    heard.add(socket)
    return undefined
  })
  const bulk = bulkFor(t, { port: scripted.port, reconnectEvery: 2, ...PATIENT })
  for (let batch = 0; batch < 20; batch++) await bulk.set('key', batch).exec()
  // The last one had its share as well: its successor stands ready.
  await until(() => bulk.stats().reconnects === 10)
  const { succeeded, reconnects } = await bulk.close()
  t.deepEqual([succeeded, reconnects], [20, 10])
  await until(() => scripted.sockets.size === 0)
  t.is(heard.size, 11)
  t.deepEqual(resets, [])
})
