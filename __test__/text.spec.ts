// Text of every kind and length, in every mix: each kind is converted by another way, and they meet at every place.

import test from './helpers/test.ts'

import { bulkFor } from './helpers/outcomes.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

/** One to four bytes in UTF-8; the last is a pair of surrogates. */
const KINDS = ['a', 'é', '東', '😀']

/** Where a converter changes its way, or works on the last of a text. */
const LENGTHS = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65]
const LONG = [341, 342, 999, 1000, 1023, 1024, 1025, 4094, 4095, 4096, 30_000]

function* mixes(): Generator<string> {
  for (const first of KINDS) {
    for (const second of KINDS) {
      for (const before of LENGTHS) {
        for (const behind of LENGTHS) {
          yield first.repeat(before) + second.repeat(behind) + first
          yield (first + second).repeat(before) + second.repeat(behind)
        }
      }
      for (const length of LONG) yield first.repeat(length) + second
    }
  }
}

test('texts of all kinds arrive as UTF-8, wherever the kinds meet', async (t) => {
  const texts = [...mixes()]
  const bulk = bulkFor(t, { port: server.port })
  texts.forEach((text, number) => bulk.rpush('texts', text).set(text, number))
  const { succeeded, failed } = await bulk.close()
  t.deepEqual([succeeded, failed], [2 * texts.length, 0])
  const arrived = await client.lrangeBuffer('texts', 0, -1)
  t.is(arrived.length, texts.length)
  const wrong = texts.filter((text, number) => !Buffer.from(text).equals(arrived[number]!))
  t.deepEqual(wrong.slice(0, 3), [])
})

test('half of a surrogate pair is refused at every place', (t) => {
  const bulk = bulkFor(t, { port: server.port })
  for (const half of ['\ud83d', '\ude00']) {
    for (const kind of KINDS) {
      for (let before = 0; before < 40; before++) {
        for (const behind of LENGTHS) {
          const text = kind.repeat(before) + half + 'a'.repeat(behind)
          t.throws(() => bulk.set('key', text), { code: 'RESPIPE_INVALID_ARGUMENT' })
        }
      }
    }
  }
  t.is(bulk.length, 0)
})
