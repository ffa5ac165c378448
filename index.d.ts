import type { Readable, Writable } from 'node:stream'

import type { Commands } from './commands.js'

export type { Commands }

/**
 * One command argument. Strings go as UTF-8, numbers and bigints as JavaScript prints them, byte arrays as they are (copied).
 * Refused with `RESPIPE_INVALID_ARGUMENT`: NaN, the infinities (but for scores), half a surrogate pair, and whatever is none of these types.
 */
export type Argument = string | number | bigint | Uint8Array
/**
 * In place of a flat list of pairs (`hset`, `mset`, `xadd` …): an object (any interface whose fields fit), a Map, or an array in wire order,
 * flattened one level. `zadd` takes objects and Maps as member → score, arrays in wire order.
 */
export type Fields<T extends object = object> =
  { [K in keyof T]: Argument | null | undefined } | Map<Argument, Argument | null | undefined> | Argument[]

/**
 * What is wrong throws `RESPIPE_INVALID_OPTION`, an unknown name included; what is not there yet in this version throws `RESPIPE_UNSUPPORTED`.
 * An option that is `undefined` counts as not given.
 */
export interface BulkPipelineOptions {
  /**
   * `redis://` `rediss://` `valkey://` `valkeys://` `unix:///path?db=0`, with `user:password@` and `/db`.
   * What stands in it is percent-decoded; an option given beside it wins over its part.
   */
  url?: string
  /**
   * A name or an IP address.
   * @default '127.0.0.1'
   */
  host?: string
  /** @default 6379 */
  port?: number
  /** Of a unix socket; wins over `host` and `port`. Not with `tls`. */
  path?: string
  /** Needs a `password`. */
  username?: string
  /** Shown by no error and no `inspect`. */
  password?: string
  /** @default 0 */
  db?: number
  /** For CLIENT SETNAME: printable ASCII without blanks. */
  clientName?: string
  /**
   * TLS 1.2 or 1.3. `true`: with the authorities that the system trusts. Certificates and keys are PEM texts.
   * `rejectUnauthorized: false` takes any certificate, and warns of it once.
   * @default false, true with `rediss://` and `valkeys://`
   */
  tls?:
    | boolean
    | {
        ca?: string | Buffer
        cert?: string | Buffer
        key?: string | Buffer
        servername?: string
        rejectUnauthorized?: boolean
      }
  /**
   * The server is a cluster: commands are routed by slot. `nodes`: more members to start from.
   * Not in this version: `RESPIPE_UNSUPPORTED`.
   * @default false
   */
  cluster?: boolean | { nodes?: string[] }
  /** The master is looked up under `name`, and followed when it moves. Not in this version: `RESPIPE_UNSUPPORTED`. */
  sentinel?: { name: string; nodes: string[]; username?: string; password?: string }
  /**
   * Sockets to each server. Commands of one key always take the same one, so their order stays.
   * Above 1 not in this version: `RESPIPE_UNSUPPORTED`.
   * @default 1
   */
  connections?: number

