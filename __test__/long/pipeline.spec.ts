// What a pipeline holds where much of something comes: growth over rounds, or beyond what the ceiling allows.

import test from '../helpers/test.ts'
import { serverFor } from '../helpers/loads.ts'
import { runScript } from '../helpers/rss.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server } = await sharedServer()

test('a million refused commands do not fill the memory', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1])
    await bulk.set('million', 'x').exec()
    const rounds = []
    for (let batch = 0; batch < 10; batch++) {
      for (let index = 0; index < 100_000; index++) bulk.lpush('million', 'x')
      const { failed, failures } = await bulk.exec()
      if (failed !== 100_000 || failures.length !== 100) throw new Error('wrong count')
      gc()
      await delay(20)
      rounds.push(process.memoryUsage.rss())
    }
    const { failed, errors } = await bulk.close()
    const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
    console.log(JSON.stringify({ failed, errors, growth: Math.min(...growths) }))
  `
  const { stdout, stderr } = await runScript({ source }, { args: [server.url], nodeArgs: ['--expose-gc'] })
  t.is(stderr, '')
  const { failed, errors, growth } = JSON.parse(stdout)
  t.deepEqual({ failed, errors }, { failed: 1_000_000, errors: { WRONGTYPE: 1_000_000 } })
  // 20 bytes a failure
  t.true(growth < 2e6, `${growth} bytes for 100,000 failures`)
})

test('a server that stands still costs no more than the ceiling, and is given up', async (t) => {
  const stopped = await serverFor(t)
  const source = `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { stallTimeoutMs: 2_000, retry: { attempts: 0, firstConnect: 0 } })
    await bulk.set('first', 1).exec()
    process.kill(Number(process.argv[2]), 'SIGSTOP')
    const value = 'x'.repeat(64 * 1024)
    let turns = 0
    setInterval(() => turns++, 1).unref()
    const codes = {}
    const executions = []
    // What is held is at the ceiling from the first refusal on: from there on nothing may be added.
    let full
    let bytes = 0
    while (bytes < 10 * 2 ** 30) {
      bytes += value.length
      try {
        bulk.set('key', value)
      } catch ({ code }) {
        codes[code] = (codes[code] ?? 0) + 1
        full ??= process.memoryUsage.rss()
      }
      if (bytes % (8 * 2 ** 20) === 0) {
        executions.push(bulk.exec())
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const grown = process.memoryUsage.rss() - full
    const ended = await Promise.allSettled(executions)
    const { code, outcome } = ended.find(({ status }) => status === 'rejected').reason
    process.kill(Number(process.argv[2]), 'SIGCONT')
    console.log(JSON.stringify({ codes: Object.keys(codes), turns, code, outcome, grown }))
    bulk.destroy()
  `
  const result = await runScript({ source }, { args: [stopped.url, String(stopped.pid)] })
  t.is(result.stderr, '')
  const { codes, turns, code, outcome, grown } = JSON.parse(result.stdout)
  t.deepEqual(codes, ['RESPIPE_BUFFER_FULL'])
  t.true(turns > 10, `${turns} turns of the event loop`)
  t.is(code, 'RESPIPE_STALLED')
  t.true(outcome.unknown > 0)
  t.is(outcome.commands, outcome.succeeded + outcome.failed + outcome.unknown)
  t.true(grown < 128 * 2 ** 20, `${grown} bytes beyond the ceiling`)
})
