// What a server can make a pipeline hold by what it announces: growth over rounds.

import test from '../helpers/test.ts'
import type { Socket } from 'node:net'
import { runScript } from '../helpers/rss.ts'
import { scriptedFor } from '../helpers/scripted.ts'

for (const [what, announced] of [
  ['an array', '*2147483647\r\n'],
  ['a bulk', '$536870912\r\n'],
] as const) {
  test(`4.3 row 96: ${what} that was announced and never comes costs no memory`, async (t) => {
    const mute = new Set<Socket>()
    const server = await scriptedFor(t, ([name], socket) => {
      if (mute.has(socket)) return null
      if (name !== 'GET') return undefined
      mute.add(socket)
      return announced
    })
    const source = `
      import { setTimeout as delay } from 'node:timers/promises'
      import { bulkPipeline } from './index.js'
      const options = { replies: 'collect', stallTimeoutMs: 500, retry: { attempts: 0 } }
      const rounds = []
      const codes = new Set()
      for (let round = 0; round < 6; round++) {
        const bulks = Array.from({ length: 5 }, () => bulkPipeline(process.argv[1], options))
        await Promise.all(bulks.map((bulk) => bulk.get('key').exec().catch(({ code }) => codes.add(code))))
        // Held as long as the pipeline is.
        rounds.push(process.memoryUsage.rss())
        bulks.forEach((bulk) => bulk.destroy())
        gc()
        await delay(20)
      }
      const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
      console.log(JSON.stringify({ codes: [...codes], growth: Math.min(...growths), whole: rounds.at(-1) - rounds[0] }))
    `
    const { stdout, stderr } = await runScript({ source }, { args: [server.url], nodeArgs: ['--expose-gc'] })
    t.is(stderr, '')
    const { codes, growth, whole } = JSON.parse(stdout)
    t.deepEqual(codes, ['RESPIPE_STALLED'])
    t.true(growth < 2e6, `${growth} bytes for five of them`)
    t.true(whole < 500e6, `${whole} bytes in all rounds`)
  })
}
