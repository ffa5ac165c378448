import type { Readable, Writable } from 'node:stream'

import type { Commands } from './commands.js'

export type { Commands }

/** One command argument. Strings go as UTF-8, numbers and bigints as JavaScript prints them, byte arrays as they are (copied). */
export type Argument = string | number | bigint | Uint8Array
/**
 * In place of a flat list of pairs (`hset`, `mset`, `xadd` …): an object (any interface whose fields fit), a Map, or an array in wire order,
 * flattened one level. `zadd` takes objects and Maps as member → score, arrays in wire order.
 */
export type Fields<T extends object = object> =
  { [K in keyof T]: Argument | null | undefined } | Map<Argument, Argument | null | undefined> | Argument[]

export interface BulkPipelineOptions {
  /** `redis://` `rediss://` `valkey://` `valkeys://` `unix:///path?db=0`, with `user:password@` and `/db`. */
  url?: string
  host?: string // '127.0.0.1'
  port?: number // 6379
  path?: string // unix socket; wins over host and port
  username?: string
  password?: string
  db?: number // 0
  clientName?: string
  tls?:
    | boolean
    | {
        ca?: string | Buffer
        cert?: string | Buffer
        key?: string | Buffer
        servername?: string
        rejectUnauthorized?: boolean
      }
  /** The server is a cluster: commands are routed by slot. `nodes`: more members to start from. */
  cluster?: boolean | { nodes?: string[] }
  /** The master is looked up under `name`, and followed when it moves. */
  sentinel?: { name: string; nodes: string[]; username?: string; password?: string }
  /** Sockets to each server. Commands of one key always take the same one, so their order stays. Default 1. */
  connections?: number

  /**
   * What becomes of the server's replies. They never reach JavaScript one by one.
   * - `'check'` (default): read and counted natively; error replies are kept, with their command.
   * - `'collect'`: also returned by `exec()`, in order.
   * - `'off'`: the server is told to send none (`CLIENT REPLY OFF`).
   */
  replies?: 'check' | 'collect' | 'off'
  /** How bulk strings come back from `collect` and `query`. Default 'utf8'. Replies have their RESP2 shapes; integers are numbers where safe, else bigints. */
  encoding?: 'utf8' | 'buffer'
  /** Change to a fresh connection after this many batches, losing nothing. 0 (default): never. */
  reconnectEvery?: number
  /** Wrap the commands of each `exec()` in MULTI … EXEC. */
  transaction?: boolean
  /**
   * Execute by itself at these thresholds (`true`: 64 KiB). Off by default: nothing is written before `exec()`.
   * An explicit `exec()` then reports on everything since the previous explicit one, `index` and `replies` included, and waits for it.
   * Automatic batches count for `reconnectEvery`. Not with `transaction` or `checkpoint` (there a batch is a unit that you choose).
   */
  autoExec?: boolean | { bytes?: number; commands?: number; ms?: number }

  /** Ceiling for bytes appended and not yet answered. Default 64 MiB. */
  maxBufferedBytes?: number
  /**
   * At the ceiling an append throws `RESPIPE_BUFFER_FULL` (default), or blocks the calling thread until there is room again.
   * It throws all the same where waiting cannot help: nothing executed yet, the connection given up, or only replies and failures
   * that JavaScript has not taken yet fill it (they count too).
   */
  whenFull?: 'throw' | 'block'
  /** Written and not yet answered, per connection: what can be in doubt after a fault. Default 1 MiB, never above `maxBufferedBytes`. */
  maxInFlightBytes?: number
  /**
   * Which commands in doubt are sent again after a lost connection; the others are reported as `unknown`. Default 'idempotent': those whose
   * repetition leaves the same state, unless another command in doubt that is not such shares a key with them. A transaction is repeated whole or not.
   */
  resend?: 'idempotent' | 'all' | 'none'
  /**
   * Exactly once: every batch is a transaction that also stores its run, number (and row) under this key; batches end at row boundaries.
   * Not with `cluster`, `connections` above 1, or `replies: 'off'`. Another run's value is never taken for this one's: only `resume` continues it.
   */
  checkpoint?: string
  /**
   * Repeats of a connection, or of work the server refuses for now (LOADING, OOM, BUSY, READONLY, TRYAGAIN, CLUSTERDOWN …), with jittered backoff.
   * The very first connection is tried `firstConnect` times more (3). Afterwards: `attempts` (default: no limit) within `maxElapsedMs` (600_000)
   * without progress. `attempts: 0`: no repeats at all. Delays: 50 to 2_000 ms.
   */
  retry?: { firstConnect?: number; attempts?: number; maxElapsedMs?: number; minDelayMs?: number; maxDelayMs?: number }
  connectTimeoutMs?: number // 10_000: TCP, TLS and login together
  /** Work outstanding, and for this long neither a reply completed nor a byte accepted: the connection is given up. Default 30_000. */
  stallTimeoutMs?: number
  /** `sync` and `close` also wait until this many replicas hold the data (WAIT). */
  waitReplicas?: { count: number; timeoutMs: number }
  /** A null or undefined field of an object, Map or row: refuse it (default), leave the field out, or send an empty string. */
  onNull?: 'throw' | 'skip' | 'empty'
  /** How many failures keep their details; all are counted. Default 100. */
  maxFailures?: number
  /** At most this much, to spare a server that others use. Default: no limit. */
  throttle?: { commandsPerSecond?: number; bytesPerSecond?: number }
  signal?: AbortSignal
}

