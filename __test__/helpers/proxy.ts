import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'
import { CommandPositions, ReplyPositions } from './positions.ts'
import { waitingFor } from './test.ts'

/** Up: from the client to the server. */
export type Direction = 'up' | 'down'

/**
 * Where a fault happens, counted from the call of `at`: behind so many bytes (0: as soon as something comes), behind the
 * nth command of this name (whole, and passed on), or behind the reply to it. Replies are told apart only where each
 * command has one, which leaves out `replies: 'off'`. Within TLS there are bytes alone.
 */
export type Position = (
  { bytes: number; direction?: Direction } | { command: string; nth?: number } | { replyTo: string; nth?: number }
) & {
  /** Only on this connection, from 1; otherwise all count together. */
  connection?: number
}

/** The fault itself. While a function runs, nothing more passes in that direction of that connection. */
export type Action = 'reset' | 'fin' | 'stall' | 'swallow' | 'blackhole' | ((link: Link) => unknown)

/** A connection, from client to server. */
export interface Link {
  /** Its number, from 1. */
  readonly number: number
  /** Ends it: the client sees a reset, or an orderly end. The server still gets what was passed on. */
  cut(how: 'reset' | 'fin'): void
}

/** A fault that was ordered: a test asserts that it happened. */
export interface Fault {
  readonly hasHappened: boolean
  /** Resolves once it has, its function included. */
  readonly happened: Promise<void>
}

/** Starts a proxy in front of a server, on a free port of 127.0.0.1, with faults where the test says. */
export async function startProxy(target: { port: number; host?: string }): Promise<FaultProxy> {
  const proxy = new FaultProxy({ host: '127.0.0.1', ...target })
  await proxy.allowNew()
  return proxy
}

/** A fault holds for the open connections and for those to come, until `heal` or its own counterpart. */
export class FaultProxy {
  readonly host = '127.0.0.1'
  /** Connections so far. */
  connections = 0
  /** Bytes passed on. */
  readonly bytes: Record<Direction, number> = { up: 0, down: 0 }
  readonly #target: { port: number; host: string }
  readonly #pairs = new Set<Pair>()
  readonly #dropped: Record<Direction, boolean> = { up: false, down: false }
  #port = 0
  #listener?: Server
  readonly #orders: Order[] = []
  #gate = openGate()
  #bytesPerSecond = Infinity
  #sliceSize = Infinity

  constructor(target: { port: number; host: string }) {
    this.#target = target
  }

  get port(): number {
    return this.#port
  }

  get url(): string {
    return `redis://${this.host}:${this.port}`
  }

  /** Connections open now. */
  get open(): number {
    return this.#pairs.size
  }

  /** Resets all connections now. */
  resetAll(): void {
    for (const { client, server } of this.#pairs) {
      reset(client)
      reset(server)
    }
  }

  /** Orders a fault for a place in the stream, so that it happens there however fast anybody is. */
  at(position: Position, action: Action): Fault {
    const order = new Order(position, action)
    this.#orders.push(order)
    return order
  }

  /** Passes on this many bytes more, to the byte, then resets the client's end. The server still gets what was passed on. */
  resetAfter(bytes: number, direction: Direction = 'up'): Fault {
    return this.at({ bytes, direction }, 'reset')
  }

  /** The same, but the client sees an orderly end. */
  finAfter(bytes: number, direction: Direction = 'up'): Fault {
    return this.at({ bytes, direction }, 'fin')
  }

