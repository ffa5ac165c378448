// Programs as processes of their own, above all the command `respipe`, as a shell starts it.

import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { once } from 'node:events'
import { symlinkSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { spawnKept } from './children.ts'
import { waitingFor } from './test.ts'

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
  /** Waits until its standard error has this; rejects where it ends without. */
  says(what: RegExp): Promise<void>
}
export interface CommandOptions {
  env?: Record<string, string>
  /** Standard input, whole; otherwise there is none. `child.stdin` is there for more. */
  input?: string | Buffer | 'pipe'
}

/** Starts it, with none of the environment's servers and passwords. It ends with its test at the latest. */
export function start(t: ExecutionContext, args: string[], options: CommandOptions = {}): Running {
  return startProgram(t, process.execPath, [cli, ...args], options)
}

/** Runs it to its end. */
export function respipe(t: ExecutionContext, args: string[], options: CommandOptions = {}): Promise<Ended> {
  return start(t, args, options).ended
}

/** Runs what respipe has printed, in a shell that knows the command by its name. */
export function pasted(t: ExecutionContext, folder: string, line: string): Promise<Ended> {
  symlinkSync(cli, join(folder, 'respipe'))
  const env = { PATH: `${folder}${delimiter}${process.env.PATH}` }
  return startProgram(t, 'sh', ['-c', line], { env }).ended
}

/** Starts any program in the same way. */
export function startProgram(
  t: ExecutionContext,
  program: string,
  args: string[],
  { env = {}, input }: CommandOptions = {},
): Running {
  const stdin = input === undefined ? 'ignore' : 'pipe'
  const running = runningOf(program, args, { env: { ...clean, ...env }, stdio: [stdin, 'pipe', 'pipe'] })
  const { child } = running
  t.teardown(() => child.kill('SIGKILL'))
  // Whoever does not read all of it is in the right.
  child.stdin?.on('error', () => {})
  if (input !== undefined && input !== 'pipe') child.stdin?.end(input)
  return running
}

/** Runs a program to its end, also outside of a test. */
export function runProgram(program: string, args: string[], options: SpawnOptions = {}): Promise<Ended> {
  return runningOf(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] }).ended
}

function runningOf(program: string, args: string[], options: SpawnOptions): Running {
  const child = spawnKept(program, args, options)
  const what = [program, ...args].join(' ')
  const output = { stdout: '', stderr: '' }
  const collect = (stream: Readable | null, to: keyof typeof output) => {
    stream?.setEncoding('utf8').on('data', (piece: string) => (output[to] += piece))
  }
  collect(child.stdout, 'stdout')
  collect(child.stderr, 'stderr')
  const closed = once(child, 'close').then(([code]) => ({ code: code as number | null, ...output }))

  const says = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (pattern.test(output.stderr)) resolve()
      }
      look()
      child.stderr?.on('data', look)
      closed.then(() => reject(new Error(`${what} ended without ${pattern}: ${output.stderr}`)), reject)
    })
  return {
    child,
    ended: waitingFor(`the end of ${what}`, closed),
    says: (pattern) => waitingFor(`${pattern} from ${what}`, says(pattern)),
  }
}

const clean = {
  ...process.env,
  REDIS_URL: undefined,
  VALKEY_URL: undefined,
  REDISCLI_AUTH: undefined,
  NODE_OPTIONS: undefined,
  LC_ALL: 'C.UTF-8',
}
