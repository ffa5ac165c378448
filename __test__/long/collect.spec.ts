// What collected replies take: growth over rounds of the same size.

import test from '../helpers/test.ts'
import { runScript } from '../helpers/rss.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server } = await sharedServer()

test('300,000 replies come back, and leave no memory behind', async (t) => {
  const source = `
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline(process.argv[1], { replies: 'collect' })
    await bulk.set('many', 'value').exec()
    const rounds = []
    const answers = new Set()
    for (let round = 0; round < 6; round++) {
      for (let index = 0; index < 300_000; index++) bulk.get('many')
      const { replies, succeeded } = await bulk.exec()
      answers.add([succeeded, replies.length, replies.every((reply) => reply === 'value')].join(' '))
      replies.length = 0
      gc()
      await delay(20)
      rounds.push(process.memoryUsage.rss())
    }
    await bulk.close()
    const growths = rounds.slice(1).map((rss, at) => rss - rounds[at])
    console.log(JSON.stringify({ answers: [...answers], growth: Math.min(...growths) }))
  `
  const { stdout, stderr } = await runScript({ source }, { args: [server.url], nodeArgs: ['--expose-gc'] })
  t.is(stderr, '')
  const { answers, growth } = JSON.parse(stdout)
  t.deepEqual(answers, ['300000 300000 true'])
  // 7 bytes a reply, which has 11 on the wire
  t.true(growth < 2e6, `${growth} bytes for 300,000 replies`)
})