  /**
   * What becomes of the server's replies. They never reach JavaScript one by one.
   * - `'check'` (default): read and counted natively; error replies are kept, with their command.
   * - `'collect'`: also returned by `exec()`, in order.
   * - `'off'`: the server is told to send none (`CLIENT REPLY OFF`): all is `unknown`. `RESPIPE_REFUSED` where errors would leave no sign
   *   at all (a replica, a cluster), `RESPIPE_AUTH` where a permission is missing.
   * @default 'check'
   */
  replies?: 'check' | 'collect' | 'off'
  /**
   * How bulk strings come back from `collect` and `query`. Replies have their RESP2 shapes; integers are numbers where safe, else bigints.
   * Bytes that are no UTF-8 become U+FFFD in `'utf8'`; a bulk string too long for a string of JavaScript (512 MiB) comes as an `Error`.
   * @default 'utf8'
   */
  encoding?: 'utf8' | 'buffer'
  /**
   * Change to a fresh connection after this many batches, automatic ones too, losing nothing: the next one is opened and logged in
   * beforehand, and takes over in order and without a pause (`WAIT`, `CLIENT UNBLOCK`; without a permission for them, once the old one has
   * answered everything). 0: never.
   * @default 0
   */
  reconnectEvery?: number
  /**
   * Wrap the commands of each `exec()` in MULTI … EXEC. Not with `autoExec`.
   * @default false
   */
  transaction?: boolean
  /**
   * Execute by itself at these thresholds (`true`: 64 KiB). Off by default: nothing is written before `exec()`.
   * An explicit `exec()` then reports on everything since the previous explicit one, `index` and `replies` included, and waits for it.
   * Automatic batches count for `reconnectEvery`. Not with `transaction` or `checkpoint` (there a batch is a unit that you choose).
   * `bytes` is lowered to half of `maxBufferedBytes` where it is not below that. `ms` counts from the first command of a batch, and keeps the
   * process alive until then.
   * @default false
   */
  autoExec?: boolean | { bytes?: number; commands?: number; ms?: number }

  /**
   * Ceiling for bytes appended and not yet answered. Each batch under way counts 512 bytes more.
   * @default 67_108_864 (64 MiB)
   */
  maxBufferedBytes?: number
  /**
   * At the ceiling an append throws `RESPIPE_BUFFER_FULL` (default), or blocks the calling thread until there is room again.
   * It throws all the same where waiting cannot help: nothing executed yet, the connection given up, or only replies and failures
   * that JavaScript has not taken yet fill it (they count too).
   * @default 'throw'
   */
  whenFull?: 'throw' | 'block'
  /**
   * Bytes written and not yet answered, per connection: what can be in doubt after a fault. Never above `maxBufferedBytes`.
   * A command that is larger goes alone.
   * @default 1_048_576 (1 MiB), or `maxBufferedBytes` where that is less
   */
  maxInFlightBytes?: number
  /**
   * Which commands in doubt are sent again after a lost connection; the others are reported as `unknown`. Default 'idempotent': those whose
   * repetition leaves the same state, unless another command in doubt that is not such shares a key with them. A transaction is repeated whole
   * or not. A time to live counts from the repetition. Nothing is sent again after a stall where the server does not let us end the old
   * connection (CLIENT KILL).
   * @default 'idempotent'
   */
  resend?: 'idempotent' | 'all' | 'none'
  /**
   * Exactly once: every batch is a transaction that also stores its run, number (and row) under this key; batches end at row boundaries.
   * Not with `cluster`, `connections` above 1, `autoExec`, or `replies: 'off'`. Another run's value is never taken for this one's: only `resume` continues it, or
   * `lastCheckpoint()` before the first `exec()`. The key is a hash. Needs CLIENT KILL where another pipeline has written it: else `RESPIPE_AUTH`.
   * `RESPIPE_REFUSED` where the key holds something else, another pipeline has taken it over, or the server has lost confirmed batches.
   */
  checkpoint?: string
  /**
   * Repeats of a connection, or of work the server refuses for now (LOADING, OOM, BUSY, READONLY, TRYAGAIN, CLUSTERDOWN …), with jittered
   * backoff. A command that was refused for now has failed once this is used up, or where a later one on its key succeeded meanwhile.
   * The very first connection is tried `firstConnect` times more (3). Afterwards: `attempts` (default: no limit) within `maxElapsedMs` (600_000)
   * without progress. `attempts: 0`: no repeats at all. Delays: 50 to 2_000 ms, doubled from one to the next.
   * @default { firstConnect: 3, attempts: Infinity, maxElapsedMs: 600_000, minDelayMs: 50, maxDelayMs: 2_000 }
   */
  retry?: { firstConnect?: number; attempts?: number; maxElapsedMs?: number; minDelayMs?: number; maxDelayMs?: number }
  /**
   * Milliseconds for TCP, TLS and login together.
   * @default 10_000
   */
  connectTimeoutMs?: number
  /**
   * Milliseconds. Work outstanding, and for this long neither a reply completed nor a byte accepted: the connection is given up.
   * @default 30_000
   */
  stallTimeoutMs?: number
  /** `sync` and `close` also wait until this many replicas hold the data (WAIT), and reject with `RESPIPE_REFUSED` where fewer do. Milliseconds. */
  waitReplicas?: { count: number; timeoutMs: number }
  /**
   * A null or undefined field of an object, Map or row: refuse it, leave the field out, or send an empty string.
   * An argument of its own (`set(key, null)`) is always refused; a value of a template counts as a field of a row, but is refused
   * in a key too.
   * @default 'throw'
   */
  onNull?: 'throw' | 'skip' | 'empty'
  /**
   * How many failures keep their details, in each outcome; all are counted.
   * @default 100
   */
  maxFailures?: number
  /**
   * At most this much in a second, to spare a server that others use; of two limits each holds. It is writing that waits, every 2 milliseconds a
   * little goes out: appending goes on up to `maxBufferedBytes`. Commands sent again count again; what frames them (MULTI, EXEC, fences) counts
   * for the bytes only. After a pause 20 milliseconds' worth may go at once. A transaction is written at this pace, and executed in one go.
   * At least one of the two; up to 2_147_483_647 commands, 1 TiB.
   * @default no limit
   */
  throttle?: { commandsPerSecond?: number; bytesPerSecond?: number }
  /** Ends the pipeline as `destroy()` does, but with `RESPIPE_ABORTED`. */
  signal?: AbortSignal
}

