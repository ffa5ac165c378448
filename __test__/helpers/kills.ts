// Loads that lose their connections, or their process.

import type { ExecutionContext } from 'ava'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { spawnKept } from './children.ts'
import { clientOf, proxyFor, serverFor } from './loads.ts'
import { randomNumbers, until } from './outcomes.ts'
import { inOrder } from './rows.ts'
import { waitingFor } from './test.ts'

/** Ends all connections of a server but that of `client`. */
export function killOthers(client: Redis): Promise<unknown> {
  return client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
}

interface Kills {
  rounds: number
  /** Rows of the load. */
  count: number
  seed: number
}

/** Kills a process that loads with a checkpoint, and starts it again, until the last one may end: each row is there once. */
export async function resumesAfterKills(t: ExecutionContext, { rounds, count, seed }: Kills): Promise<void> {
  const server = await serverFor(t)
  const client = clientOf(t, server)
  const proxy = await proxyFor(t, server)
  const script = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]), checkpoint: 'progress' })
    async function* rows() {
      for (let at = 0; at < ${count}; at++) {
        if (at % 100 === 0) await new Promise(setImmediate)
        yield { at }
      }
    }
    await bulk.load(rows(), 'RPUSH list {at}', { resume: true })
    await bulk.close()
  `
  const start = () =>
    spawnKept(process.execPath, ['--input-type=module', '--eval', script, '--', String(proxy.port)], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  const random = randomNumbers(seed)
  let midway = 0
  for (let round = 0; round < rounds; round++) {
    // Behind some row, behind what makes a batch of them last, and before the first row: in the login, or where the
    // process asks how far the load is.
    const [row, batch, byte] = [random(count / rounds), random(3), random(600)]
    const position = [
      { command: 'RPUSH', nth: 1 + row },
      { command: 'EXEC', nth: 1 + batch },
      { command: 'RPUSH', nth: 1 + row },
      { bytes: byte },
    ][round % 4]!
    const killed = proxy.at(position, async () => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    })
    const child = start()
    await killed.happened
    // The server has got all that it will get of this process.
    await until(() => proxy.open === 0)
    const list = await client.lrange('list', 0, -1)
    t.true(inOrder(list), `round ${round}`)
    if (list.length > 0 && list.length < count) midway++
  }
  t.true(midway > 0)
  t.deepEqual(await waitingFor('the last process', once(start(), 'exit')), [0, null])
  const list = await client.lrange('list', 0, -1)
  t.is(list.length, count)
  t.true(inOrder(list))
}

export const KINDS = ['sync', 'async', 'written', 'broken', 'refused'] as const

/**
 * An ES module that loads from each kind of source, or from one, in rounds of so many rows. Its arguments are a port, and
 * that kind. It prints by kind what became of the last round, and how many bytes of memory there were behind each.
 */
export function loadsOfKinds(count: number, rounds: number): string {
  return `
    import { Readable } from 'node:stream'
    import { pipeline } from 'node:stream/promises'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: Number(process.argv[1]) })
    function* rows() {
      for (let at = 0; at < ${count}; at++) yield { at, key: 'key:' + (at % 100), value: 'value ' + at }
    }
    async function* later() { yield* rows() }
    const written = async () => {
      const stream = bulk.writable('SET {key} {value}')
      await pipeline(Readable.from(rows()), stream)
      return stream.summary
    }
    const kinds = {
      sync: () => bulk.load(rows(), 'SET {key} {value}'),
      async: () => bulk.load(later(), (row) => void bulk.set(row.key, row.value)),
      written,
      broken: () => bulk.load(rows(), 'SET {none} {value}', { onFailure() {}, maxFailed: Infinity }),
      refused: () => bulk.load(rows(), (row) => void bulk.lpush(row.key, row.value), { onFailure() {}, maxFailed: Infinity }),
    }
    const told = {}
    const [, , only] = process.argv
    for (const [kind, load] of Object.entries(kinds)) {
      if (only !== undefined && kind !== only) continue
      const memory = []
      let summary
      for (let round = 0; round < ${rounds}; round++) {
        summary = await load()
        globalThis.gc?.()
        memory.push(process.memoryUsage.rss())
      }
      const { succeeded, failed } = summary
      told[kind] = { succeeded, failed, memory }
    }
    console.log(JSON.stringify(told))
    await bulk.close()
  `
}
