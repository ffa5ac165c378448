// The largest inputs there are, and what it costs to refuse them: beyond what the input itself takes.

import test from '../helpers/test.ts'
import { constants } from 'node:buffer'
import { runScript } from '../helpers/rss.ts'

/** Runs `refusals` five times; resolves to what the first of them added to the memory, and what each one did at least. */
async function cost(make: string, refusals: string) {
  const source = `
    import assert from 'node:assert'
    import { bulkPipeline } from './index.mjs'
    ${make}
    const rounds = [process.memoryUsage.rss()]
    for (let round = 0; round < 5; round++) {
      ${refusals}
      assert.equal(bulk.length, 0)
      gc()
      rounds.push(process.memoryUsage.rss())
    }
    const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
    console.log(JSON.stringify({ first: growths[0], least: Math.min(...growths.slice(1)) }))
  `
  const { code, stdout, stderr, peakRss } = await runScript({ source }, { nodeArgs: ['--expose-gc'] })
  return { code, stderr, peakRss: peakRss!, ...(JSON.parse(stdout || '{}') as { first: number; least: number }) }
}

test('4.1 row 43: the longest string there is does not fit the buffer, and is not copied', async (t) => {
  const { code, stderr, first, least } = await cost(
    `
      const bulk = bulkPipeline()
      const longest = 'x'.repeat(${constants.MAX_STRING_LENGTH})
      // In one piece before it is measured.
      longest.charCodeAt(1)
    `,
    `for (const append of [() => bulk.set('k', longest), () => bulk.sadd('k', ['a', longest])]) {
      assert.throws(append, { code: 'RESPIPE_BUFFER_FULL' })
    }`,
  )
  t.is(code, 0, stderr)
  t.true(first < 0.3 * constants.MAX_STRING_LENGTH, String(first))
  t.true(least < 2e6, String(least))
})

test('4.1 row 44: text of more than 512 MiB in UTF-8 is refused, though it has fewer characters', async (t) => {
  const { code, stderr, least } = await cost(
    `
      const bulk = bulkPipeline({ maxBufferedBytes: 2 ** 31 })
      const long = '€'.repeat(Math.ceil(2 ** 29 / 3) + 1)
      const error = { code: 'RESPIPE_INVALID_ARGUMENT', message: /argument 2 of set is longer than 512 MiB/ }
    `,
    `assert.throws(() => bulk.set('k', long), error)`,
  )
  t.is(code, 0, stderr)
  t.true(least < 2e6, String(least))
})

test('4.1 row 45: a command of many arguments is given up as soon as it exceeds the buffer', async (t) => {
  const { code, stderr, first, least } = await cost(
    `
      const bulk = bulkPipeline({ maxBufferedBytes: 1e6 })
      const many = Array(500_000).fill('x'.repeat(4_000))
    `,
    `assert.throws(() => bulk.rpush('k', many), { code: 'RESPIPE_BUFFER_FULL' })`,
  )
  t.is(code, 0, stderr)
  // All of them are 2 GB.
  t.true(first < 100e6, String(first))
  t.true(least < 2e6, String(least))
})