  /** Reads and passes on nothing, either way, so that the peers' buffers fill. */
  stall(): void {
    if (this.#gate.isOpen) this.#gate = closedGate()
  }

  resume(): void {
    this.#gate.open()
  }

  /** Passes on at most this much a second, per connection and direction. */
  throttle(bytesPerSecond: number): void {
    this.#bytesPerSecond = bytesPerSecond
  }

  /** Passes on pieces of at most this many bytes, each in a packet of its own. */
  slice(bytes: number): void {
    this.#sliceSize = bytes
  }

  /** Takes everything, passes on nothing, either way. */
  blackhole(): void {
    this.#dropped.up = true
    this.#dropped.down = true
  }

  /** The server works, and its replies are lost. */
  swallowReplies(): void {
    this.#dropped.down = true
  }

  /** Puts these bytes between the replies, on every open connection. */
  garbage(bytes: string | Uint8Array): void {
    for (const { client } of this.#pairs) client.write(bytes)
  }

  /** Refuses further connections; the open ones stay. */
  blockNew(): void {
    this.#listener?.close()
    this.#listener = undefined
  }

  async allowNew(): Promise<void> {
    if (this.#listener) return
    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
    this.#listener = listener
    listener.listen(this.#port, this.host)
    await once(listener, 'listening')
    // A proxy that was forgotten must not keep the test process alive.
    listener.unref()
    this.#port = (listener.address() as AddressInfo).port
  }

  /** Ends all faults, but for connections that were cut. */
  async heal(): Promise<void> {
    this.#orders.length = 0
    this.#dropped.up = false
    this.#dropped.down = false
    this.#bytesPerSecond = Infinity
    this.#sliceSize = Infinity
    this.resume()
    await this.allowNew()
  }

  async stop(): Promise<void> {
    this.blockNew()
    this.resume()
    this.resetAll()
  }

  #accept(client: Socket): void {
    this.connections++
    const server = connect({ ...this.#target, allowHalfOpen: true, noDelay: true })
    const pair = new Pair(this.connections, client, server)
    this.#pairs.add(pair)
    for (const socket of [client, server]) {
      socket.on('error', () => {})
      socket.once('close', () => {
        if (client.destroyed && server.destroyed) this.#pairs.delete(pair)
      })
    }
    void this.#pump('up', client, server, pair)
    void this.#pump('down', server, client, pair)
  }

  async #pump(direction: Direction, from: Socket, to: Socket, pair: Pair): Promise<void> {
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        let at = 0
        for (const { end, order } of this.#stops(direction, pair, chunk as Buffer)) {
          await this.#passAll(direction, chunk.subarray(at, end), to)
          at = end
          await this.#act(order, direction, pair)
          if (!pair.isCut) continue
          // Replies that are under way are read all the same, so that the server goes on.
          from.resume()
          return
        }
        await this.#passAll(direction, chunk.subarray(at), to)
      }
      to.end()
    } catch {
      // One end was reset: so is the other.
      reset(to)
    }
  }

  /** Where something happens in this piece, in order of place. */
  #stops(direction: Direction, pair: Pair, chunk: Buffer): { end: number; order: Order }[] {
    const passed = pair.read(direction, chunk)
    const stops: { end: number; order: Order }[] = []
    for (const order of [...this.#orders]) {
      const end = order.find(direction, pair.number, chunk.length, passed)
      if (end === undefined) continue
      this.#orders.splice(this.#orders.indexOf(order), 1)
      stops.push({ end, order })
    }
    return stops.toSorted((a, b) => a.end - b.end)
  }

  async #act(order: Order, direction: Direction, pair: Pair): Promise<void> {
    const { action } = order
    if (typeof action === 'function') await action(pair)
    else if (action === 'stall') this.stall()
    else if (action === 'blackhole') this.blackhole()
    else if (action === 'swallow') this.#dropped[direction] = true
    else pair.cut(action)
    order.happen()
  }

  async #passAll(direction: Direction, chunk: Buffer, to: Socket): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      await this.#gate.opened
      const piece = rest.subarray(0, this.#pieceSize())
      rest = rest.subarray(piece.length)
      // A client that was cut off may have replies under way: they are read, so that the server goes on.
      if (!this.#dropped[direction] && !to.destroyed) await this.#pass(direction, piece, to)
    }
  }

  async #pass(direction: Direction, piece: Buffer, to: Socket): Promise<void> {
    this.bytes[direction] += piece.length
    await new Promise<void>((resolve) => to.write(piece, () => resolve()))
    if (this.#bytesPerSecond < Infinity) await delay((piece.length / this.#bytesPerSecond) * 1_000)
    // Without a pause the kernel joins the pieces again.
    if (this.#sliceSize < Infinity) await turn()
  }

  /** A throttled piece is what may pass in 10 ms. */
  #pieceSize(): number {
    return Math.max(1, Math.min(this.#sliceSize, Math.floor(this.#bytesPerSecond / 100)))
  }
}

/** A client's socket, and the one to the server. */
class Pair implements Link {
  readonly number: number
  readonly client: Socket
  readonly server: Socket
  isCut = false
  readonly #commands = new CommandPositions()
  readonly #replies = new ReplyPositions()
  /** Names of the commands whose replies are yet to come. */
  readonly #asked: string[] = []

  constructor(number: number, client: Socket, server: Socket) {
    this.number = number
    this.client = client
    this.server = server
  }

  cut(how: 'reset' | 'fin'): void {
    this.isCut = true
    if (how === 'reset') reset(this.client)
    else this.client.end()
    this.server.end()
  }

  /** The commands, or the commands whose replies, end in this piece, and where. */
  read(direction: Direction, chunk: Buffer): { end: number; name: string }[] {
    if (direction === 'down') {
      return this.#replies.feed(chunk).map((end) => ({ end, name: this.#asked.shift() ?? '' }))
    }
    const commands = this.#commands.feed(chunk)
    for (const { name } of commands) this.#asked.push(name)
    return commands
  }
}

class Order implements Fault {
  hasHappened = false
  readonly action: Action
  readonly #happened: Promise<void>
  readonly #position: Position
  readonly #direction: Direction
  #left: number
  #resolve = () => {}

  constructor(position: Position, action: Action) {
    this.#position = position
    this.#direction = 'bytes' in position ? (position.direction ?? 'up') : 'command' in position ? 'up' : 'down'
    this.#left = 'bytes' in position ? position.bytes : (position.nth ?? 1)
    this.action = action
    this.#happened = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  get happened(): Promise<void> {
    return waitingFor(() => `the fault ${JSON.stringify({ ...this.#position, left: this.#left })}`, this.#happened)
  }

  /** The offset of its place, if that is in this piece; otherwise it counts on. */
  find(
    direction: Direction,
    connection: number,
    length: number,
    passed: { end: number; name: string }[],
  ): number | undefined {
    const position = this.#position
    if (direction !== this.#direction || connection !== (position.connection ?? connection)) return undefined
    if ('bytes' in position) {
      if (this.#left <= length) return this.#left
      this.#left -= length
      return undefined
    }
    const name = 'command' in position ? position.command : position.replyTo
    for (const { end, name: found } of passed) {
      if (found !== name) continue
      this.#left -= 1
      if (this.#left === 0) return end
    }
    return undefined
  }

  happen(): void {
    this.hasHappened = true
    this.#resolve()
  }
}

/** A reset while a FIN is on its way fails in libuv, and Node.js then never closes the socket: the process cannot end. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy()
  else socket.resetAndDestroy()
}

interface Gate {
  isOpen: boolean
  opened: Promise<void>
  open(): void
}

function closedGate(): Gate {
  const gate: Gate = { isOpen: false, opened: Promise.resolve(), open() {} }
  gate.opened = new Promise((resolve) => {
    gate.open = () => {
      gate.isOpen = true
      resolve()
    }
  })
  return gate
}

function openGate(): Gate {
  return { isOpen: true, opened: Promise.resolve(), open() {} }
}
