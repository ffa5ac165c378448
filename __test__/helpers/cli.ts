// The command `respipe` within the test process: a world of its own, with a pipeline that does as the test says.

import { EventEmitter } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecutionContext } from 'ava'
import { bulkPipeline, RespipeError } from '../../index.js'
import type { BulkPipelineOptions, CommandFailure, LoadOptions, Stats, Summary } from '../../index.js'

const require = createRequire(import.meta.url)
const { run }: { run(argv: string[], parts: object): Promise<number> } = require('../../lib/cli/run.js')

export type ImportOptions = LoadOptions & {
  format?: string
  header?: boolean | string[]
  delimiter?: string
  onProgress(stats: Partial<Stats> & { rows: number; bytesRead?: number; bytesTotal?: number }): void
  onFailure(failure: CommandFailure & { line?: number }): void
  signal: AbortSignal
}
export interface Imported {
  pipeline: BulkPipelineOptions
  path: string
  template: string | string[] | null
  options: ImportOptions
  destroyed: number
}
export interface World {
  /** What the load does; otherwise it succeeds with nothing. */
  importFile?: (options: ImportOptions, world: Running) => Promise<Partial<Summary>>
  close?: () => Promise<Partial<Summary>>
  checkFile?: (path: string, template: unknown, options: Record<string, unknown>) => Promise<object>
  env?: Record<string, string>
  /** What is typed where a password is asked for. */
  typed?: string
  /** Standard input is a terminal. */
  isTyped?: boolean
  /** Columns of standard error, where it is a terminal. */
  terminal?: number
}
export interface Running {
  signals: EventEmitter
  bulk: EventEmitter
  stderr: FakeStream
  /** Milliseconds that pass at once. */
  pass(ms: number): void
}
export interface Ran {
  code: number
  stdout: string
  stderr: string
  imported?: Imported
  exits: number[]
}

/** Keeps what is written to it. */
export class FakeStream extends EventEmitter {
  text = ''
  readonly isTTY: boolean
  columns?: number

  constructor(columns?: number) {
    super()
    this.isTTY = columns !== undefined
    this.columns = columns
  }

  write(text: string): boolean {
    this.text += text
    return true
  }
}

class FakeTerminal extends EventEmitter {
  constructor(typed: string) {
    super()
    // In pieces, as people type.
    for (const letter of typed) setImmediate(() => this.emit('data', letter))
    if (typed === '') setImmediate(() => this.emit('end'))
  }

  setRawMode(): void {}
  setEncoding(): void {}
  destroy(): void {}
}

/** Runs a command line; the options of the pipeline are checked as ever, but nothing is connected. */
export async function respipe(argv: string[], world: World = {}): Promise<Ran> {
  const signals = new EventEmitter()
  const bulk = new EventEmitter()
  const [stdout, stderr] = [new FakeStream(), new FakeStream(world.terminal)]
  const exits: number[] = []
  let imported: Imported | undefined
  let now = 1_000
  const pass = (ms: number) => {
    now += ms
  }
  const parts = {
    stdout,
    stderr,
    signals,
    env: world.env ?? {},
    exit: (code: number) => exits.push(code),
    now: () => now,
    isInputTerminal: () => world.isTyped ?? false,
    checkFile: world.checkFile,
    ...(world.typed !== undefined && { openTerminal: () => new FakeTerminal(world.typed ?? '') }),
    bulkPipeline(pipeline: BulkPipelineOptions) {
      bulkPipeline(pipeline).destroy()
      return Object.assign(bulk, {
        importFile(path: string, template: Imported['template'], options: ImportOptions) {
          imported = { pipeline, path, template, options, destroyed: 0 }
          return world.importFile?.(options, { signals, bulk, stderr, pass }) ?? Promise.resolve(summary({}))
        },
        close: world.close ?? (() => Promise.resolve(summary({}))),
        destroy() {
          if (imported !== undefined) imported.destroyed += 1
        },
      })
    },
  }
  const code = await run(argv, parts)
  return { code, stdout: stdout.text, stderr: stderr.text, imported, exits }
}

export function summary(parts: Partial<Summary>): Summary {
  const { succeeded = 0, failed = 0, unknown = 0 } = parts
  return {
    commands: succeeded + failed + unknown,
    succeeded,
    failed,
    unknown,
    bytes: 100 * (succeeded + failed + unknown),
    errors: failed > 0 ? { WRONGTYPE: failed } : {},
    failures: [],
    batches: 1,
    reconnects: 0,
    resent: 0,
    elapsedMs: 1_000,
    // The command tells of failures in its own way.
    throwIfFailed() {
      return this
    },
    ...parts,
  }
}

export function refusal(row: number): CommandFailure & { row: number; line: number } {
  const message = 'WRONGTYPE Operation against a key holding the wrong kind of value'
  return {
    index: row,
    row,
    line: row + 2,
    command: 'HSET',
    key: Buffer.from(`user:${row}`),
    code: 'WRONGTYPE',
    message,
  }
}

export function givenUp(code: string, message: string, outcome?: Summary): Error {
  const details = outcome && { outcome }
  return new (RespipeError as unknown as new (code: string, message: string, details?: object) => Error)(
    code,
    message,
    details,
  )
}

/** Of a load that is given up. */
export function rejecting(code: string, message: string, outcome?: Summary): () => Promise<never> {
  return () => Promise.reject(givenUp(code, message, outcome))
}

/** A folder that ends with its test, and the files in it. */
export function folderWith(t: ExecutionContext, files: Record<string, string | Buffer> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'respipe-cli-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  return folder
}