/** A command the server refused. */
export interface CommandFailure {
  /** Place of the command among those of its `exec()`, from 0. */
  index: number
  /** Row number from 0, where the command came from `load`, `writable` or `importFile`. */
  row?: number
  command: string // 'HSET'
  key?: Buffer
  code: string // first word of the error reply: 'WRONGTYPE', 'OOM', 'ERR' …
  message: string
}

/**
 * What became of the commands: `commands === succeeded + failed + unknown`, always. `failed`: refused by the server, or never written because
 * the connection was given up (then under a RESPIPE_ code in `errors`): certainly not done. MULTI, EXEC, fences are not counted.
 * After EXECABORT the culprit has its own code, the other commands of the transaction have EXECABORT.
 */
export interface Outcome {
  commands: number
  succeeded: number
  failed: number
  /** Executed or not, one cannot tell: no reply was asked for, or the connection was lost before it came. */
  unknown: number
  bytes: number
  /** Failures by code. */
  errors: Record<string, number>
  /** The first `maxFailures` of them. */
  failures: CommandFailure[]
}
export type Reply = string | number | bigint | null | Buffer | Error | Reply[]
export interface BatchResult extends Outcome {
  /** With `replies: 'collect'`: one for each command, an `Error` where it failed. */
  replies?: Reply[]
}
export interface Summary extends Outcome {
  batches: number
  reconnects: number
  /** Commands sent a second time after a lost connection. */
  resent: number
  elapsedMs: number
  /** With `replies: 'off'`: error replies the server counted meanwhile, of all its clients (`total_error_replies`); null if it would not say. */
  serverErrorReplies?: number | null
}
export interface Stats extends Omit<Summary, 'failures' | 'serverErrorReplies'> {
  /** Appended, and not yet written. */
  bufferedBytes: number
  /** Written, and not yet answered. */
  inFlightBytes: number
  connected: boolean
}
export interface LoadOptions {
  onProgress?: (progress: Stats & { rows: number; bytesRead?: number; bytesTotal?: number }) => void
  progressIntervalMs?: number // 250
  onFailure?: (failure: CommandFailure) => void
  /** Give up (`RESPIPE_TOO_MANY_FAILURES`) once this many commands have failed. Default Infinity. */
  maxFailed?: number
  /** With `checkpoint`: skip the rows that the server already holds. */
  resume?: boolean
  signal?: AbortSignal
}
/** A command with holes: `HSET user:{id} name {name}`; or several, for each row in turn. Called with a row, or with the values of its holes in order. */
export interface Template {
  (row: object): BulkPipeline
  (...values: Argument[]): BulkPipeline
  readonly holes: readonly string[]
}
export type Mapper<T> = string | string[] | Template | ((row: T, bulk: BulkPipeline) => void)

/**
 * Commands go in through its methods, which return it again; what became of them comes out of `exec()`, `sync()` and `close()`.
 * Made by `bulkPipeline`. Belongs to the thread that made it.
 */