/** A command that certainly was not done: the server refused it, it was never written, or a row could not be made one. */
export interface CommandFailure {
  /** Place of the command among those of its `exec()`, or of its load, from 0. A row that made no command has a place, too. */
  index: number
  /** Row number from 0, where the command came from `load`, `writable` or `importFile`. */
  row?: number
  /** Where the row begins in a text file, from 1. */
  line?: number
  /** Its name in upper case: `'HSET'`. Of a row that made none, the first of the template; of a function, the one that was refused, or empty. */
  command: string
  /** Its first key, byte for byte; missing where it has none, or where respipe does not know the command. */
  key?: Buffer
  /** First word of the error reply: `'WRONGTYPE'`, `'OOM'`, `'ERR'` …; a `RESPIPE_` code for what was never written. */
  code: string
  /** The whole error reply, at most 1 KiB of it, its control characters escaped. */
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
  /** Certainly not done. */
  failed: number
  /** Executed or not, one cannot tell: no reply was asked for, or the connection was lost before it came. */
  unknown: number
  /** Of the commands, as they go over the wire. */
  bytes: number
  /** Failures by code. Beyond 128 different codes they are counted together as `OTHER`. */
  errors: Record<string, number>
  /** The first `maxFailures` of them. Not enumerable on an error's `outcome`: an error that nobody catches fits on a screen. */
  failures: CommandFailure[]
  /**
   * Throws a `RespipeError` (`RESPIPE_FAILED`, with this as its `outcome`) unless every command has succeeded; returns this.
   * With `replies: 'off'` nothing is known to have succeeded.
   */
  throwIfFailed(): this
}
/** A reply in the shape of RESP2. An error is an `Error` with the `code` that is its first word. */
export type Reply = string | number | bigint | null | Buffer | Error | Reply[]
export interface BatchResult extends Outcome {
  /** With `replies: 'collect'`: one for each command, an `Error` where it failed. */
  replies?: Reply[]
}
/** What became of everything since the start. */
export interface Summary extends Outcome {
  /** Those with commands in them, automatic ones included. */
  batches: number
  /** Connections that took over from another. */
  reconnects: number
  /** Commands sent a second time after a lost connection. */
  resent: number
  /** Since the pipeline was made. */
  elapsedMs: number
  /** With `replies: 'off'`: error replies the server counted meanwhile, of all its clients (`total_error_replies`); null if it would not say. */
  serverErrorReplies?: number | null
}
/** A look at a pipeline: what is known at this moment. `commands` are those of which the outcome is known by now. */
export interface Stats extends Omit<Summary, 'failures' | 'serverErrorReplies'> {
  /** Appended, executed or not, and not yet written. */
  bufferedBytes: number
  /** Written, and not yet answered. */
  inFlightBytes: number
  /** For writing; `query` has a connection of its own. */
  connected: boolean
}
/** How far a load is: `rows` gone through, those that `resume` skips included. Bytes are those of the pipeline, all else is this load's. */
export type LoadProgress = Stats & { rows: number; bytesRead?: number; bytesTotal?: number }
/** For `load`, `writable` and `importFile`. What a callback throws ends the load, which rejects with it. */
export interface LoadOptions {
  /** Told every `progressIntervalMs`, and once more in the end. */
  onProgress?: (progress: LoadProgress) => void
  /**
   * Milliseconds.
   * @default 250
   */
  progressIntervalMs?: number
  /** Told of each command that has failed, beyond `maxFailures` too. */
  onFailure?: (failure: CommandFailure) => void
  /**
   * Give up (`RESPIPE_TOO_MANY_FAILURES`) once this many commands have failed: rows that follow are not taken, what is in flight is waited for.
   * `Infinity`: never.
   * @default where the first 1,000 commands have all failed with the same code
   */
  maxFailed?: number
  /**
   * With `checkpoint`: skip the rows that the server already holds. The source must bring the same rows in the same order. `RESPIPE_INVALID_OPTION`
   * without `checkpoint`. A checkpoint tells of one load: a second one, unless the first has failed, needs a pipeline and a key of its own.
   * @default false
   */
  resume?: boolean
  /**
   * Ends the load: no more rows are taken, what is on its way is waited for, then it rejects with `RESPIPE_ABORTED`, and what is known in
   * `outcome`. `destroy()` of the pipeline waits for nothing.
   */
  signal?: AbortSignal
}
export interface WritableOptions extends LoadOptions {
  /**
   * Rows that are taken in before `write()` returns false.
   * @default 512
   */
  highWaterMark?: number
}
export interface ImportOptions extends LoadOptions {
  /**
   * - `csv`, `tsv`: after RFC 4180, with quotes in tsv too; UTF-8. Fields are text. A stray quote and a wrong number of fields make a broken line.
   * - `ndjson`: an object a line. Integers go as they are written, of any length; other numbers as JavaScript prints them.
   * - `resp`: what `redis-cli --pipe` takes, inline commands too. `SELECT` of the pipeline's own `db` is passed over; MULTI … EXEC stays a transaction.
   * - `commands`: one command a line, with quotes as in redis-cli; lines that are empty or begin with `#` are none.
   * @default by the name of the file
   */
  format?: 'csv' | 'tsv' | 'ndjson' | 'resp' | 'commands'
  /**
   * Of csv and tsv: the first row has the names of the columns; they are these; or there are none, and holes are `{0}`, `{1}` …
   * @default true
   */
  header?: boolean | string[]
  /**
   * One character of ASCII.
   * @default ',' for csv, a tab for tsv
   */
  delimiter?: string
}
export type CheckOptions = Pick<ImportOptions, 'format' | 'header' | 'delimiter' | 'signal'>
export interface FileCheck extends Pick<Outcome, 'bytes' | 'failed' | 'errors' | 'failures'> {
  rows: number
  /** Those that could be made. */
  commands: number
  /** The first ten of them, in RESP. */
  sample: Buffer[]
}
/** Rows are written into it. */
export interface RowWritable extends Writable {
  /** What became of them, once it has finished. */
  readonly summary: Summary | undefined
}
/**
 * A command with holes: `HSET user:{id} name {name}`; or several, for each row in turn. Called with a row, or with the values of its holes in order.
 * All of its commands are appended, to the same batch, or none: what is wrong throws as it does with the methods, and names the hole.
 */
