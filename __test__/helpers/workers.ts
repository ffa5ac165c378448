// Worker threads that load, end by themselves, and are ended in mid-load: shared by both rings, with other numbers.

import { runScript } from './rss.ts'

/** Workers have no folder to start from. */
export const module = new URL('../../index.mjs', import.meta.url).href

/** Rounds of workers that load without a pause, half of them terminated, the others ended from a listener. */
export function workersThatLoad(url: string, { rounds, workers }: { rounds: number; workers: number }) {
  const worker = `
    const { workerData: url, parentPort } = require('node:worker_threads')
    const { bulkPipeline } = require('./index.js')
    const bulk = bulkPipeline(url, { replies: 'collect' })
    const load = () => {
      for (let index = 0; index < 1_000; index++) bulk.set('worker', index)
      return bulk.exec()
    }
    load().then(async ({ succeeded, replies }) => {
      parentPort.postMessage(succeeded + replies.length)
      for (;;) await load()
    })
    parentPort.once('message', async () => {
      bulk.on('failure', () => process.exit(0))
      await bulk.call('NO.SUCH').exec()
    })
  `
  const source = `
    import { once } from 'node:events'
    import { Worker } from 'node:worker_threads'
    for (let round = 0; round < ${rounds}; round++) {
      const workers = Array.from({ length: ${workers} }, () => new Worker(process.argv[2], {
        eval: true, execArgv: [], workerData: process.argv[1],
      }))
      const answers = await Promise.all(workers.map(async (worker, at) => {
        const [answer] = await once(worker, 'message')
        if (at % 2) return await worker.terminate(), answer
        worker.postMessage('end')
        await once(worker, 'exit')
        return answer
      }))
      console.log(new Set(answers))
    }
  `
  return runScript({ source }, { args: [url, worker] })
}

/** Rounds of workers that append so many rows of two commands and execute them, half of them terminated afterwards in mid-load. */
export function workersThatAppend(
  port: number,
  { rounds, workers, rows }: { rounds: number; workers: number; rows: number },
) {
  const source = `
    import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const work = \`
      import { parentPort, workerData } from 'node:worker_threads'
      const { bulkPipeline } = await import('${module}')
      const bulk = bulkPipeline({ port: ${port} })
      const round = async () => {
        for (let at = 0; at < ${rows}; at++) bulk.set('worker:' + workerData.at + ':' + at, 'v'.repeat(100)).hset('w', { at })
        return bulk.exec()
      }
      round().then(async ({ succeeded }) => {
        parentPort.postMessage(succeeded)
        if (workerData.at % 2 === 0) { await bulk.close(); return }
        for (;;) await round()
      })
    \`
    for (let turn = 0; turn < ${rounds}; turn++) {
      await Promise.all(Array.from({ length: ${workers} }, async (_, at) => {
        const worker = new Worker(work, { eval: true, workerData: { at } })
        const ended = once(worker, 'exit')
        const [succeeded] = await once(worker, 'message')
        if (succeeded !== ${2 * rows}) throw new Error('succeeded: ' + succeeded)
        if (at % 2 === 1) await worker.terminate()
        const [code] = await ended
        if (code !== (at % 2)) throw new Error('worker ' + at + ' ended with ' + code)
      }))
    }
    console.log('done')
  `
  return runScript({ source })
}
