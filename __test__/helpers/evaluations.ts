import { runScript } from './rss.ts'

/**
 * The beginning of scripts that evaluate the package several times in one process. They say what they found by `tell(value)`, and
 * are run by `evaluating`. `port`: a server, shared; `root`: the folder of the package.
 */
const PRELUDE = `
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { Worker } from 'node:worker_threads'

const port = Number(process.argv.at(-1))
const root = process.cwd()
const require = createRequire(join(root, 'script.js'))
const tell = (value) => console.log(JSON.stringify(value))
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** Collects what nobody holds, and has those told who asked for it. */
async function collect() {
  for (let round = 0; round < 20; round++) {
    gc()
    await turn()
  }
}

async function until(holds) {
  while (!(await holds())) {
    // What has just been looked at by a weak reference is not collected in the same turn.
    await turn()
    gc()
    await turn()
  }
}

/** As if nothing had been loaded but the addon; with 'all', not even that. */
function forget(what = 'scripts') {
  for (const path of Object.keys(require.cache)) {
    if (what === 'all' || !path.endsWith('.node')) delete require.cache[path]
  }
}

function required(what) {
  forget(what)
  return require(join(root, 'index.js'))
}

const GLOBALS = ['AbortController', 'AbortSignal', 'Buffer', 'clearTimeout', 'performance', 'process', 'queueMicrotask', 'setTimeout']

/** In a context of its own, with a registry of its own that has everything but the addon, as test runners have it. */
function inContext() {
  const context = vm.createContext(Object.fromEntries(GLOBALS.map((name) => [name, globalThis[name]])))
  const registry = new Map()
  const load = (path) => {
    if (path.endsWith('.node')) return require(path)
    if (registry.has(path)) return registry.get(path).exports
    const module = { exports: {} }
    registry.set(path, module)
    const local = (name) => (name.startsWith('.') ? load(resolve(dirname(path), name)) : require(name))
    const parameters = ['module', 'exports', 'require', '__filename', '__dirname']
    const options = { parsingContext: context, filename: path }
    const run = vm.compileFunction(readFileSync(path, 'utf8'), parameters, options)
    run(module, module.exports, local, path, dirname(path))
    return module.exports
  }
  return load(join(root, 'index.js'))
}

/** The package again, in a folder of its own. */
function copied() {
  const folder = mkdtempSync(join(tmpdir(), 'respipe-copy-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const addon = Object.keys(require.cache).find((path) => path.endsWith('.node')) ?? addonOf()
  for (const name of [...files, 'package.json', addon.slice(root.length + 1)]) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  return folder
}

function addonOf() {
  require(join(root, 'binding.js'))
  return Object.keys(require.cache).find((path) => path.endsWith('.node'))
}

/**
 * What two evaluations may do to each other. The first one's templates are forgotten while the second one's are made, their
 * numbers given to others; both execute at the same time; one of them ends.
 */
async function together(first, second, name) {
  let one = first.bulkPipeline({ port })
  const other = second.bulkPipeline({ port })
  let gone = Array.from({ length: 8 }, (_, at) => one.template('SET ' + name + ':gone:' + at + ' {value}'))
  const sets = Array.from({ length: 8 }, (_, at) => other.template('SET ' + name + ':' + at + ' {value}'))
  gone = undefined
  await collect()
  const deletes = Array.from({ length: 16 }, (_, at) => other.template('DEL ' + name + ':' + (at % 8)))
  const again = one.template('SET ' + name + ':again {value}')
  sets.forEach((set, at) => set(at))
  one.set(name + ':one', 1)
  again('again')
  const outcomes = await Promise.all([one.exec(), other.exec()])
  const written = await other.query('MGET', ...sets.map((_, at) => name + ':' + at), name + ':one', name + ':again')
  one.set(name + ':lost', 1)
  one.destroy()
  const after = await other.set(name + ':after', 1).exec()
  const late = await one.exec().catch(({ code, constructor }) => [code, constructor === first.RespipeError])
  const rows = await second.bulkPipeline({ port }).load([{ k: name + ':row' }], 'SET {k} row')
  const length = other.set(name, 1).length
  const left = await other.close()
  return {
    counts: outcomes.map(({ commands, succeeded }) => [commands, succeeded]),
    written: written.join(' '),
    after: after.succeeded,
    late,
    rows: rows.succeeded,
    length,
    left: left.commands,
    lost: await second.bulkPipeline({ port }).query('EXISTS', name + ':lost', name + ':0', name + ':gone:0'),
    templates: deletes.length,
  }
}
`

/** What `together` returns where neither has touched the other. */
export const APART = {
  counts: [
    [2, 2],
    [8, 8],
  ],
  written: '0 1 2 3 4 5 6 7 1 again',
  after: 1,
  late: ['RESPIPE_CLOSED', true],
  rows: 1,
  length: 1,
  left: 10,
  lost: 1,
  templates: 16,
}

export interface Told {
  told: unknown[]
  code: number | null
  stderr: string
}

/** Runs a script in a process of its own, which has `gc`. */
export async function evaluating(script: string, port: number): Promise<Told> {
  const { code, stdout, stderr } = await runScript(
    { source: PRELUDE + script },
    { args: [String(port)], nodeArgs: ['--expose-gc'] },
  )
  const lines = stdout.split('\n').filter((line) => line !== '')
  return { told: lines.map((line) => JSON.parse(line) as unknown), code, stderr }
}
