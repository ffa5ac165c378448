// Commands that the table says can be repeated, on a real server: any number of them and then all of them again leave
// the same data as all of them once. RESPIPE_SEED draws others.

import test from './helpers/test.ts'
import {
  ANY,
  areRepeatable,
  areRepeated,
  commandsOf,
  dataAfter,
  effectOf,
  type Entry,
  FAMILIES,
  table,
  words,
} from './helpers/repeats.ts'
import { sharedServer } from './helpers/shared.ts'

const { client } = await sharedServer()

const writes = ({ effect, words: options }: Entry) =>
  [effect, ...options.values()].some((one) => one !== 'Nothing' && one !== 'Once')

test('every command that writes and can be repeated is tried', (t) => {
  const tried = new Set(
    [...ANY, ...Object.values(FAMILIES).flatMap(({ commands }) => commands)].map((line) => words(line)[0]),
  )
  t.deepEqual(
    [...table].filter(([name, entry]) => writes(entry) && !tried.has(name)).map(([name]) => name),
    [],
  )
})

// One after the other: each has the whole of the database.

for (const [name, family] of Object.entries(FAMILIES)) {
  test.serial(`${name}: each command leaves the same the second time`, async (t) => {
    for (const line of await commandsOf(client, family)) {
      t.not(effectOf(words(line)), 'Once', line)
      for (const before of [[], ...family.before.map((one) => [one]), family.before]) {
        const once = await dataAfter(client, family, [...before, line])
        t.is(await dataAfter(client, family, [...before, line, line]), once, [...before, line].join('; '))
      }
    }
  })

  test.serial(`${name}: any number of commands, and then all of them again, leave what all leave once`, async (t) => {
    await areRepeated(client, family, 150)
    t.pass()
  })
}

test.serial('commands that can be repeated each leave something else in an order that is not allowed', async (t) => {
  const orders: [family: string, ...lines: string[]][] = [
    ['hash', 'EXPIRE k 1000', 'HSET k f 1'],
    ['string', 'SET k a XX', 'SET k b NX'],
    ['zset', 'ZADD k XX 1 m', 'ZADD k NX 2 m'],
  ]
  for (const [name, ...lines] of orders) {
    t.false(areRepeatable(lines.map((line) => effectOf(words(line)))), lines.join('; '))
    const once = await dataAfter(client, FAMILIES[name]!, lines)
    t.not(await dataAfter(client, FAMILIES[name]!, [...lines, ...lines]), once, lines.join('; '))
  }
})
