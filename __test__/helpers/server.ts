import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { findRedisServer } from '../../scripts/setup.js'
import { type Certificates, makeCertificates } from './certificates.ts'
import { spawnKept } from './children.ts'
import { noteForFailure } from './test.ts'

export interface ServerOptions {
  /** Appended to the command line, so they win: `['--maxmemory', '2mb']`. */
  args?: string[]
  tls?: boolean | { certificate?: 'server' | 'expired' | 'wrongHost'; clientCertificates?: 'required' | 'optional' }
  /** Listens on a unix socket too. */
  unixSocket?: boolean
  /** The program; otherwise RESPIPE_REDIS_SERVER, or a redis-server of the PATH. */
  binary?: string
  /** Otherwise a free one. */
  port?: number
}

export interface Server {
  readonly host: string
  readonly port: number
  /** Of the unix socket. */
  readonly path?: string
  /** Of the present process: it changes with `restart`. */
  readonly pid: number
  /** `redis://…`, with TLS `rediss://…`. */
  readonly url: string
  /** Temporary; removed by `stop`. */
  readonly dir: string
  readonly certificates?: Certificates
  log(): string
  /** Ends it and removes its folder. */
  stop(): Promise<void>
  /** Sends a signal; with SIGKILL or SIGTERM (the default), waits for its end, with SIGSTOP until it is stopped. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** The same port and folder again, whether it still runs or was killed. What it saved is there again. */
  restart(): Promise<void>
}

/** Starts a server of its own on a free port of 127.0.0.1; resolves once it answers. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  for (let attempt = 1; ; attempt++) {
    const server = new PrivateServer(options, options.port ?? (await freePort()))
    try {
      await server.start()
      noteForFailure(() => server.lastLines())
      return server
    } catch (error) {
      // Between the look and the start somebody else took the port.
      const taken = /Address already in use/.test(server.log())
      await server.stop()
      if (!taken || options.port !== undefined || attempt === 5) throw error
    }
  }
}

/** Whether the server program can speak TLS: `(await supportsTls()) ? test : test.skip`. */
export async function supportsTls(binary?: string): Promise<boolean> {
  try {
    await (await startServer({ tls: true, binary })).stop()
    return true
  } catch (error) {
    if (error instanceof Error && error.message.includes(noTls)) return false
    throw error
  }
}

class PrivateServer implements Server {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly path?: string
  readonly url: string
  readonly dir = mkdtempSync(join(tmpdir(), 'respipe-'))
  readonly certificates?: Certificates
  readonly #binary: string
  readonly #args: string[]
  #child?: ChildProcess

  constructor(options: ServerOptions, port: number) {
    this.port = port
    this.#binary = options.binary ?? findRedisServer() ?? missing()
    this.url = `${options.tls ? 'rediss' : 'redis'}://${this.host}:${port}`
    this.#args = ['--bind', this.host, '--save', '', '--daemonize', 'no', '--dir', this.dir]
    if (options.unixSocket) {
      this.path = join(this.dir, 'redis.sock')
      this.#args.push('--unixsocket', this.path)
    }
    if (options.tls) {
      const { certificate = 'server', clientCertificates = 'optional' } = options.tls === true ? {} : options.tls
      this.certificates = makeCertificates(this.dir)
      const { certFile, keyFile } = this.certificates[certificate]
      this.#args.push('--port', '0', '--tls-port', String(port))
      this.#args.push('--tls-cert-file', certFile, '--tls-key-file', keyFile)
      this.#args.push('--tls-ca-cert-file', this.certificates.ca.certFile)
      this.#args.push('--tls-auth-clients', clientCertificates === 'required' ? 'yes' : 'optional')
    } else {
      this.#args.push('--port', String(port))
    }
    this.#args.push(...(options.args ?? []))
  }

  get pid(): number {
    return this.#child?.pid ?? missing()
  }

  log(): string {
    return readFileSync(join(this.dir, 'server.log'), 'utf8')
  }

