// The package evaluated several times in one process, as test runners do: each time works for itself, and goes when it is let go.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { once } from 'node:events'
import type { Readable } from 'node:stream'

import { APART, evaluating } from './helpers/evaluations.ts'
import { spawnKept } from './helpers/children.ts'
import { sharedServer } from './helpers/shared.ts'
import test, { type ExecutionContext, waitingFor } from './helpers/test.ts'

const { server } = await sharedServer()

async function tells(t: ExecutionContext, script: string, ...expected: unknown[]) {
  const { told, code, stderr } = await evaluating(script, server.port)
  t.is(stderr, '')
  t.deepEqual(told, expected)
  t.is(code, 0)
}

test('loaded anew without the addon, each evaluation has its own templates, promises and connections', async (t) => {
  await tells(t, `tell(await together(required(), required(), 'anew'))`, APART)
})

test('the same in the other direction: the new one goes, the old one stays', async (t) => {
  await tells(t, `const [old, young] = [required(), required()]; tell(await together(young, old, 'back'))`, APART)
})

test('loaded anew with the addon, too', async (t) => {
  await tells(t, `tell(await together(required('all'), required('all'), 'addon'))`, APART)
})

test('with only its main file loaded anew', async (t) => {
  const script = `
    const one = required()
    delete require.cache[join(root, 'index.js')]
    tell(await together(one, require(join(root, 'index.js')), 'main'))`
  await tells(t, script, APART)
})

test('many at the same time', async (t) => {
  const script = `
    const all = Array.from({ length: 8 }, () => required())
    const pairs = all.map((one, at) => together(one, all[(at + 1) % all.length], 'many:' + at))
    for (const result of await Promise.all(pairs)) tell(result)`
  await tells(t, script, ...Array.from({ length: 8 }, () => APART))
})

test('import and require are one evaluation, and apart from those before and behind', async (t) => {
  const script = `
    const before = required()
    forget()
    const imported = await import(pathToFileURL(join(root, 'index.mjs')))
    const again = await import(pathToFileURL(join(root, 'index.mjs')) + '?again')
    const same = require(join(root, 'index.js'))
    tell([again, same].every(({ bulkPipeline }) => bulkPipeline === imported.bulkPipeline))
    const behind = required()
    tell(new Set([before, imported, behind].map(({ RespipeError }) => RespipeError)).size)
    tell(await together(before, imported, 'esm:before'))
    tell(await together(imported, behind, 'esm:behind'))`
  await tells(t, script, true, 3, APART, APART)
})

test('in contexts of their own', async (t) => {
  const script = `
    tell(await together(inContext(), inContext(), 'vm'))
    tell(await together(required(), inContext(), 'vm:main'))`
  await tells(t, script, APART, APART)
})

test('two copies of the package in one process', async (t) => {
  const script = `
    const copy = copied()
    tell(await together(required(), require(join(copy, 'index.js')), 'copy'))
    tell(await together(require(join(copy, 'index.js')), required(), 'copy:back'))`
  await tells(t, script, APART, APART)
})

test('in worker threads, with several evaluations in each', async (t) => {
  const script = `
    const source = ${JSON.stringify(`
      const { parentPort, workerData } = require('node:worker_threads')
      const path = require('node:path').join(workerData.root, 'index.js')
      const load = () => {
        for (const name of Object.keys(require.cache)) if (!name.endsWith('.node')) delete require.cache[name]
        return require(path)
      }
      const all = [load(), load(), load()].map(({ bulkPipeline }, at) => {
        const bulk = bulkPipeline({ port: workerData.port })
        const set = bulk.template('SET worker:' + workerData.number + ':' + at + ':{at} {value}')
        for (let at = 0; at < 100; at++) set(at, at)
        return bulk
      })
      Promise.all(all.map((bulk) => bulk.close())).then((outcomes) => {
        parentPort.postMessage(outcomes.map(({ succeeded }) => succeeded))
        // One of them is left with work that it will never finish.
        load().bulkPipeline({ port: workerData.port }).set('worker:late', 1).exec()
        if (workerData.number % 2 === 0) process.exit()
      })
    `)}
    const mine = required()
    const workers = Array.from({ length: 4 }, (_, number) => new Worker(source, { eval: true, execArgv: [], workerData: { root, port, number } }))
    const ends = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)))
    const told = await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))))
    tell(told)
    tell(await together(mine, required(), 'workers'))
    await Promise.all(ends)
    const bulk = mine.bulkPipeline({ port })
    tell((await bulk.query('KEYS', 'worker:?:?:*')).length)
    tell((await bulk.set('worker:behind', 1).close()).succeeded)`
  const all = Array.from({ length: 4 }, () => [100, 100, 100])
  await tells(t, script, all, APART, 1200, 1)
})

test('a signal ends the pipelines of each evaluation', async (t) => {
  const script = `
    const controller = new AbortController()
    const all = [required(), required()].map(({ bulkPipeline }) => bulkPipeline({ port, signal: controller.signal }))
    const other = required().bulkPipeline({ port })
    controller.abort()
    for (const bulk of all) tell(await bulk.exec().catch(({ code }) => code))
    tell((await other.set('signal', 1).close()).succeeded)`
  await tells(t, script, 'RESPIPE_ABORTED', 'RESPIPE_ABORTED', 1)
})

