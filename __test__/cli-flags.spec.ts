// The table of flags: it covers the options of the package, and help and completion follow from it.

import { createRequire } from 'node:module'
import { join } from 'node:path'
import test from './helpers/test.ts'
import { folderWith } from './helpers/cli.ts'
import { runProgram } from './helpers/command.ts'

interface Flag {
  names: string[]
  about: string
  commands?: string[]
  reads?: { read(text: string): unknown; choices?: string[]; isFile?: boolean }
  sets: string
  fallback?: string
}
const require = createRequire(import.meta.url)
const {
  COMMANDS,
  flagsOf,
  GROUPS,
}: {
  COMMANDS: Record<string, object>
  flagsOf(command: string): Flag[]
  GROUPS: { flags: Flag[] }[]
} = require('../lib/cli/flags.js')
const { helpText }: { helpText(about?: string, columns?: number): string } = require('../lib/cli/help.js')
const { completionScript }: { completionScript(shell: string): string } = require('../lib/cli/completion.js')
const { inFlags }: { inFlags(message: string, urlFrom?: string): string } = require('../lib/cli/settings.js')
const { readOptions }: { readOptions(options: object): Record<string, unknown> } = require('../lib/options.js')

const flags = GROUPS.flatMap((group) => group.flags)
const set = (target: string) =>
  flags.filter(({ sets }) => sets.startsWith(`${target}.`)).map(({ sets }) => sets.slice(target.length + 1))

/** Options that have no flag, each with the reason. */
const WITHOUT_FLAG: Record<string, string> = {
  autoExec: 'a load makes its batches itself',
  whenFull: 'a load waits for room by itself',
  encoding: 'nothing is collected',
  signal: 'Ctrl-C',
  cluster: 'not in this version',
  sentinel: 'not in this version',
  connections: 'not in this version',
}

test('every option of a pipeline has a flag, or a reason to have none', (t) => {
  const named = new Set(set('pipeline').map((path) => path.split('.')[0]))
  const known = knownNames({ '#': 1 })
  t.true(known.length > 20)
  t.deepEqual(
    known.filter((name) => !named.has(name) && !(name in WITHOUT_FLAG)),
    [],
  )
  t.deepEqual(
    Object.keys(WITHOUT_FLAG).filter((name) => named.has(name) || !known.includes(name)),
    [],
  )
  for (const option of ['tls', 'retry', 'waitReplicas', 'throttle']) {
    const its = set('pipeline').filter((path) => path.startsWith(`${option}.`))
    t.deepEqual(its.toSorted(), knownNames({ [option]: { '#': 1 } }).toSorted(), option)
  }
})

test('the defaults of the table are those of the package', (t) => {
  const defaults = readOptions({})
  for (const { sets, fallback, reads, names } of flags) {
    const [target, ...path] = sets.split('.')
    if (target !== 'pipeline' || fallback === undefined || path[0] === 'waitReplicas') continue
    const value = path.reduce<unknown>((object, name) => (object as Record<string, unknown>)[name], defaults)
    t.is(reads?.read(fallback), value, names.join(' '))
  }
})

test('messages about options speak of flags', (t) => {
  for (const [message, expected] of [
    ['retry.attempts must be an integer, got 5e9', '--retry-attempts must be an integer, got 5e9'],
    ['tls.cert and tls.key go together, tls.key is missing', '--cert and --key go together, --key is missing'],
    [
      'maxInFlightBytes must be at most maxBufferedBytes (1)',
      '--max-in-flight-bytes must be at most --max-buffered-bytes (1)',
    ],
    ['port must be an integer', '--port must be an integer'],
    ['username is given without a password', '--user is given without a password'],
    ['no host, no port: the key is free', 'no host, no port: the key is free'],
  ] as const) {
    t.is(inFlags(message), expected)
  }
  t.is(inFlags('url must have a host and port', 'REDIS_URL'), 'REDIS_URL must have a host and port')
})

test('help names every flag of a command, and fits the terminal', (t) => {
  for (const command of ['import', 'pipe', 'check']) {
    const text = helpText(command, 80)
    for (const { names } of flagsOf(command))
      t.true(text.includes(`  ${names.join(', ')}`), `${command} ${names.join(', ')}`)
    const shown = text.slice(text.search(/\n(The file|The server)\n/))
    t.deepEqual(
      shown.split('\n').filter((line) => line.length > 80 && !/^ {6}/.test(line)),
      [],
    )
    t.regex(text, /\n {2}3 +no connection/)
  }
  for (const command of Object.keys(COMMANDS)) t.true(helpText(undefined, 80).includes(`\n  ${command} `))
  t.regex(helpText('templates'), /\{\*\}/)
})

test('bash completes commands, flags, their values and files', async (t) => {
  const shell = await findShell('bash')
  if (shell === undefined) return t.pass('there is no bash')
  const folder = folderWith(t, { 'users.csv': '', 'users 2.csv': '', 'other.txt': '' })
  const script = `${completionScript('bash')}
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _respipe; printf '%s\\n' "\${COMPREPLY[@]}"`
  for (const [words, completed] of [
    [[''], ['--help', '--version', 'check', 'completion', 'help', 'import', 'pipe']],
    [['im'], ['import']],
    [
      ['import', 'us'],
      ['users 2.csv', 'users.csv'],
    ],
    [['import', 'users.csv', 'HSET {id}', '--retry-a'], ['--retry-attempts']],
    [
      ['import', '--replies', ''],
      ['check', 'off'],
    ],
    [['import', '--resend', '=', 'i'], ['idempotent']],
    [
      ['import', '--resend', '='],
      ['all', 'idempotent', 'none'],
    ],
    [['pipe', '--format'], []],
    [['pipe', '--failures', 'o'], ['other.txt']],
    [['pipe', '--port', ''], []],
    [
      ['completion', ''],
      ['bash', 'fish', 'zsh'],
    ],
    [['help', 't'], ['templates']],
  ] as [string[], string[]][]) {
    const ended = await runProgram(shell, ['-c', script, 'bash', 'respipe', ...words], { cwd: folder })
    t.deepEqual({ ...ended, stdout: '' }, { code: 0, stdout: '', stderr: '' }, words.join(' '))
    const lines = ended.stdout.split('\n').filter((word) => word !== '')
    t.deepEqual(lines.toSorted(), completed, words.join(' '))
  }
})

for (const shell of ['bash', 'zsh', 'fish']) {
  test(`the completion for ${shell} has every flag, and ${shell} can read it`, async (t) => {
    const script = completionScript(shell)
    for (const { names } of flags) {
      for (const name of names.filter((one) => one.startsWith('--'))) {
        t.true(script.includes(shell === 'fish' ? `-l ${name.slice(2)} ` : name), name)
      }
    }
    const program = await findShell(shell)
    // Not every machine has every shell.
    if (program === undefined) return
    const file = join(folderWith(t, { [`script.${shell}`]: script }), `script.${shell}`)
    const { code, stderr } = await runProgram(program, ['-n', file])
    t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  })
}

/** Where the PATH has a shell of this name, if it does. */
async function findShell(name: string): Promise<string | undefined> {
  const { code, stdout } = await runProgram('sh', ['-c', `command -v ${name}`])
  return code === 0 ? stdout.trim() : undefined
}

/** The package names its options when it is given one that it does not have. */
function knownNames(options: object): string[] {
  try {
    readOptions(options)
  } catch (error) {
    const names = /known are (.*)$/.exec(error instanceof Error ? error.message : '')?.[1]
    if (names !== undefined) return names.split(', ')
  }
  throw new Error('the options are not told')
}
