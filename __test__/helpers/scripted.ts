import type { ExecutionContext } from 'ava'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'

export interface Script {
  /**
   * Answers a command with the reply's bytes; undefined: the usual answer; null: none at all.
   * `connection` counts from 0.
   */
  reply?: (command: string[], socket: Socket, connection: number) => string | Buffer | null | undefined
  /** Takes the connection over: nothing is parsed, nothing answered. */
  onConnection?: (socket: Socket, connection: number) => void
  /** Sent as soon as a connection is there. */
  greeting?: string | Buffer
  /** Reads, and never answers. */
  silent?: boolean
  /** Closes a connection once it has received this many bytes; what they ask is still answered. */
  finAfter?: number
  /** Resets it then; what the last of them ask is not answered. */
  resetAfter?: number
}

export interface ScriptedServer {
  readonly host: string
  readonly port: number
  readonly url: string
  /** All that came, in order of arrival, of every connection. */
  readonly commands: readonly string[][]
  /** How many there were. */
  readonly connections: number
  /** Those open now. */
  readonly sockets: ReadonlySet<Socket>
  stop(): Promise<void>
}

/** A server that speaks by script; without one it takes every command, and answers a login as Redis 7 does. */
export async function startScripted(script: Script | Script['reply'] = {}): Promise<ScriptedServer> {
  const { reply, onConnection, greeting, silent, finAfter, resetAfter } =
    typeof script === 'function' ? { reply: script } : script
  const sockets = new Set<Socket>()
  const commands: string[][] = []
  let connections = 0

  const server = createServer((socket) => {
    const connection = connections++
    sockets.add(socket)
    socket.setNoDelay()
    socket.once('close', () => sockets.delete(socket))
    // A client that resets is no failure of the script.
    socket.on('error', () => {})
    if (greeting !== undefined) socket.write(greeting)
    if (onConnection) return onConnection(socket, connection)

    const parser = new CommandParser()
    const conversation = new Conversation(connection, `${socket.remoteAddress}:${socket.remotePort}`)
    socket.on('data', (chunk: Buffer) => {
      if (resetAfter !== undefined && socket.bytesRead >= resetAfter) return void socket.resetAndDestroy()
      for (const command of parser.feed(chunk)) {
        commands.push(command)
        if (silent) continue
        const answer = reply?.(command, socket, connection)
        const bytes = answer === undefined ? conversation.answer(command) : answer
        if (bytes !== null && !socket.writableEnded) socket.write(bytes)
        if (command[0]?.toUpperCase() === 'QUIT') socket.end()
      }
      if (finAfter !== undefined && socket.bytesRead >= finAfter) socket.end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A script that was forgotten must not keep the test process alive.
  server.unref()
  const { port } = server.address() as AddressInfo

  return {
    host: '127.0.0.1',
    port,
    url: `redis://127.0.0.1:${port}`,
    commands,
    sockets,
    get connections() {
      return connections
    },
    async stop() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Replies in their wire form, for scripts. */
export const resp = {
  ok: '+OK\r\n',
  simple: (text: string) => `+${text}\r\n`,
  error: (text: string) => `-${text}\r\n`,
  integer: (value: number | bigint) => `:${value}\r\n`,
  bulk: (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`,
  nil: '$-1\r\n',
  array: (...items: string[]) => `*${items.length}\r\n${items.join('')}`,
}

/** Cuts a byte stream into commands; whole ones come out, the rest waits for more. */
export class CommandParser {
  #rest: Buffer = Buffer.alloc(0)

  feed(chunk: Buffer): string[][] {
    this.#rest = Buffer.concat([this.#rest, chunk])
    const commands: string[][] = []
    let start = 0
    for (;;) {
      const next = parse(this.#rest, start)
      if (!next) break
      commands.push(next.command)
      start = next.end
    }
    this.#rest = this.#rest.subarray(start)
    return commands
  }
}

function parse(bytes: Buffer, start: number): { command: string[]; end: number } | undefined {
  const count = header(bytes, start, '*')
  if (!count) return undefined
  const command: string[] = []
  let at = count.end
  for (let i = 0; i < count.value; i++) {
    const length = header(bytes, at, '$')
    if (!length || bytes.length < length.end + length.value + 2) return undefined
    command.push(bytes.toString('utf8', length.end, length.end + length.value))
    at = length.end + length.value + 2
  }
  return { command, end: at }
}

function header(bytes: Buffer, start: number, type: string): { value: number; end: number } | undefined {
  const end = bytes.indexOf('\r\n', start)
  if (end < 0) return undefined
  const line = bytes.toString('latin1', start, end)
  if (line[0] !== type || !/^\d+$/.test(line.slice(1))) throw new Error(`no RESP command: ${JSON.stringify(line)}`)
  return { value: Number(line.slice(1)), end: end + 2 }
}

/** The usual answers, with what they need to remember of a connection. */
class Conversation {
  readonly #id: number
  readonly #address: string
  #replies: 'on' | 'off' | 'skip' = 'on'
  #queued: string[] | undefined

  constructor(connection: number, address: string) {
    this.#id = connection + 1
    this.#address = address
  }

  answer(command: string[]): string | null {
    const [name = '', word = ''] = command.map((part) => part.toUpperCase())
    if (name === 'CLIENT' && word === 'REPLY') return this.#setReplies(command[2]?.toUpperCase())
    const reply = this.#transaction(name, command)
    const wanted = this.#replies === 'on'
    if (this.#replies === 'skip') this.#replies = 'on'
    return wanted ? reply : null
  }

  #setReplies(mode: string | undefined): string | null {
    this.#replies = mode === 'OFF' ? 'off' : mode === 'SKIP' ? 'skip' : 'on'
    return this.#replies === 'on' ? resp.ok : null
  }

  #transaction(name: string, command: string[]): string {
    const queued = this.#queued
    if (name === 'MULTI') {
      this.#queued = []
      return resp.ok
    }
    if (!queued) return usual(command, this.#id, this.#address)
    if (name !== 'EXEC') {
      queued.push(usual(command, this.#id, this.#address))
      return resp.simple('QUEUED')
    }
    this.#queued = undefined
    return resp.array(...queued)
  }
}

function usual(command: string[], id: number, address: string): string {
  const [name = '', ...args] = command
  switch (name.toUpperCase()) {
    case 'HELLO':
      return hello(args[0] ?? '2', id)
    case 'CLIENT':
      return client(args[0]?.toUpperCase(), id, address)
    case 'PING':
      return args[0] === undefined ? resp.simple('PONG') : resp.bulk(args[0])
    case 'ECHO':
      return resp.bulk(args[0] ?? '')
    case 'ROLE':
      return resp.array(resp.bulk('master'), resp.integer(0), resp.array())
    case 'INFO':
      return resp.bulk(info)
    case 'WAIT':
      return resp.integer(0)
    default:
      return resp.ok
  }
}

function client(word: string | undefined, id: number, address: string): string {
  if (word === 'ID') return resp.integer(id)
  if (word === 'INFO') return resp.bulk(`id=${id} addr=${address} laddr=127.0.0.1:6379 fd=8 name= user=default\n`)
  // Nobody is there any more to be ended.
  return word === 'KILL' ? resp.integer(0) : resp.ok
}

function hello(version: string, id: number): string {
  const fields = [
    ['server', resp.bulk('redis')],
    ['version', resp.bulk('7.0.15')],
    ['proto', resp.integer(Number(version))],
    ['id', resp.integer(id)],
    ['mode', resp.bulk('standalone')],
    ['role', resp.bulk('master')],
    ['modules', resp.array()],
  ] as const
  const flat = fields.flatMap(([name, value]) => [resp.bulk(name), value])
  return version === '3' ? `%${fields.length}\r\n${flat.join('')}` : resp.array(...flat)
}

const info = [
  '# Server',
  'redis_version:7.0.15',
  'redis_mode:standalone',
  `run_id:${'0123456789'.repeat(4)}`,
  '# Stats',
  'total_error_replies:0',
  '# Replication',
  'role:master',
  'connected_slaves:0',
  '# Cluster',
  'cluster_enabled:0',
  '',
].join('\r\n')

/** A scripted server that ends with its test. */
export async function scriptedFor(t: ExecutionContext, script: Script | Script['reply']): Promise<ScriptedServer> {
  const server = await startScripted(script)
  t.teardown(() => server.stop())
  return server
}
