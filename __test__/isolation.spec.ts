// No test has an effect on another one. Runners of their own run the files in fixtures/.

import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

import { spawnKept } from './helpers/children.ts'
import { folderWith } from './helpers/cli.ts'
import { until } from './helpers/outcomes.ts'
import test, { waitingFor } from './helpers/test.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

function runner(file: string, env: Record<string, string>) {
  const ava = join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')
  const args = [ava, '--config', '__test__/fixtures/ava.config.js', '--tap', `__test__/fixtures/${file}`]
  const child = spawnKept(process.execPath, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  })
  const output = Promise.all([text(child.stdout!), text(child.stderr!)]).then((parts) => parts.join(''))
  return { child, ended: waitingFor(`the end of ${file}`, Promise.all([once(child, 'close'), output])) }
}

test('a test that hangs fails alone and names what it waits for; one that fails prints its seed and the log of its server', async (t) => {
  const { child, ended } = runner('failing.ts', { RESPIPE_TEST_LIMIT_MS: '1000' })
  const [, output] = await ended
  t.is(child.exitCode, 1)
  t.is(output.match(/^ok /gm)?.length, 20, output)
  t.deepEqual(
    output
      .match(/^not ok \d+ - .*/gm)
      ?.map((line) => line.replace(/\d+/, 'n'))
      .toSorted(),
    ['not ok n - fails', 'not ok n - hangs'],
    output,
  )
  t.regex(output, /not over after 1 s; it waits for: until \(\) => t\.title === ["']another one["']/)
  t.regex(output, /seed 4711/)
  t.regex(output, /the server on port \d+:\n[^]*Ready to accept connections/)
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const) {
  test(`after ${signal} of the runner no server, script or command is left, and no folder`, async (t) => {
    const file = join(folderWith(t), 'children')
    const { child, ended } = runner('endless.ts', { CHILDREN_FILE: file })
    await until(() => existsSync(file) && readFileSync(file, 'utf8').includes('\n'))
    const { children, folder } = JSON.parse(readFileSync(file, 'utf8')) as { children: number[]; folder: string }
    t.is(children.length, 4)
    t.deepEqual(children.filter(isAlive), children)
    t.true(existsSync(folder))
    child.kill(signal)
    await ended
    await until(() => !children.some(isAlive) && !existsSync(folder))
    t.pass()
  })
}

/** Not one that has ended and is not yet waited for, either. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const status = `/proc/${pid}/stat`
  return !(existsSync(status) && /^\d+ \(.*\) Z/.test(readFileSync(status, 'utf8')))
}
