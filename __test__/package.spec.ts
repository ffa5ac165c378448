import test, { type ExecutionContext } from './helpers/test.ts'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { runProgram } from './helpers/command.ts'
import { clientOf, serverFor } from './helpers/loads.ts'
import { runScript } from './helpers/rss.ts'
import { complaints } from './helpers/typescript.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'respipe-package-'))
const user = join(folder, 'user')

test.before('the packages are packed and installed', async () => {
  mkdirSync(user)
  writeFileSync(join(user, 'package.json'), JSON.stringify({ private: true }))
  const packed = await pack(join(folder, 'packed'))
  await npm(user, ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', ...packed])
})

test.after.always('they are removed', () => rmSync(folder, { recursive: true, force: true }))

test('the packages hold what a user needs, and nothing else', (t) => {
  const installed = readdirSync(join(user, 'node_modules')).filter((name) => name.startsWith('respipe'))
  t.is(installed.length, 2, installed.join(' '))
  const files = readdirSync(join(user, 'node_modules', 'respipe'))
  t.deepEqual(
    files.filter((name) => !/^(lib|(index|binding|commands|cli)(\.d)?\.(js|mjs|ts|mts))$/.test(name)),
    ['LICENSE', 'README.md', 'package.json'],
  )
})

test('an ES module loads data through the installed package', async (t) => {
  await loads(
    t,
    'main.mjs',
    `
    import { createRequire } from 'node:module'
    import { bulkPipeline, RespipeError } from 'respipe'
    const required = createRequire(import.meta.url)('respipe')
    if (required.RespipeError !== RespipeError) throw new Error('two classes RespipeError')
    ${body}
    await main(bulkPipeline, RespipeError)
    `,
  )
})

test('a CommonJS script loads data through the installed package', async (t) => {
  await loads(
    t,
    'main.cjs',
    `
    const { bulkPipeline, RespipeError } = require('respipe')
    ${body}
    main(bulkPipeline, RespipeError)
    `,
  )
})

test('the command is installed', async (t) => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const { stdout } = await run(process.execPath, [join(user, 'node_modules', 'respipe', 'cli.js'), '--version'], user)
  t.is(stdout, `respipe ${version}\n`)
})

for (const { moduleResolution, module, names } of [
  { moduleResolution: 'node16', module: 'node16', names: ['program.mts', 'program.cts'] },
  { moduleResolution: 'bundler', module: 'esnext', names: ['program.ts'] },
]) {
  test(`a strict TypeScript program compiles with moduleResolution ${moduleResolution}`, (t) => {
    const files = Object.fromEntries(names.map((name) => [name, program]))
    // The types of Node.js are those that a user would have installed.
    const typeRoots = [join(root, 'node_modules', '@types')]
    const options = { module, moduleResolution, target: 'es2022', typeRoots, types: ['node'], strict: true }
    t.is(complaints(user, files, { ...options, noEmit: true }), '')
  })
}

/** What is published: the package itself, and the one with the addon of this platform. */
async function pack(destination: string): Promise<string[]> {
  const stage = join(folder, 'stage')
  const description = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  for (const name of ['package.json', 'README.md', 'LICENSE', ...description.files]) {
    if (existsSync(join(root, name))) cpSync(join(root, name), join(stage, name), { recursive: true })
  }
  await run(
    process.execPath,
    [join(root, 'node_modules', '@napi-rs', 'cli', 'dist', 'cli.js'), 'create-npm-dirs'],
    stage,
  )
  const addon = addonOfThisPlatform()
  const [, name = ''] = basename(addon).split('.')
  const platform = join(stage, 'npm', name)
  cpSync(addon, join(platform, basename(addon)))

  // As the publishing command writes it, which wants the addons of all platforms.
  description.optionalDependencies = { [`respipe-${name}`]: description.version }
  writeFileSync(join(stage, 'package.json'), JSON.stringify(description))

  mkdirSync(destination)
  await npm(stage, ['pack', stage, platform, '--pack-destination', destination])
  return readdirSync(destination).map((file) => join(destination, file))
}

