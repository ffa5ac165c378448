import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises'

/** Up: from the client to the server. */
export type Direction = 'up' | 'down'

/** Starts a proxy in front of a server, on a free port of 127.0.0.1, with faults at the test's call. */
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
  readonly #pairs = new Set<{ client: Socket; server: Socket }>()
  readonly #dropped: Record<Direction, boolean> = { up: false, down: false }
  #port = 0
  #listener?: Server
  #cut?: { how: 'reset' | 'fin'; direction: Direction; left: number }
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

  /** Passes on this many bytes more, to the byte, then resets the client's end. The server still gets what was passed on. */
  resetAfter(bytes: number, direction: Direction = 'up'): void {
    this.#cut = { how: 'reset', direction, left: bytes }
  }

  /** The same, but the client sees an orderly end. */
  finAfter(bytes: number, direction: Direction = 'up'): void {
    this.#cut = { how: 'fin', direction, left: bytes }
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
    this.#cut = undefined
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
    const pair = { client, server }
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

  async #pump(direction: Direction, from: Socket, to: Socket, pair: { client: Socket; server: Socket }): Promise<void> {
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        for (let rest = chunk as Buffer; rest.length > 0;) {
          await this.#gate.opened
          const cut = this.#cut?.direction === direction ? this.#cut : undefined
          const piece = rest.subarray(0, Math.min(this.#pieceSize(), cut?.left ?? Infinity))
          rest = rest.subarray(piece.length)
          // A client that was cut off may have replies under way: they are read, so that the server goes on.
          if (!this.#dropped[direction] && !to.destroyed) await this.#pass(direction, piece, to)
          if (!cut) continue
          cut.left -= piece.length
          if (cut.left > 0 || this.#cut !== cut) continue
          this.#cut = undefined
          cutOff(pair, cut.how)
          from.resume()
          return
        }
      }
      to.end()
    } catch {
      // One end was reset: so is the other.
      reset(to)
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

function cutOff({ client, server }: { client: Socket; server: Socket }, how: 'reset' | 'fin'): void {
  if (how === 'reset') reset(client)
  else client.end()
  server.end()
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
