// The command as a process of its own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from './helpers/test.ts'

const cli = fileURLToPath(new URL('../cli.js', import.meta.url))

for (const [args, code, stdout, stderr] of [
  [['--version'], 0, /^respipe \d+\.\d+\.\d+\n$/, /^$/],
  [['--help'], 0, /^respipe loads files .*\n[^]*\nExit codes\n/, /^$/],
  [['import', '--help'], 0, /^respipe import <file> '<template>' … \[flags\]\n/, /^$/],
  [['help', 'templates'], 0, /^A template is /, /^$/],
  [['completion', 'bash'], 0, /\ncomplete -F _respipe respipe\n$/, /^$/],
  [[], 2, /^$/, /^respipe: a command is missing, .*\n$/],
  [['import', 'users.csv'], 2, /^$/, /^respipe: import needs a template .*\n$/],
  [['pipe', '-h', 'two words'], 2, /^$/, /^respipe: --host must be a host name .*\n$/],
] as const) {
  test(`respipe ${args.join(' ')} ends with ${code}`, async (t) => {
    const ended = await respipe([...args])
    t.is(ended.code, code)
    t.regex(ended.stdout, stdout)
    t.regex(ended.stderr, stderr)
  })
}

test('a reader that has enough ends it quietly', async (t) => {
  const { code, stderr } = await respipe(['help', 'import'], (child) => child.stdout.destroy())
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
})

test('the name of the command and the commands in the README are those of the table', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const { stdout } = await respipe(['--help'])
  for (const [, command] of stdout.matchAll(/^ {2}(import|pipe|check|completion) /gm)) {
    t.true(readme.includes(`respipe ${command}`), command)
  }
})

async function respipe(args: string[], then: (child: ReturnType<typeof start>) => void = () => {}) {
  const child = start(args)
  const output = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  then(child)
  const [code] = await once(child, 'close')
  return { code, ...output }
}

function start(args: string[]) {
  return spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
}
