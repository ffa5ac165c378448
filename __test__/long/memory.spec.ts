// Memory, as growth over rounds: what a pipeline holds is what stats() says, and what it lets go of is there for the next
// one. Nobody answers, so that all of it stays. The batches are not small: a promise and what becomes of it take some 3 KB
// for each of them.

import test, { type ExecutionContext } from '../helpers/test.ts'
import { once } from 'node:events'
import net from 'node:net'

import { clientOf, serverFor } from '../helpers/loads.ts'
import { bulkFor, resolution } from '../helpers/outcomes.ts'
import { runScript } from '../helpers/rss.ts'

/** Of what is held: segments are not filled to the last byte. */
const SHARE = 1.25

/** Beyond that, from one round to a later one: spare and half-filled segments, and the grain of the allocator. */
const MARGIN = 16e6

const nobody = net.createServer(() => {}).listen(0, '127.0.0.1')
await once(nobody, 'listening')
test.after.always(() => nobody.close())

/** In each round appends this until so many bytes are held, and lets go of it. Tells by how much the memory grew. */
const source = (append: string) => `
  import { bulkPipeline } from './index.js'
  const { port, batch, rounds } = JSON.parse(process.argv[1])
  const big = 'x'.repeat(300_000)
  const text = 'ä'.repeat(500)
  const settled = () => { gc(); gc(); return process.memoryUsage.rss() }
  const round = async (most) => {
    const bulk = bulkPipeline({ port, maxBufferedBytes: 2 ** 30, connectTimeoutMs: 1_000_000 })
    const held = []
    for (let row = 0; ; row++) {
      ${append}
      if (row % batch !== 0) continue
      held.push(bulk.exec())
      const { bufferedBytes, inFlightBytes } = bulk.stats()
      if (bufferedBytes + inFlightBytes > most) break
    }
    const { bufferedBytes, inFlightBytes } = bulk.stats()
    const grown = settled() - before
    bulk.destroy()
    await Promise.allSettled(held)
    await bulk.close()
    return { told: bufferedBytes + inFlightBytes, grown }
  }
  let before = 0
  // The code is compiled, and the runtime is there.
  await round(2e6)
  before = settled()
  const found = []
  for (const most of rounds) found.push(await round(most))
  console.log(JSON.stringify(found))
`

interface Round {
  told: number
  grown: number
}

async function roundsOf(t: ExecutionContext, append: string, batch: number, rounds: number[]): Promise<Round[]> {
  const { port } = nobody.address() as net.AddressInfo
  const run = await runScript(
    { source: source(append) },
    { args: [JSON.stringify({ port, batch, rounds })], nodeArgs: ['--expose-gc'] },
  )
  t.is(run.code, 0, run.stderr)
  const found = JSON.parse(run.stdout) as Round[]
  t.log(found.map(({ told, grown }) => `${told} bytes told, ${grown} more in use`).join('; '))
  return found
}

for (const [title, batch, append] of [
  ['short commands', 5_000, "bulk.hset('user:' + row, 'name', 'name ' + row)"],
  ['commands of 1 kB, not ASCII', 1_000, 'bulk.set(row, text)'],
  ['commands larger than a segment', 10, 'bulk.set(row, big)'],
] as const) {
  test(`memory grows by as much as stats() does: ${title}`, async (t) => {
    const rounds = await roundsOf(t, append, batch, [32e6, 32e6, 64e6, 96e6, 128e6, 160e6])
    // What the outcomes of the first took counts for the others as well.
    const [second, last] = [rounds[1]!, rounds.at(-1)!]
    const [told, grown] = [last.told - second.told, last.grown - second.grown]
    t.true(told >= 120e6)
    t.true(grown < SHARE * told + MARGIN, `${grown} bytes more in use where ${told} more are told`)
  })

  test(`what is let go of is there for the next round: ${title}`, async (t) => {
    const rounds = await roundsOf(
      t,
      append,
      batch,
      Array.from({ length: 12 }, () => 48e6),
    )
    const [second, last] = [rounds[1]!, rounds.at(-1)!]
    t.true(last.grown < second.grown + MARGIN, `${last.grown} bytes in use where it were ${second.grown} before`)
  })
}

test('fault 20: what the server holds does not grow with what is read', async (t) => {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  await client.set('large', 'x'.repeat(10_000))
  const bulk = bulkFor(t, { port: server.port, maxInFlightBytes: 2_048 })
  const peaks: number[] = []
  for (const count of [1_000, 5_000, 20_000]) {
    for (let i = 0; i < count; i++) bulk.get('large')
    t.is((await resolution(t, bulk.exec())).succeeded, count)
    peaks.push(Number(/used_memory_peak:(\d+)/.exec(await client.info('memory'))![1]))
  }
  t.log(`${peaks.join(', ')} bytes at most`)
  // A window is 850 kB of replies; that of the first round may not have been seen whole.
  t.true(peaks.at(-1)! < peaks[0]! + 2e6)
})
