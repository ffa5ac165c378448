// The command as a process of its own.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import test from './helpers/test.ts'
import { cli, respipe, startProgram } from './helpers/command.ts'

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
    const ended = await respipe(t, [...args])
    t.is(ended.code, code)
    t.regex(ended.stdout, stdout)
    t.regex(ended.stderr, stderr)
  })
}

test('a reader that has enough ends it quietly', async (t) => {
  // The shell waits for a line of its input: respipe begins once nobody reads its output any more.
  const args = ['-c', 'read -r go; exec "$@"', 'sh', process.execPath, cli, 'help', 'import']
  const { child, ended } = startProgram(t, 'sh', args, { input: 'pipe' })
  const { stdin, stdout } = child
  if (stdin === null || stdout === null) return t.fail()
  stdout.destroy()
  await once(stdout, 'close')
  stdin.end('go\n')
  const { code, stderr } = await ended
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
})

test('the name of the command and the commands in the README are those of the table', async (t) => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
  const { stdout } = await respipe(t, ['--help'])
  const commands = [...stdout.matchAll(/^ {2}(import|pipe|check|completion) /gm)].map(([, command]) => command)
  t.deepEqual(commands, ['import', 'pipe', 'check', 'completion'])
  for (const command of commands) t.true(readme.includes(`respipe ${command}`), command)
})
