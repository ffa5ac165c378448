// The command `respipe` as a process of its own, as a shell starts it.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { spawnKept } from './children.ts'

export const cli = fileURLToPath(new URL('../../cli.js', import.meta.url))

export interface Ended {
  /** Null where a signal ended it. */
  code: number | null
  stdout: string
  stderr: string
}
export interface Running {
  child: ChildProcess
  ended: Promise<Ended>
}
export interface CommandOptions {
  env?: Record<string, string>
  /** Standard input, whole; otherwise there is none. `child.stdin` is there for more. */
  input?: string | Buffer | 'pipe'
}

/** Starts it, with none of the environment's servers and passwords. It ends with its test at the latest. */
export function start(t: ExecutionContext, args: string[], { env = {}, input }: CommandOptions = {}): Running {
  const child = spawnKept(process.execPath, [cli, ...args], {
    env: { ...clean, ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  // Whoever does not read all of it is in the right.
  child.stdin?.on('error', () => {})
  if (input !== undefined && input !== 'pipe') child.stdin?.end(input)
  return { child, ended: endOf(child) }
}

/** Runs it to its end. */
export function respipe(t: ExecutionContext, args: string[], options: CommandOptions = {}): Promise<Ended> {
  return start(t, args, options).ended
}

/** Runs what respipe has printed, in a shell that knows the command by its name. */
export function pasted(t: ExecutionContext, folder: string, line: string): Promise<Ended> {
  symlinkSync(cli, join(folder, 'respipe'))
  const path = `${folder}${delimiter}${process.env.PATH}`
  const child = spawnKept('sh', ['-c', line], {
    env: { ...clean, PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  return endOf(child)
}

async function endOf(child: ChildProcess): Promise<Ended> {
  const [[code], stdout, stderr] = await Promise.all([
    once(child, 'close'),
    child.stdout === null ? '' : text(child.stdout),
    child.stderr === null ? '' : text(child.stderr),
  ])
  return { code, stdout, stderr }
}

const clean = {
  ...process.env,
  REDIS_URL: undefined,
  VALKEY_URL: undefined,
  REDISCLI_AUTH: undefined,
  NODE_OPTIONS: undefined,
  LC_ALL: 'C.UTF-8',
}
