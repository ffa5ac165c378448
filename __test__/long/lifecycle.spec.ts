// What thousands of pipelines leave behind: growth over rounds, since allocators take what they keep now and then. A leak
// is what every round adds.

import test from '../helpers/test.ts'
import { runScript } from '../helpers/rss.ts'
import { sharedServer } from '../helpers/shared.ts'
import { workersThatLoad } from '../helpers/workers.ts'

const { server } = await sharedServer()
const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('10,000 pipelines come and go without leaving sockets, threads or memory behind', async (t) => {
  const { stdout, stderr } = await runScript(
    {
      source: `
        import { readdirSync } from 'node:fs'
        import { setTimeout as delay } from 'node:timers/promises'
        import { bulkPipeline } from './index.js'
        const count = (what) => readdirSync('/proc/self/' + what).length
        async function round(times) {
          for (let index = 0; index < times; index += 20) {
            await Promise.all(Array.from({ length: 20 }, async () => {
              const bulk = bulkPipeline(process.argv[1])
              await bulk.set('come', 'and go').exec()
              await bulk.close()
            }))
            if (index % 1_000 === 0) await delay(0)
          }
          gc()
          await delay(20)
          gc()
          return process.memoryUsage.rss()
        }
        const before = { fds: count('fd'), threads: count('task') }
        const rounds = []
        let first
        for (let at = 0; at < 5; at++) {
          rounds.push(await round(2_000))
          first ??= { fds: count('fd'), threads: count('task') }
        }
        // What the system has closed is the state to come to, soon or late.
        while (count('fd') > first.fds || count('task') > first.threads) await delay(5)
        const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
        const started = first.threads - before.threads
        const opened = first.fds - before.fds
        console.log(JSON.stringify({ started, opened, growth: Math.min(...growths) }))
      `,
    },
    { args: [server.url], nodeArgs: ['--expose-gc'] },
  )
  t.is(stderr, '')
  const { started, opened, growth } = JSON.parse(stdout)
  t.true(started <= 3, `${started} threads`)
  t.true(opened < 50, `${opened} descriptors for 2,000 pipelines`)
  // 500 bytes each
  t.true(growth < 1e6, `${growth} bytes for 2,000 pipelines`)
})

test('10,000 pipelines, closed, destroyed or forgotten, leave neither memory nor descriptors behind', async (t) => {
  const source = `
    import { readdirSync } from 'node:fs'
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.mjs'
    const look = async () => {
      for (let at = 0; at < 5; at++) { gc(); await delay(20) }
      return process.memoryUsage.rss()
    }
    const count = (what) => readdirSync('/proc/self/' + what).length
    const some = async (count) => {
      for (let at = 0; at < count; at += 50) {
        await Promise.all(Array.from({ length: 50 }, async (_, which) => {
          const bulk = bulkPipeline(process.argv[1])
          bulk.set('handles', at).hset('handles:' + which, { at })
          if (which % 10 === 0) await bulk.exec()
          if (which % 10 === 1) bulk.exec()
          if (which % 3 === 0) await bulk.close()
          else if (which % 3 === 1) bulk.destroy()
        }))
        if (at % 500 === 0) { gc(); await delay(0) }
      }
    }
    // The allocators take what they keep during the first thousands, and a little now and then.
    await some(4_000)
    const looks = [await look()]
    const before = { fds: count('fd'), threads: count('task') }
    for (let round = 0; round < 4; round++) {
      await some(2_500)
      looks.push(await look())
    }
    while (count('fd') > before.fds || count('task') > before.threads) await look()
    console.log(JSON.stringify(looks))
  `
  const { code, stdout, stderr } = await runScript({ source }, { args: [server.url], nodeArgs: ['--expose-gc'] })
  t.is(code, 0, stderr)
  const looks = JSON.parse(stdout) as number[]
  // 400 bytes a pipeline
  t.true(Math.min(...looks.slice(1).map((rss, at) => rss - looks[at]!)) < 1e6, stdout)
})

test('ten workers load, end and are ended, five times', async (t) => {
  const result = await workersThatLoad(server.url, { rounds: 5, workers: 10 })
  t.deepEqual([result.stderr, result.code, result.signal], ['', 0, null])
  t.is(result.stdout, 'Set(1) { 2000 }\n'.repeat(5))
})