export interface Template {
  /** An object or a Map, whose properties are read as JavaScript reads them. A missing or null one is up to the option `onNull`. */
  (row: object): BulkPipeline
  (...values: Argument[]): BulkPipeline
  /** Their distinct names, in order of first appearance, without conversions: `['id', 'address.city']`. */
  readonly holes: readonly string[]
}
/**
 * What makes commands of a row. A function appends any number of them, before it returns; `exec`, `sync`, `drain`, `discard` and `close` are the load's
 * own affair there. It may be called again for a row that found no room.
 */
export type Mapper<T> = string | string[] | Template | ((row: T, bulk: BulkPipeline) => void)

/**
 * Commands go in through its methods, which return it again; what became of them comes out of `exec()`, `sync()` and `close()`.
 * Made by `bulkPipeline`. Belongs to the thread that made it. It connects with the first work, and not before.
 *
 * A command that cannot be appended throws, and leaves no trace: `RESPIPE_INVALID_ARGUMENT`, `RESPIPE_FORBIDDEN_COMMAND` (it would upset the
 * accounting of replies: SUBSCRIBE, BLPOP, MULTI, SELECT …), `RESPIPE_BUFFER_FULL`, `RESPIPE_CLOSED`, `RESPIPE_ABORTED`.
 *
 * The process lives on while anything is outstanding, and not for what is merely appended or connected.
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
   * Where nobody handles that promise either, it is the next one's again. Methods that return promises never throw synchronously.
   *
   * An empty batch resolves without touching the network.
   */
  exec(): Promise<BatchResult>
  /**
   * `exec()`, then waits for everything before it too; tells what became of all commands since the start, also in the `outcome` of the error
   * where its own commands are given up.
   */
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
   * Rows to commands, with back-pressure; never keeps the thread longer than a few milliseconds. The summary is this load's alone; it rejects where its
   * work is given up, like `exec()`, and its rejection counts like one of `exec()` where nobody handles it.
   * A row the mapper or template cannot make a command of counts as failed, with its row; the load goes on: `RESPIPE_INVALID_ARGUMENT`,
   * `RESPIPE_FORBIDDEN_COMMAND` or `RESPIPE_BUFFER_FULL`, thrown by an append or by the mapper itself. Whatever else a mapper or the source
   * throws ends the load, which rejects with it; rows before that are loaded.
   * Batches of 64 KiB (256 KiB in transactions) or as `autoExec` says; a tenth of a second after the last row, less. They count for `reconnectEvery`.
   * Where it ends early, the source is closed: an iterator's `return()`, a stream's `destroy()` or `cancel()`. That is waited for for a second.
   * `close()` and `destroy()` of the pipeline end it, too: with `RESPIPE_CLOSED`.
   */
  load<T>(
    rows: Iterable<T> | AsyncIterable<T> | Readable,
    mapper: (row: T, bulk: BulkPipeline) => void,
    options?: LoadOptions,
  ): Promise<Summary>
  load<T>(rows: Iterable<T> | AsyncIterable<T> | Readable, mapper: Mapper<T>, options?: LoadOptions): Promise<Summary>
  /**
   * The same as a Writable in object mode; `finish` comes only after the server has everything. `destroy()` takes no more rows, and `close` comes once what
   * is on its way is over. Whatever would reject a `load` destroys it with an `error`, also while nothing is written.
   */
  writable<T>(mapper: (row: T, bulk: BulkPipeline) => void, options?: WritableOptions): RowWritable
  writable<T>(mapper: Mapper<T>, options?: WritableOptions): RowWritable
  /**
   * The same from a file, read, unpacked, parsed and encoded on a thread of its own. `resp` and `commands` files hold commands already: no template.
   * `.gz` and `.zst` are unpacked; `'-'` is standard input, for one import at a time. The format follows from the name of the file, where it is not given: `.csv` `.tsv` `.tab`
   * `.ndjson` `.jsonl`, `.resp` `.aof`, `.redis` `.txt`.
   *
   * A broken line counts as one failed command, with its `row` and `line`, and the load goes on; `RESPIPE_IO` where the file cannot be read, or not any further:
   * what came before is loaded. A hole that is no column: `RESPIPE_INVALID_ARGUMENT`.
   */
  importFile(path: string, template: string | string[] | null, options?: ImportOptions): Promise<Summary>
  /** What `importFile` would do: reads the file and makes all commands, and connects to no server. */
  checkFile(path: string, template: string | string[] | null, options?: CheckOptions): Promise<FileCheck>
  /**
   * Commands with holes, compiled once. Words are split on blanks, with quotes as in redis-cli; `{{` and `}}` for braces; `{name}`, several in a
   * word too; paths: `{address.city}`; `{*}` as the last word of HSET-like commands for all fields of the row. Conversions: `{at|ms}` and `{at|s}`
   * (a Date or an ISO string to milliseconds or seconds since 1970), `{tags|json}`, `{*|json}` (the row), `{active|bool}` (1 or 0).
   * Throws `RESPIPE_INVALID_ARGUMENT` or `RESPIPE_FORBIDDEN_COMMAND`, with the column of the text, counted from 1.
   */
  template(command: string | string[]): Template
  /**
   * One command and its reply, on a connection of its own: for looking, beside the load. What the server refuses is an `Error` for a reply;
   * it rejects where there is no reply. What is forbidden in the pipeline is forbidden here.
   */
  query(name: string, ...args: (Argument | Argument[])[]): Promise<Reply>
  /**
   * With `checkpoint`: the last batch (and row) of this load that the server holds, counted from 1; null where it holds none. Asked before the
   * first `exec()`, it continues the load that the key tells of. Without `checkpoint` it rejects with `RESPIPE_INVALID_OPTION`.
   */
  lastCheckpoint(): Promise<{ batch: number; row?: number } | null>
  /** A look at any time, after `close()` and `destroy()` too. */
  stats(): Stats
  /**
   * `sync()`, then disconnects, also where it rejects; it settles when the connection is closed. Idempotent: each call returns the same promise.
   * From the call on nothing can be appended or executed: `RESPIPE_CLOSED`. After `destroy()` or an abort it waits until all is told, and resolves.
   */
  close(): Promise<Summary>
  /** Disconnects at once; pending promises reject with `RESPIPE_CLOSED` and tell what is unknown. What is not executed is forgotten. */
  destroy(): void
  /** A command was refused: each one, beyond `maxFailures` too. What a listener throws is an uncaught exception of the process. */
  on(event: 'failure', listener: (failure: CommandFailure) => void): this
  /** Another connection has taken over: `'rotation'` by `reconnectEvery`, `'lost'` after a fault, also of an idle one,
   * `'moved'` where the server may not be written to any more and was looked up anew. */
  on(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  /** Work was given up, not by `close`, `destroy` or a signal. Without a listener nothing is thrown. */
  on(event: 'error', listener: (error: RespipeError) => void): this
  once(event: 'failure', listener: (failure: CommandFailure) => void): this
  once(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  once(event: 'error', listener: (error: RespipeError) => void): this
  off(event: 'failure', listener: (failure: CommandFailure) => void): this
  off(event: 'reconnect', listener: (info: { reason: 'rotation' | 'lost' | 'moved'; address: string }) => void): this
  off(event: 'error', listener: (error: RespipeError) => void): this
  listenerCount(event: 'failure' | 'reconnect' | 'error'): number
  removeAllListeners(event?: 'failure' | 'reconnect' | 'error'): this
}
/** The server that a pipeline was made for, in the messages on its channels of `node:diagnostics_channel`. */
export interface TracedServer {
  /** The host, or the path of the unix socket. */
  serverAddress: string
  /** Undefined with a unix socket. */
  serverPort: number | undefined
  database: number
}
/**
 * On `tracingChannel('respipe:exec')`, one object for all events of an `exec()`, those of `sync()` and `close()` too: `start`, `end` when it
 * has returned, `asyncStart` and `asyncEnd` when its outcome is known, before whoever awaits it goes on; before those `error` where it rejects.
 */
export interface ExecTrace extends TracedServer {
  /** `'MULTI'` with `transaction` or `checkpoint`. */
  batchMode: 'PIPELINE' | 'MULTI'
  /** Commands appended then. What `autoExec` had executed before is in `result` only. */
  batchSize: number
  /** From `asyncStart` on. Failures are on the channel of theirs, replies on none. */
  result?: Omit<Outcome, 'failures'>
  /** What it rejects with. */
  error?: RespipeError
}
/** On the channel `respipe:reconnect`: what listeners to `reconnect` hear. */
export interface ReconnectTrace extends TracedServer {
  reason: 'rotation' | 'lost' | 'moved'
  address: string
}
/**
 * On the channel `respipe:failure`: each refused command, with its key, and the server's words, which may quote arguments. Subscribers are looked
 * for when a pipeline is made, and with each batch and load, automatic batches too: who subscribes in between hears failures from the next one on.
 */
export interface FailureTrace extends TracedServer {
  failure: CommandFailure
}

/** One class, whether imported or required. */
export class RespipeError extends Error {
  /**
   * RESPIPE_ + INVALID_ARGUMENT, INVALID_OPTION, FORBIDDEN_COMMAND, BUFFER_FULL, CLOSED, ABORTED, UNSUPPORTED (usage);
   * CONNECT, TLS, AUTH, CONNECTION_LOST, STALLED, PROTOCOL (connection); REFUSED (the server is no place to write: a replica, a Sentinel; WAIT fell short);
   * TOO_MANY_FAILURES, FAILED (throwIfFailed), IO (loading), INTERNAL.
   *
   * `cause` of RESPIPE_ABORTED is the signal's `reason`.
   */
  readonly code: string
  /** What was known when it happened. */
  readonly outcome?: Outcome
}
/** Makes a pipeline; throws `RESPIPE_INVALID_OPTION` or `RESPIPE_UNSUPPORTED`. Nothing is connected yet. */
export function bulkPipeline(url?: string, options?: BulkPipelineOptions): BulkPipeline
export function bulkPipeline(options: BulkPipelineOptions): BulkPipeline
export namespace bulkPipeline {
  /**
   * A pipeline to where a client of ioredis or iovalkey is connected to: its host, port or path, TLS, username, password, db and name are taken
   * over, an option given here wins over its part. The client is only read; the db is that of its options, not one selected later. Throws what
   * `bulkPipeline` does; `RESPIPE_INVALID_ARGUMENT` for what is no such client; `RESPIPE_UNSUPPORTED` for a Cluster, for one with sentinels, and
   * where a setting would be lost: `keyPrefix`, a `Connector`, of `tls` all but ca, cert, key, servername, rejectUnauthorized.
   */
  function fromIoredis(client: IoredisClient, options?: Omit<BulkPipelineOptions, 'url'>): BulkPipeline
  /**
   * The same with a client of node-redis, from version 4 on: one of `createClient()`, not of `createCluster()`, `createSentinel()` or a pool. A
   * `credentialsProvider` is not asked: `RESPIPE_UNSUPPORTED`, unless it is what node-redis itself makes of `username` and `password`.
   */
  function fromNodeRedis(client: NodeRedisClient, options?: Omit<BulkPipelineOptions, 'url'>): BulkPipeline
}
/** By what `fromIoredis` knows a client. */
export interface IoredisClient {
  readonly status: string
  readonly options: object
}
/** By what `fromNodeRedis` knows a client. */
export interface NodeRedisClient {
  readonly isOpen: boolean
  readonly options?: object | undefined
}