  lastLines(): string {
    const lines = existsSync(this.dir) ? this.log().trimEnd().split('\n').slice(-10) : ['(its folder is gone)']
    return [`the server on port ${this.port}:`, ...lines].join('\n')
  }

  async start(): Promise<void> {
    // A file and not a pipe: nobody reads a pipe while a test blocks the thread, and a full one stops the server.
    const log = openSync(join(this.dir, 'server.log'), 'a')
    const child = spawnKept(this.#binary, this.#args, { stdio: ['ignore', log, log] }, this.dir)
    closeSync(log)
    this.#child = child
    // Whoever starts a server ends it; a forgotten one must not keep the test process alive.
    child.unref()
    await Promise.race([once(child, 'spawn'), once(child, 'error').then(([error]) => Promise.reject(error))])
    while (!(await this.#answers(child))) {
      if (hasEnded(child)) throw this.#startError('ended at its start')
      await delay(10)
    }
    // The answer may be somebody else's, on the port that this one did not get.
    if (hasEnded(child)) throw this.#startError('ended at its start')
  }

  async kill(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child
    if (!child || hasEnded(child)) return
    child.kill(signal)
    if (signal === 'SIGKILL' || signal === 'SIGTERM') await ended(child)
    if (signal === 'SIGSTOP') await stopped(child)
  }

  async restart(): Promise<void> {
    await this.#end()
    await this.start()
  }

  async stop(): Promise<void> {
    await this.#end()
    rmSync(this.dir, { recursive: true, force: true })
  }

  async #end(): Promise<void> {
    const child = this.#child
    if (!child || hasEnded(child)) return
    // A stopped process takes SIGTERM only once it continues.
    child.kill('SIGTERM')
    child.kill('SIGCONT')
    const timer = setTimeout(() => child.kill('SIGKILL'), 5_000)
    await ended(child)
    clearTimeout(timer)
  }

  /** Any answer counts: -NOAUTH and -LOADING come from a server that runs. */
  #answers(child: ChildProcess): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = this.#connect()
      const gone = () => done(false)
      const done = (answers: boolean) => {
        child.off('exit', gone)
        socket.destroy()
        resolve(answers)
      }
      // Somebody else may have the port, and say nothing.
      child.once('exit', gone)
      socket.once('error', () => done(false))
      socket.once('close', () => done(false))
      socket.once('data', () => done(true))
      socket.write('PING\r\n')
    })
  }

  #connect(): Socket {
    const { host, port, certificates } = this
    if (!certificates) return connect({ host, port })
    const { cert, key } = certificates.client
    return connectTls({ host, port, cert, key, rejectUnauthorized: false })
  }

  #startError(what: string): Error {
    const log = this.log().trim().split('\n').slice(-5).join('\n')
    // The second is how versions say it that leave out the options too.
    const cause = this.certificates && /TLS support|>>> .tls-/i.test(log) ? ` (${noTls})` : ''
    return new Error(`${this.#binary} ${what}${cause}:\n${log}`)
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null || child.pid === undefined
}

async function ended(child: ChildProcess): Promise<void> {
  child.ref()
  if (!hasEnded(child)) await once(child, 'exit')
}

/** The signal is on its way when `kill` returns: on Linux one can see when it has arrived. */
async function stopped({ pid }: ChildProcess): Promise<void> {
  if (process.platform !== 'linux') return
  while (!/\) [Tt] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))) await delay(1)
}

/** Ports of a process, of which there are 200 times as many. */
const PORTS = 100

let ports = Math.floor(Math.random() * PORTS)

/**
 * Below the range that systems hand out to outgoing connections, so that it is still free at a restart. Each process has
 * some of its own, in turn, so that nobody takes one on which nobody listens yet, or not at the moment.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_240 + (process.pid % 200) * PORTS + (ports++ % PORTS)
    const probe = createServer()
    const free = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
}

function missing(): never {
  throw new Error('no redis-server: npm run setup installs one, RESPIPE_REDIS_SERVER names one')
}

const noTls = 'it is built without TLS'
