// What a pipeline holds is what stats() says: nobody answers, so that all of it stays. The batches are not small: a promise
// and what becomes of it take some 3 KB for each of them.

import test from './helpers/test.ts'
import { once } from 'node:events'
import net from 'node:net'

import { runScript } from './helpers/rss.ts'

/** Of what is held: segments are not filled to the last byte. */
const SHARE = 1.25

/** Beyond that: spare and half-filled segments, the runtime, and the grain of the allocator. */
const MARGIN = 8e6

const nobody = net.createServer(() => {}).listen(0, '127.0.0.1')
await once(nobody, 'listening')
test.after.always(() => nobody.close())

/** Appends this until 48 MB are held, and lets go of it; three times. Tells by how much the memory grew. */
const source = (append: string) => `
  import { bulkPipeline } from './index.js'
  const { port, batch } = JSON.parse(process.argv[1])
  const big = 'x'.repeat(300_000)
  const text = 'ä'.repeat(500)
  const settled = () => { gc(); gc(); return process.memoryUsage.rss() }
  const make = () => bulkPipeline({ port, maxBufferedBytes: 2 ** 30, connectTimeoutMs: 60_000 })
  const fill = (bulk, most) => {
    const held = []
    for (let row = 0; ; row++) {
      ${append}
      if (row % batch !== 0) continue
      held.push(bulk.exec())
      const { bufferedBytes, inFlightBytes } = bulk.stats()
      if (bufferedBytes + inFlightBytes > most) break
    }
    for (const promise of held) promise.catch(() => {})
  }
  // The code is compiled, and the runtime is there.
  const first = make()
  fill(first, 2e6)
  first.destroy()
  await new Promise((resolve) => setTimeout(resolve, 100))
  const before = settled()
  const rounds = []
  for (let round = 0; round < 3; round++) {
    const bulk = make()
    fill(bulk, 48e6)
    const { bufferedBytes, inFlightBytes } = bulk.stats()
    rounds.push({ told: bufferedBytes + inFlightBytes, grown: settled() - before })
    bulk.destroy()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  console.log(JSON.stringify(rounds))
`

interface Round {
  told: number
  grown: number
}

for (const [title, batch, append] of [
  ['short commands', 5_000, "bulk.hset('user:' + row, 'name', 'name ' + row)"],
  ['commands of 1 kB, not ASCII', 1_000, 'bulk.set(row, text)'],
  ['commands larger than a segment', 10, 'bulk.set(row, big)'],
] as const) {
  test(`what is held is what stats() says: ${title}`, async (t) => {
    const { port } = nobody.address() as net.AddressInfo
    const run = await runScript(
      { source: source(append) },
      { args: [JSON.stringify({ port, batch })], nodeArgs: ['--expose-gc'] },
    )
    t.is(run.code, 0, run.stderr)
    const rounds = JSON.parse(run.stdout) as Round[]
    t.log(rounds.map(({ told, grown }) => `${told} bytes told, ${grown} more in use`).join('; '))
    const [{ told, grown }, second, third] = rounds as [Round, Round, Round]
    t.true(told >= 48e6)
    t.true(grown < SHARE * told + MARGIN, `${grown} bytes in use where ${told} are told`)
    // What the outcomes of the first took counts for the others as well.
    t.true(third.grown < second.grown + MARGIN, `${third.grown} bytes in use where it were ${second.grown} before`)
  })
}