test('one that nobody can reach any more goes, with its connections; one with work outstanding stays', async (t) => {
  const script = `
    const name = 'goes-' + process.pid
    const witness = required().bulkPipeline({ port })
    const connected = async () => (await witness.query('CLIENT', 'LIST')).split('name=' + name + ' ').length - 1
    let outstanding
    const use = async (at) => {
      const evaluation = inContext()
      const bulk = evaluation.bulkPipeline({ port, clientName: name })
      await bulk.set('goes', at).exec()
      if (at === 0) outstanding = bulk.set('goes:outstanding', 1).sync().then(({ succeeded }) => succeeded)
      return new WeakRef(evaluation.bulkPipeline)
    }
    const all = []
    for (let at = 0; at < 16; at++) all.push(await use(at))
    tell(await outstanding)
    outstanding = undefined
    await until(() => all.every((evaluation) => evaluation.deref() === undefined))
    await until(async () => (await connected()) === 0)
    tell((await witness.set('goes', 'on').close()).succeeded)`
  await tells(t, script, 2, 1)
})

test('work that is outstanding holds an evaluation that nobody holds otherwise', async (t) => {
  const script = `
    let settled = 0
    const start = (at) => {
      const bulk = inContext().bulkPipeline({ port })
      for (let count = 0; count < 1000; count++) bulk.set('holds:' + at + ':' + count, count)
      bulk.exec().then(() => settled++)
    }
    for (let at = 0; at < 8; at++) start(at)
    gc()
    await until(() => settled === 8)
    tell(settled)`
  await tells(t, script, 8)
})

// Jest

const jest = createRequire(import.meta.url).resolve('jest/bin/jest')
const root = fileURLToPath(new URL('..', import.meta.url))

const JEST_FILE = (name: string) => `
  const turns = async () => {
    for (let round = 0; round < 10; round++) {
      gc()
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  let respipe, bulk
  beforeEach(() => {
    jest.resetModules()
    respipe = require(${JSON.stringify(root)} + '/index.js')
    bulk = respipe.bulkPipeline({ port: ${server.port} })
  })
  for (let at = 0; at < 4; at++) {
    test('templates ' + at, async () => {
      const key = '${name}:' + at
      const sets = Array.from({ length: 4 }, (_, index) => bulk.template('SET ' + key + ':' + index + ' {value}'))
      await turns()
      const removes = sets.map((_, index) => bulk.template('DEL ' + key + ':' + index))
      sets.forEach((set, index) => set(index))
      expect((await bulk.exec()).succeeded).toBe(4)
      expect(await bulk.query('MGET', ...sets.map((_, index) => key + ':' + index))).toEqual(['0', '1', '2', '3'])
      expect(removes.length).toBe(4)
      bulk.destroy()
      await expect(bulk.exec()).rejects.toBeInstanceOf(respipe.RespipeError)
    })
    test('left to the collector ' + at, async () => {
      bulk.template('DEL ${name}:' + at + ':{index}')
      expect((await bulk.set('${name}:left', at).exec()).succeeded).toBe(1)
    })
  }
  test('timers that stand still', async () => {
    jest.useFakeTimers()
    try {
      const rows = Array.from({ length: 20_000 }, (_, at) => ({ at }))
      expect((await bulk.load(rows, 'SET ${name}:row:{at} {at}')).succeeded).toBe(rows.length)
      let seen = 0
      bulk.on('failure', () => seen++)
      for (let at = 0; at < 5_000; at++) bulk.lpush('${name}:left', at)
      expect((await bulk.exec()).failed).toBe(5_000)
      expect(seen).toBe(5_000)
    } finally {
      jest.useRealTimers()
    }
  })
`

test('Jest: several files in one worker, modules reset before each test, garbage collected', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'respipe-jest-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const names = ['one', 'two', 'three', 'four']
  for (const name of names) writeFileSync(join(folder, `${name}.test.js`), JEST_FILE(name))
  const config = {
    rootDir: folder,
    roots: [folder],
    testEnvironment: 'node',
    transform: {},
    haste: { throwOnModuleCollision: false },
  }
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ name: 'tests', jest: { ...config, testTimeout: 300_000 } }),
  )
  const args = ['--expose-gc', jest, '--runInBand', '--json', '--cache=false', '--watchman=false', '--rootDir', folder]
  const child = spawnKept(process.execPath, args, {
    cwd: folder,
    env: { ...process.env, NODE_OPTIONS: undefined, FORCE_COLOR: undefined, CI: 'true' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const outputs = child.stdio.slice(1).map((stream) => text(stream as Readable))
  const [[code], stdout = '', stderr = ''] = await waitingFor(
    'the end of Jest',
    Promise.all([once(child, 'close'), ...outputs]),
  )
  t.is(code, 0, stderr)
  const { numPassedTests, numTotalTests, numPassedTestSuites } = JSON.parse(stdout) as Record<string, number>
  t.deepEqual([numPassedTests, numTotalTests, numPassedTestSuites], [36, 36, names.length], stderr)
})