/** The one that Node.js loads here: there may be others beside it. */
function addonOfThisPlatform(): string {
  const require = createRequire(import.meta.url)
  const { bulkPipeline } = require('../index.js')
  const addon = Object.keys(require.cache).find((path) => path.startsWith(root) && path.endsWith('.node'))
  if (!bulkPipeline || addon === undefined) throw new Error('no addon: npm run setup builds it')
  return addon
}

/** Runs a script where the package is installed, and looks at the server with a client that has no part in it. */
async function loads(t: ExecutionContext, file: string, source: string): Promise<void> {
  const server = await serverFor(t)
  writeFileSync(join(user, file), source)
  const result = await runScript(pathToFileURL(join(user, file)), { cwd: user, args: [server.url] })
  t.is(result.stderr, '')
  t.is(result.code, 0)
  t.deepEqual(JSON.parse(result.stdout), { commands: 2, succeeded: 1, failed: 1, code: 'RESPIPE_CLOSED' })
  t.deepEqual(await clientOf(t, server).hgetall('city:1'), { name: 'Zürich', people: '436000' })
}

const body = `
  async function main(bulkPipeline, RespipeError) {
    const bulk = bulkPipeline(process.argv[2])
    bulk.hset('city:1', { name: 'Zürich', people: 436_000 }).call('LPUSH', 'city:1', 'x')
    const { commands, succeeded, failed } = await bulk.exec()
    await bulk.close()
    try {
      bulk.hset('city:2', 'name', 'Basel')
    } catch (error) {
      if (!(error instanceof RespipeError)) throw error
      console.log(JSON.stringify({ commands, succeeded, failed, code: error.code }))
    }
  }
`

const program = `
import { bulkPipeline, RespipeError } from 'respipe'
import type { BatchResult, BulkPipeline, BulkPipelineOptions, CommandFailure, Summary } from 'respipe'

interface City {
  name: string
  people: number
  mayor?: string | null
}
interface Nested {
  name: { first: string }
}

const options: BulkPipelineOptions = { host: '127.0.0.1', replies: 'collect', retry: { attempts: 2 } }

export async function load(cities: AsyncIterable<City>, one: City): Promise<number> {
  const bulk: BulkPipeline = bulkPipeline(options)
  bulk.on('failure', (failure: CommandFailure) => console.error(failure.code, failure.key?.toString()))
  bulk.hset('city:1', one).hset('city:2', 'name', 'Bern').hset('city:3', new Map([['people', 5n]]))
  bulk.set('key', Buffer.from('value'), 'EX', 60).call('LPUSH', 'list', 1, 2n, new Uint8Array(3))
  const result: BatchResult = await bulk.exec()
  const template = bulk.template('HSET city:{name} people {people}')
  template(one)
  const summary: Summary = await bulk.load(cities, (row, pipeline) => pipeline.sadd('names', row.name))
  await bulk.load(cities, template, { maxFailed: 10, onProgress: ({ rows }) => rows })
  try {
    await bulk.close()
  } catch (error) {
    if (error instanceof RespipeError) return error.outcome?.unknown ?? error.code.length
  }
  return result.failed + summary.unknown
}

export function mistakes(bulk: BulkPipeline, nested: Nested): void {
  // @ts-expect-error: no such command
  bulk.hsett('key', 'field', 'value')
  // @ts-expect-error: no boolean has a place in a command
  bulk.set('key', true)
  // @ts-expect-error: a field's value is one argument
  bulk.hset('key', nested)
  // @ts-expect-error: no such mode
  bulkPipeline({ replies: 'none' })
}
`

/** npm with a cache of its own and the settings of no user: what is installed is what was packed here, without a network. */
async function npm(cwd: string, args: string[]): Promise<void> {
  await run('npm', [...args, '--cache', join(folder, 'cache'), '--userconfig', join(folder, 'npmrc'), ...QUIET], cwd)
}

const QUIET = ['--no-update-notifier', '--loglevel', 'error']

async function run(command: string, args: string[], cwd: string): Promise<{ stdout: string }> {
  // npm hands settings of the run that it is part of down to its children.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_OPTIONS$/i.test(name)))
  const shell = process.platform === 'win32' && command === 'npm'
  const { code, stdout, stderr } = await runProgram(command, args, { cwd, env, shell })
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`)
  return { stdout }
}
