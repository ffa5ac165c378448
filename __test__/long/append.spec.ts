// Many workers that append at the same time, end, and are ended meanwhile.

import test from '../helpers/test.ts'
import { runScript } from '../helpers/rss.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server } = await sharedServer()
/** Workers have no folder to start from. */
const module = new URL('../../index.mjs', import.meta.url).href

test('ten workers append, execute and are terminated meanwhile, five times', async (t) => {
  const source = `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const work = \`
      import { parentPort, workerData } from 'node:worker_threads'
      const { bulkPipeline } = await import('${module}')
      const bulk = bulkPipeline({ port: ${server.port} })
      const round = async () => {
        for (let at = 0; at < 2000; at++) bulk.set('worker:' + workerData.at + ':' + at, 'v'.repeat(100)).hset('w', { at })
        return bulk.exec()
      }
      round().then(async ({ succeeded }) => {
        parentPort.postMessage(succeeded)
        if (workerData.at % 2 === 0) { await bulk.close(); return }
        for (;;) await round()
      })
    \`
    for (let turn = 0; turn < 5; turn++) {
      await Promise.all(Array.from({ length: 10 }, async (_, at) => {
        const worker = new Worker(work, { eval: true, workerData: { at } })
        const ended = once(worker, 'exit')
        const [succeeded] = await once(worker, 'message')
        if (succeeded !== 4000) throw new Error('succeeded: ' + succeeded)
        if (at % 2 === 1) await worker.terminate()
        const [code] = await ended
        if (code !== (at % 2)) throw new Error('worker ' + at + ' ended with ' + code)
      }))
    }
    console.log('done')
  `
  const { code, signal, stdout, stderr } = await runScript({ source })
  t.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})
