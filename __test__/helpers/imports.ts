// Processes that import files.

import type { ExecutionContext } from 'ava'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { spawnKept } from './children.ts'
import { runScript } from './rss.ts'
import { waitingFor } from './test.ts'

/** Runs an ES module, which connects to this server and imports this file, and tells how it ended. */
export async function endOfImport(port: number, path: string, source: string) {
  const script = `
    import { bulkPipeline } from './index.js'
    const [port, path] = [${port}, ${JSON.stringify(path)}]
    const connect = (options) => bulkPipeline({ port, maxBufferedBytes: 1 << 20, ...options })
    ${source}
  `
  const { code, signal, stdout, stderr } = await runScript({ source: script })
  return { code, signal, stdout, stderr }
}

/**
 * An ES module for `endOfImport`: starts workers that import the file, ends each in mid-import, and waits until no thread
 * reads any more. Prints a reply then.
 */
export function endedWorkers(rounds: number): string {
  return `
    import { readdirSync, readFileSync } from 'node:fs'
    import { Worker } from 'node:worker_threads'
    const source = \`
      const { workerData: { port, path, options }, parentPort } = require('node:worker_threads')
      const { bulkPipeline } = require(process.cwd())
      const bulk = bulkPipeline({ port, ...options })
      const onProgress = ({ succeeded }) => parentPort.postMessage(succeeded)
      bulk.importFile(path, 'SET worker:{id} {name}', { onProgress, progressIntervalMs: 1 })
    \`
    for (let round = 0; round < ${rounds}; round++) {
      // By turns one that waits, and goes on for minutes, and one that reads as fast as it can.
      const options = { maxBufferedBytes: 20_000, throttle: round % 2 === 0 ? { commandsPerSecond: 200 } : undefined }
      const worker = new Worker(source, { eval: true, execArgv: [], workerData: { port, path, options } })
      await new Promise((resolve) => worker.on('message', (succeeded) => succeeded > 0 && resolve()))
      await worker.terminate()
    }
    const isReader = (task) => {
      try {
        return readFileSync('/proc/self/task/' + task + '/comm', 'latin1').startsWith('respipe-import')
      } catch {
        return false
      }
    }
    while (process.platform === 'linux' && readdirSync('/proc/self/task').some(isReader)) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    console.log((await connect().set('worker:after', 1).exec()).succeeded)
  `
}

/** Starts an ES module, whose standard input stays open until the test ends it. */
export function startModule(t: ExecutionContext, source: string) {
  const child = spawnKept(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [input, stdout, stderr] = [child.stdin!, child.stdout!, child.stderr!]
  // It may end before it has read everything.
  input.on('error', () => {})
  const end = async () => {
    const [[code], out, err] = await Promise.all([once(child, 'close'), text(stdout), text(stderr)])
    return { code: code as number | null, stdout: out, stderr: err }
  }
  return { input, ended: waitingFor('the end of a module', end()) }
}
