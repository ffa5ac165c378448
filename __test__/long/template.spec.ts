// What templates that nobody holds leave in memory: growth over rounds.

import test from '../helpers/test.ts'
import { encoded } from '../helpers/pipelines.ts'
import { runScript } from '../helpers/rss.ts'

test('2,400 large templates that nobody holds are forgotten, the others work on', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.mjs'
    const bulk = bulkPipeline({ port: 1 })
    const kept = bulk.template('SET {a} kept')
    const text = 'HSET k ' + 'f '.repeat(9_999) + ' {v}'
    const round = async () => {
      for (let at = 0; at < 300; at++) bulk.template(text)
      for (let at = 0; at < 5; at++) { gc(); await delay(10) }
      return process.memoryUsage.rss()
    }
    for (let at = 0; at < 2; at++) await round()
    const rounds = []
    for (let at = 0; at < 6; at++) rounds.push(await round())
    kept('x')
    const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
    const { bufferedBytes } = bulk.stats()
    console.log(JSON.stringify({ growth: Math.min(...growths), length: bulk.length, bytes: bufferedBytes }))
    bulk.destroy()
  `
  const { code, stdout, stderr } = await runScript({ source }, { nodeArgs: ['--expose-gc'] })
  t.is(code, 0, stderr)
  const { growth, length, bytes } = JSON.parse(stdout)
  // 300 of them take more than 100 MB.
  t.true(growth < 10e6, `${growth} bytes for 300 templates`)
  t.deepEqual([length, bytes], [1, encoded('SET', 'x', 'kept').length])
})
