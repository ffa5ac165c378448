// Loads of many rows, and loads that are hit many times over.

import test from '../helpers/test.ts'

import { fileFor } from '../helpers/files.ts'
import { KINDS, killOthers, loadsOfKinds, resumesAfterKills } from '../helpers/kills.ts'
import { COLUMNS, areDone, clientOf, columns, proxyFor, serverFor } from '../helpers/loads.ts'
import { bulkFor, resolution } from '../helpers/outcomes.ts'
import { inOrder, push, slowRows } from '../helpers/rows.ts'
import { runScript } from '../helpers/rss.ts'

for (const kind of KINDS) {
  test.serial(`memory is flat, however many rows there are: ${kind}`, async (t) => {
    const server = await serverFor(t)
    const source = loadsOfKinds(200_000, 6)
    const options = { args: [String(server.port), kind], nodeArgs: ['--expose-gc'] }
    const { stdout, stderr } = await runScript({ source }, options)
    t.is(stderr, '')
    const { memory } = (JSON.parse(stdout) as Record<string, { memory: number[] }>)[kind]!
    const growths = memory.slice(1).map((bytes, at) => bytes - memory[at]!)
    t.log(`${growths.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(', ')} MiB`)
    // What leaks grows in each round: ten bytes a row would be 2 MB.
    t.true(Math.min(...growths) < 2e6, `${growths}`)
  })
}

test.serial('memory is flat: a file through a parser, with the server stopped half-way', async (t) => {
  const server = await serverFor(t)
  const rows = 150_000
  const lines = Array.from({ length: rows }, (_, id) => `${id},name ${id},user${id}@example.com,"city, ${id % 100}"\n`)
  const file = fileFor(t, 'users.csv', `id,name,email,city\n${lines.join('')}`)
  const source = `
    import { createReadStream } from 'node:fs'
    import { setTimeout as delay } from 'node:timers/promises'
    import { pipeline } from 'node:stream/promises'
    import { parse } from 'csv-parse'
    import { bulkPipeline } from './index.js'
    const [port, pid, file] = process.argv.slice(1)
    const bulk = bulkPipeline({ port: Number(port), maxBufferedBytes: 8 << 20 })
    const memory = []
    for (let round = 1; round <= 6; round++) {
      const stream = bulk.writable('HSET user:{id} name {name} email {email} city {city}')
      const loading = pipeline(createReadStream(file), parse({ columns: true }), stream)
      while (bulk.stats().succeeded < (round - 0.5) * ${rows}) await delay(1)
      process.kill(Number(pid), 'SIGSTOP')
      await delay(1_000)
      gc()
      memory.push(process.memoryUsage.rss())
      const { succeeded } = bulk.stats()
      if (stream.writableFinished || succeeded >= round * ${rows}) throw new Error('it did not wait')
      process.kill(Number(pid), 'SIGCONT')
      await loading
      if (stream.summary.succeeded !== ${rows}) throw new Error(JSON.stringify(stream.summary))
    }
    console.log(JSON.stringify(memory))
    await bulk.close()
  `
  const options = { args: [String(server.port), String(server.pid), file], nodeArgs: ['--expose-gc'] }
  const { stdout, stderr } = await runScript({ source }, options)
  t.is(stderr, '')
  const memory = JSON.parse(stdout) as number[]
  const growths = memory.slice(1).map((bytes, at) => bytes - memory[at]!)
  t.log(`${growths.map((bytes) => (bytes / 2 ** 20).toFixed(1)).join(', ')} MiB`)
  t.true(Math.min(...growths) < 2e6, `${growths}`)
  t.is(await clientOf(t, server).dbsize(), rows)
})

test.serial('fault 24: killed forty times at random, and resumed: every row exactly once', (t) =>
  resumesAfterKills(t, { rounds: 40, count: 400_000, seed: 24 }),
)

for (const column of columns) {
  test.serial(`fault 9, ${column}: CLIENT KILL a hundred times in a load`, async (t) => {
    const server = await serverFor(t)
    const client = clientOf(t, server)
    const proxy = await proxyFor(t, server)
    const bulk = bulkFor(t, { port: proxy.port, ...COLUMNS[column] })
    const command = column === 'checkpoint' ? 'RPUSH' : 'SET'
    const kills = Array.from({ length: 100 }, (_, at) =>
      proxy.at({ command, nth: 1 + 2_000 * at }, () => killOthers(client)),
    )
    const mapper = column === 'checkpoint' ? push('list') : ('SET {key} {at}' as never)
    areDone(t, column, await resolution(t, bulk.load(slowRows(200_000), mapper)))
    t.true(kills.every(({ hasHappened }) => hasHappened))
    if (column === 'checkpoint') t.true(inOrder(await client.lrange('list', 0, -1)))
    else if (column !== 'off') t.is(await client.dbsize(), 200_000)
  })
}