export interface BulkPipeline extends Commands, AsyncDisposable {
  /** Any command by name, modules' included. */
  call(name: string, ...args: (Argument | Argument[])[]): this
  /**
   * Writes everything appended. Resolves once the server has gone through the whole batch; it need not be awaited
   * before the next one. A command that the server refuses is data in the result; it rejects only where the work is given up
   * (`retry` used up, login refused, aborted …), with what was known in `outcome`; batches queued behind it reject with the same cause, and the
   * next `exec()` starts afresh. The promise notes whether anyone handles it (a subclass: `then` is seen): an unhandled rejection never ends the
   * process, and the first one (an automatic batch's too) is thrown once by the next `exec`, `drain`, `sync` or `close`; a handled one never comes back.
   * Methods that return promises never throw synchronously.
   */
  exec(): Promise<BatchResult>
  /** `exec()`, then waits for everything before it too; tells what became of all commands since the start. */
  sync(): Promise<Summary>
  /** True while the bytes executed and not yet answered are above an eighth of `maxBufferedBytes`: time to `await drain()`. */
  readonly needsDrain: boolean
  /** Resolves once they are below a sixteenth. What is appended and not executed counts for neither. */
  drain(): Promise<void>
  /** Commands appended, and not yet executed. */
  readonly length: number
  /** Forgets them; returns how many. */
  discard(): number
  /**
   * Rows to commands, with back-pressure; never keeps the thread longer than a few milliseconds. The summary is this load's alone.
   * A row the mapper or template cannot make a command of counts as failed, with its row; the load goes on.
   */
  load<T>(
    rows: Iterable<T> | AsyncIterable<T> | Readable,
    mapper: (row: T, bulk: BulkPipeline) => void,
    options?: LoadOptions,
  ): Promise<Summary>
  load<T>(rows: Iterable<T> | AsyncIterable<T> | Readable, mapper: Mapper<T>, options?: LoadOptions): Promise<Summary>
  /** The same as a Writable in object mode; `finish` comes only after the server has everything. */
  writable<T>(mapper: (row: T, bulk: BulkPipeline) => void, options?: LoadOptions): Writable
  writable<T>(mapper: Mapper<T>, options?: LoadOptions): Writable
  /** The same from a file, read and parsed outside JavaScript. `resp` and `commands` files hold commands already: no template. */
  importFile(
    path: string,
    template: string | string[] | null,
    options?: LoadOptions & {
      format?: 'csv' | 'tsv' | 'ndjson' | 'resp' | 'commands'
      header?: boolean | string[]
      delimiter?: string
    },
  ): Promise<Summary>
  template(command: string | string[]): Template
  /** One command and its reply, on a connection of its own: for looking, beside the load. */
  query(name: string, ...args: (Argument | Argument[])[]): Promise<Reply>
  /** With `checkpoint`: the last batch (and row) that the server holds. */
  lastCheckpoint(): Promise<{ batch: number; row?: number } | null>
  stats(): Stats
  /** `sync()`, then disconnects, also where it rejects. Idempotent. */
  close(): Promise<Summary>
  /** Disconnects at once; pending promises reject with `RESPIPE_CLOSED` and tell what is unknown. */
  destroy(): void
  on(event: 'failure', listener: (failure: CommandFailure) => void): this
  on(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  /** Work was given up. Without a listener nothing is thrown. */
  on(event: 'error', listener: (error: RespipeError) => void): this
  once(event: 'failure', listener: (failure: CommandFailure) => void): this
  once(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  once(event: 'error', listener: (error: RespipeError) => void): this
  off(event: 'failure', listener: (failure: CommandFailure) => void): this
  off(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  off(event: 'error', listener: (error: RespipeError) => void): this
  listenerCount(event: 'failure' | 'reconnect' | 'error'): number
}
/** One class, whether imported or required. */
export class RespipeError extends Error {
  /**
   * RESPIPE_ + INVALID_ARGUMENT, INVALID_OPTION, FORBIDDEN_COMMAND, BUFFER_FULL, CLOSED, ABORTED, UNSUPPORTED (usage);
   * CONNECT, TLS, AUTH, CONNECTION_LOST, STALLED, PROTOCOL (connection); REFUSED (the server is no place to write: a replica, a Sentinel; WAIT fell short);
   * TOO_MANY_FAILURES, IO (loading), INTERNAL.
   */
  readonly code: string
  /** What was known when it happened. */
  readonly outcome?: Outcome
}
export function bulkPipeline(url?: string, options?: BulkPipelineOptions): BulkPipeline
export function bulkPipeline(options: BulkPipelineOptions): BulkPipeline
