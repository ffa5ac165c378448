import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { text } from 'node:stream/consumers'
import type { Readable } from 'node:stream'
import { spawnKept } from './children.ts'
import { waitingFor } from './test.ts'

export interface ScriptOptions {
  args?: string[]
  env?: Record<string, string | undefined>
  /** Flags for Node.js itself. */
  nodeArgs?: string[]
  /** Default: the root of the project. */
  cwd?: string
  /** Standard input, whole; otherwise there is none. */
  input?: string | Uint8Array
}

export interface ScriptResult {
  /** Null where a signal ended it. */
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** The most memory it had at once, in bytes; undefined where it could not tell before its end. */
  peakRss?: number
  elapsedMs: number
}

/** Runs a script in a process of its own: a file, or the text of an ES module, whose imports start at `cwd`. */
export async function runScript(script: URL | { source: string }, options: ScriptOptions = {}): Promise<ScriptResult> {
  const { args = [], env = {}, nodeArgs = [], cwd = root, input } = options
  const what = script instanceof URL ? [fileURLToPath(script)] : ['--input-type=module', '--eval', script.source, '--']
  const start = performance.now()
  const child = spawnKept(process.execPath, [...nodeArgs, '--import', reportPeak, ...what, ...args], {
    cwd,
    env: { ...process.env, NODE_OPTIONS: undefined, ...env },
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', 'pipe'],
  })
  // A script may end before it has read everything.
  child.stdin?.on('error', () => {})
  child.stdin?.end(input)
  const outputs = child.stdio.slice(1).map((stream) => text(stream as Readable))
  const [[code, signal], stdout = '', stderr = '', peak] = await waitingFor(
    'the end of a script',
    Promise.all([once(child, 'close'), ...outputs]),
  )
  return {
    code,
    signal,
    stdout,
    stderr,
    peakRss: peak ? Number(peak) : undefined,
    elapsedMs: performance.now() - start,
  }
}

const root = fileURLToPath(new URL('../..', import.meta.url))

// Linux hands the parent's peak down in resourceUsage().maxRSS; VmHWM starts anew with the program.
const reportPeak = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeSync } from 'node:fs'
  process.on('exit', () => {
    let kilobytes = process.resourceUsage().maxRSS
    try {
      kilobytes = /VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]
    } catch {}
    writeSync(3, String(kilobytes * 1024))
  })
`)}`
