// `readOptions`: what is accepted and what comes out of it, what is refused and in which words.
// Each table row is one test; nothing here needs a server or the addon.
import { createRequire } from 'node:module'
import { inspect } from 'node:util'
import test from './helpers/test.ts'
import { runScript } from './helpers/rss.ts'

type Args = [urlOrOptions?: unknown, options?: unknown]
type Failure = Error & { code: string; outcome?: unknown }

const require = createRequire(import.meta.url)
const { readOptions }: { readOptions(...args: Args): Record<string, any> } = require('../lib/options.js')
const {
  RespipeError,
}: {
  RespipeError: new (code: string, message: string, details?: { outcome?: unknown; cause?: unknown }) => Failure
} = require('../lib/errors.js')

const SECRET = 'hunter2'
const MIB = 1024 * 1024
const TIB = 1024 * 1024 * MIB
const MAX_INT = 2 ** 31 - 1
const NO_TLS_FILES = { ca: null, cert: null, key: null, servername: null, rejectUnauthorized: true }
const DEFAULTS = {
  host: '127.0.0.1',
  port: 6379,
  path: null,
  username: null,
  password: null,
  db: 0,
  clientName: null,
  tls: null,
  replies: 'check',
  encoding: 'utf8',
  transaction: false,
  autoExec: null,
  maxBufferedBytes: 64 * MIB,
  whenFull: 'throw',
  maxInFlightBytes: MIB,
  resend: 'idempotent',
  checkpoint: null,
  waitReplicas: null,
  reconnectEvery: 0,
  retry: { firstConnect: 3, attempts: null, maxElapsedMs: 600_000, minDelayMs: 50, maxDelayMs: 2_000 },
  connectTimeoutMs: 10_000,
  stallTimeoutMs: 30_000,
  onNull: 'throw',
  maxFailures: 100,
  throttle: null,
  signal: null,
}

// Accepted: title, arguments, what differs from the defaults

const controller = new AbortController()
const accepted: [title: string, args: Args, differs: Record<string, unknown>][] = [
  ['no arguments give the defaults', [], {}],
  ['an undefined url and no options give the defaults', [undefined, undefined], {}],
  ['an empty object gives the defaults', [{}], {}],
  ['an object without prototype is fine', [Object.assign(Object.create(null), { port: 1 })], { port: 1 }],
  ['inherited plain properties count', [Object.create({ port: 1, db: 2 }, { db: { value: 3 } })], { port: 1, db: 3 }],
  ['options may come second without a url', [undefined, { port: 1 }], { port: 1 }],
  ['a url may be an option', [{ url: 'redis://h:1' }], { host: 'h', port: 1 }],

  ['host is kept as given', [{ host: 'Redis-1.example' }], { host: 'Redis-1.example' }],
  ['host may have an underscore, as names of containers do', [{ host: 'my_redis' }], { host: 'my_redis' }],
  ['host may be IPv4', [{ host: '10.0.0.1' }], { host: '10.0.0.1' }],
  ['host may be IPv6', [{ host: '::1' }], { host: '::1' }],
  ['host loses the brackets of IPv6', [{ host: '[::1]' }], { host: '::1' }],
  ['host may be IPv6 with a zone', [{ host: 'fe80::1%eth0' }], { host: 'fe80::1%eth0' }],
  ['host in Unicode becomes ASCII', [{ host: 'münchen.example' }], { host: 'xn--mnchen-3ya.example' }],
  ['port 1 is the least', [{ port: 1 }], { port: 1 }],
  ['port 65535 is the greatest', [{ port: 65535 }], { port: 65535 }],
  ['path is taken beside host and port', [{ path: '/s', host: 'h', port: 1 }], { path: '/s', host: 'h', port: 1 }],
  ['path longer than a socket address is left to connect', [{ path: '/x'.repeat(99) }], { path: '/x'.repeat(99) }],
  ['db 16 is left to the server', [{ db: 16 }], { db: 16 }],
  ['db -0 is 0', [{ db: -0 }], { db: 0 }],
  ['clientName is printable ASCII', [{ clientName: 'loader-1!~' }], { clientName: 'loader-1!~' }],
  ['username and password', [{ username: 'u', password: 'p' }], { username: 'u', password: 'p' }],
  ['password alone', [{ password: 'p@:/%é\n' }], { password: 'p@:/%é\n' }],
  ['an explicit empty password stays empty', [{ password: '' }], { password: '' }],
  ['an undefined password is none', [{ password: undefined }], {}],

  ['tls: true has the defaults of TLS', [{ tls: true }], { tls: NO_TLS_FILES }],
  ['tls: {} turns TLS on', [{ tls: {} }], { tls: NO_TLS_FILES }],
  ['tls: false is no TLS', [{ tls: false }], {}],
  ['tls.ca may be a string', [{ tls: { ca: 'PEM' } }], { tls: { ...NO_TLS_FILES, ca: Buffer.from('PEM') } }],
  [
    'tls.cert and tls.key may be a Buffer and a view',
    [{ tls: { cert: Buffer.from('c'), key: new Uint8Array([1, 2, 3]).subarray(1) } }],
    { tls: { ...NO_TLS_FILES, cert: Buffer.from('c'), key: Buffer.from([2, 3]) } },
  ],
  ['tls.servername', [{ tls: { servername: 'h' } }], { tls: { ...NO_TLS_FILES, servername: 'h' } }],

  ["replies: 'collect'", [{ replies: 'collect' }], { replies: 'collect' }],
  ["replies: 'off'", [{ replies: 'off' }], { replies: 'off' }],
  [
    "replies: 'off' goes with transaction",
    [{ replies: 'off', transaction: true }],
    { replies: 'off', transaction: true },
  ],
  ["encoding: 'buffer'", [{ encoding: 'buffer' }], { encoding: 'buffer' }],
  ["whenFull: 'block'", [{ whenFull: 'block' }], { whenFull: 'block' }],
  ["onNull: 'skip'", [{ onNull: 'skip' }], { onNull: 'skip' }],
  ["onNull: 'empty'", [{ onNull: 'empty' }], { onNull: 'empty' }],
  ['transaction: true', [{ transaction: true }], { transaction: true }],
  ['transaction goes with autoExec: false', [{ transaction: true, autoExec: false }], { transaction: true }],
  ['autoExec: true is 64 KiB', [{ autoExec: true }], { autoExec: { bytes: 65536, commands: null, ms: null } }],
  ['autoExec by ms only', [{ autoExec: { ms: 5 } }], { autoExec: { bytes: null, commands: null, ms: 5 } }],
  [
    'autoExec by bytes and commands',
    [{ autoExec: { bytes: 1, commands: 2, ms: undefined } }],
    { autoExec: { bytes: 1, commands: 2, ms: null } },
  ],

  ["resend: 'idempotent' is the default", [{ resend: 'idempotent' }], {}],
  ["resend: 'all'", [{ resend: 'all' }], { resend: 'all' }],
  ["resend: 'none'", [{ resend: 'none' }], { resend: 'none' }],
  ["resend goes with replies: 'off'", [{ resend: 'all', replies: 'off' }], { resend: 'all', replies: 'off' }],
  ['checkpoint is the name of a key', [{ checkpoint: 'key: é\n' }], { checkpoint: 'key: é\n' }],
  ['an undefined checkpoint is none', [{ checkpoint: undefined }], {}],
  [
    'checkpoint goes with what others exclude, where that is off',
    [{ checkpoint: 'k', autoExec: false, connections: 1, cluster: false, replies: 'collect', transaction: true }],
    { checkpoint: 'k', replies: 'collect', transaction: true },
  ],
  ['waitReplicas', [{ waitReplicas: { count: 1, timeoutMs: 100 } }], { waitReplicas: { count: 1, timeoutMs: 100 } }],
  ['an undefined waitReplicas is none', [{ waitReplicas: undefined }], {}],
  [
    'throttle of commands',
    [{ throttle: { commandsPerSecond: 1 } }],
    { throttle: { commandsPerSecond: 1, bytesPerSecond: null } },
  ],
  [
    'throttle of both',
    [{ throttle: { commandsPerSecond: MAX_INT, bytesPerSecond: TIB } }],
    { throttle: { commandsPerSecond: MAX_INT, bytesPerSecond: TIB } },
  ],
  ['an undefined throttle is none', [{ throttle: undefined }], {}],

  [
    'maxInFlightBytes shrinks with maxBufferedBytes',
    [{ maxBufferedBytes: 1000 }],
    { maxBufferedBytes: 1000, maxInFlightBytes: 1000 },
  ],
  ['maxInFlightBytes may be one byte', [{ maxInFlightBytes: 1 }], { maxInFlightBytes: 1 }],
  [
    'maxInFlightBytes may equal maxBufferedBytes',
    [{ maxBufferedBytes: 2 * MIB, maxInFlightBytes: 2 * MIB }],
    { maxBufferedBytes: 2 * MIB, maxInFlightBytes: 2 * MIB },
  ],
  ['maxBufferedBytes may be 1 TiB', [{ maxBufferedBytes: TIB }], { maxBufferedBytes: TIB }],
  ['maxFailures 0 keeps none', [{ maxFailures: 0 }], { maxFailures: 0 }],
  ['maxFailures may be a million', [{ maxFailures: 1_000_000 }], { maxFailures: 1_000_000 }],
  [
    'timeouts up to the longest timer',
    [{ connectTimeoutMs: 1, stallTimeoutMs: MAX_INT }],
    { connectTimeoutMs: 1, stallTimeoutMs: MAX_INT },
  ],

  ['retry: {} has the defaults', [{ retry: {} }], {}],
  ['retry.attempts Infinity is no limit', [{ retry: { attempts: Infinity } }], {}],
  ['reconnectEvery counts batches', [{ reconnectEvery: 10 }], { reconnectEvery: 10 }],
  ['retry.attempts 0 is none', [{ retry: { attempts: 0 } }], { retry: { ...DEFAULTS.retry, attempts: 0 } }],
  ['retry.firstConnect 0 is none', [{ retry: { firstConnect: 0 } }], { retry: { ...DEFAULTS.retry, firstConnect: 0 } }],
  [
    'retry.minDelayMs shrinks with a given maxDelayMs',
    [{ retry: { maxDelayMs: 10 } }],
    { retry: { ...DEFAULTS.retry, minDelayMs: 10, maxDelayMs: 10 } },
  ],
  [
    'retry.maxDelayMs grows with a given minDelayMs',
    [{ retry: { minDelayMs: 5_000 } }],
    { retry: { ...DEFAULTS.retry, minDelayMs: 5_000, maxDelayMs: 5_000 } },
  ],
  ['signal is handed on', [{ signal: controller.signal }], { signal: controller.signal }],

  ['url with everything', ['redis://u:p@h:1/2'], { host: 'h', port: 1, username: 'u', password: 'p', db: 2 }],
  ['url with a scheme in capitals', ['REDIS://h'], { host: 'h' }],
  ['url without host and port', ['redis://'], {}],
  ['url with a slash and no db', ['redis://h/'], { host: 'h' }],
  ['url with a port and no host', ['valkey://:1'], { port: 1 }],
  ['url with an empty port', ['redis://h:'], { host: 'h' }],
  ['url with a password only', ['redis://:p@h'], { host: 'h', password: 'p' }],
  ['url with a login and no host', ['redis://u:p@/3'], { username: 'u', password: 'p', db: 3 }],
  ['url with a user whose password is empty', ['redis://u:@h'], { host: 'h', username: 'u', password: '' }],
  ['url with an unset password is no login', ['redis://:@h'], { host: 'h' }],
  [
    'url with an escaped login',
    ['redis://us%3Aer:%40%3A%2F%25%C3%A9%3F%23@h'],
    { host: 'h', username: 'us:er', password: '@:/%é?#' },
  ],
  ['url with @ and : left as they are in the password', ['redis://:a@b:c@h'], { host: 'h', password: 'a@b:c' }],
  ['url with IPv6', ['redis://[::1]:1/2'], { host: '::1', port: 1, db: 2 }],
  ['url with IPv6 and a zone', ['redis://[fe80::1%25eth0]'], { host: 'fe80::1%eth0' }],
  ['rediss url turns TLS on', ['rediss://h'], { host: 'h', tls: NO_TLS_FILES }],
  ['valkeys url turns TLS on', ['valkeys://h'], { host: 'h', tls: NO_TLS_FILES }],
  ['redis url with tls: true has TLS', ['redis://h', { tls: true }], { host: 'h', tls: NO_TLS_FILES }],
  [
    'rediss url with an object for tls',
    ['rediss://h', { tls: { servername: 's' } }],
    { host: 'h', tls: { ...NO_TLS_FILES, servername: 's' } },
  ],
  ['unix url', ['unix:///run/redis.sock'], { path: '/run/redis.sock' }],
  ['unix url with db', ['unix:///s?db=3'], { path: '/s', db: 3 }],
  ['unix url with a login', ['unix://u:p@/s'], { path: '/s', username: 'u', password: 'p' }],
  ['unix url with an escaped path', ['unix:///a%20b%3F'], { path: '/a b?' }],
  ['unix url with @ in its path', ['unix:///run/a@b.sock'], { path: '/run/a@b.sock' }],

  [
    'explicit options win over the url',
    ['redis://u:p@h:1/2', { host: 'i', port: 3, username: 'v', password: 'q', db: 0 }],
    { host: 'i', port: 3, username: 'v', password: 'q' },
  ],
  [
    'an undefined option leaves the part of the url',
    ['redis://h:1', { host: undefined, port: 2 }],
    { host: 'h', port: 2 },
  ],
  [
    'a password beside a url with a user',
    ['redis://u@h', { password: 'p' }],
    { host: 'h', username: 'u', password: 'p' },
  ],
  ['path wins over the host of a url', ['redis://h', { path: '/s' }], { host: 'h', path: '/s' }],
  ['host replaces the path of a url', ['unix:///s', { host: 'h' }], { host: 'h' }],
  [
    'host replaces the path of a url, so TLS is possible',
    ['unix:///s', { host: 'h', tls: true }],
    { host: 'h', tls: NO_TLS_FILES },
  ],
]

for (const [title, args, differs] of accepted) {
  test(`accepted: ${title}`, (t) => {
    t.deepEqual(readOptions(...args), { ...DEFAULTS, ...differs })
  })
}

// Refused: title, arguments, the message

const PORT = /^port must be an integer from 1 to 65535, got /
const HOST = /^host must be a host name or IP address, without scheme, port or blanks, got /
const TIMEOUT = /TimeoutMs must be an integer from 1 to 2147483647, got /
const refused: [title: string, args: Args, message: RegExp][] = [
  ['null', [null], /^the first argument must be a url or an object of options, got null$/],
  ['a number', [6379], /^the first argument must be .*, got 6379$/],
  ['an array', [['redis://h']], /^the first argument must be .*, got an array$/],
  ['a function', [() => {}], /^the first argument must be .*, got a function$/],
  ['a Map, whose entries would be ignored', [new Map([['port', 1]])], /^the first argument must be .*, got an object$/],
  ['a URL object', [new URL('redis://h')], /^the first argument must be .*, got an object$/],
  ['null as options', ['redis://h', null], /^options must be an object, got null$/],
  ['a port as options', ['redis://h', 6379], /^options must be an object, got 6379$/],
  ['options twice', [{}, {}], /^options are given twice/],
  ['url twice', ['redis://h', { url: 'redis://h' }], /^url is given twice/],

  ['port 0', [{ port: 0 }], PORT],
  ['port -1', [{ port: -1 }], PORT],
  ['port 65536', [{ port: 65536 }], PORT],
  ['port 1.5', [{ port: 1.5 }], PORT],
  ['port NaN', [{ port: NaN }], /^port .*, got NaN$/],
  ['port as a string', [{ port: '6379' }], /^port .*, got '6379' \(a string\)$/],
  ['port as a string with a letter', [{ port: '6379x' }], PORT],
  ['port as a bigint', [{ port: 6379n }], /^port .*, got 6379n$/],
  ['port null', [{ port: null }], /^port .*, got null$/],
  ['host empty', [{ host: '' }], HOST],
  ['host with a scheme', [{ host: 'redis://h' }], HOST],
  ['host with a port', [{ host: 'h:6379' }], /^host .*, got 'h:6379' \(a string\)$/],
  ['host with IPv6, brackets and port', [{ host: '[::1]:6379' }], HOST],
  ['host with a blank', [{ host: 'a b' }], HOST],
  ['host with a newline at its end', [{ host: 'h\n' }], HOST],
  ['host with a slash', [{ host: 'h/0' }], HOST],
  ['host in Unicode that is no name', [{ host: 'é é' }], HOST],
  ['host as a number', [{ host: 1 }], HOST],
  ['path empty', [{ path: '' }], /^path must be a well-formed string, not empty, without NUL/],
  ['path with NUL', [{ path: '/a\0b' }], /^path must be .* without NUL/],
  ['db -1', [{ db: -1 }], /^db must be an integer from 0 to 2147483647, got -1$/],
  ['db 1.5', [{ db: 1.5 }], /^db must be an integer/],
  ['db as a string', [{ db: 'x' }], /^db must be an integer .*, got 'x' \(a string\)$/],
  ['username without password', [{ username: 'u' }], /^username is given without a password$/],
  ['username empty', [{ username: '', password: 'p' }], /^username must be /],
  ['password as a number', [{ password: 1234 }], /^password must be a well-formed string, got a number$/],
  ['password null', [{ password: null }], /^password must be a well-formed string, got null$/],
  [
    'password with a lone surrogate',
    [{ password: 'a\ud800' }],
    /^password must be a well-formed string, got a string$/,
  ],
  ['clientName empty', [{ clientName: '' }], /^clientName must be printable ASCII without blanks/],
  ['clientName with a blank', [{ clientName: 'a b' }], /^clientName must be .*, got 'a b' \(a string\)$/],
  ['clientName with a newline', [{ clientName: 'a\n' }], /^clientName must be .*, got 'a\\n' \(a string\)$/],
  ['clientName beyond ASCII', [{ clientName: 'é' }], /^clientName must be /],
  ['signal without its class', [{ signal: { aborted: false } }], /^signal must be an AbortSignal, got an object$/],

  ['tls as a string', [{ tls: 'yes' }], /^tls must be true, false or an object, got 'yes' \(a string\)$/],
  ['tls null', [{ tls: null }], /^tls must be true, false or an object, got null$/],
  ['tls.ca empty', [{ tls: { ca: '' } }], /^tls\.ca must be PEM, not empty, .*, got an empty string$/],
  ['tls.ca without bytes', [{ tls: { ca: new Uint8Array(0) } }], /^tls\.ca must be PEM, not empty/],
  ['tls.ca as other bytes', [{ tls: { ca: new Float64Array(2) } }], /^tls\.ca must be PEM/],
  ['tls.cert without tls.key', [{ tls: { cert: 'c' } }], /^tls\.cert and tls\.key go together, tls\.key is missing$/],
  ['tls.key without tls.cert', [{ tls: { key: 'k' } }], /^tls\.cert and tls\.key go together, tls\.cert is missing$/],
  ['tls.servername with a port', [{ tls: { servername: 'h:1' } }], /^tls\.servername must be a host name/],
  [
    'tls.rejectUnauthorized 0',
    [{ tls: { rejectUnauthorized: 0 } }],
    /^tls\.rejectUnauthorized must be true or false, got 0$/,
  ],
  ['tls with a path', [{ path: '/s', tls: true }], /^tls goes with a host, not with a unix socket \(path\)$/],
  ['tls with a unix url', ['unix:///s', { tls: {} }], /^tls goes with a host, not with a unix socket/],
  ['rediss url with tls: false', ['rediss://h', { tls: false }], /^tls is false, but the url asks for TLS$/],

  [
    "replies 'Check'",
    [{ replies: 'Check' }],
    /^replies must be 'check', 'collect' or 'off', got 'Check' \(a string\)$/,
  ],
  ['replies empty', [{ replies: '' }], /^replies must be 'check', 'collect' or 'off'/],
  ['replies 3', [{ replies: 3 }], /^replies must be 'check', 'collect' or 'off', got 3$/],
  ['replies as a String object', [{ replies: new String('check') }], /^replies must be .*, got an object$/],
  ['encoding latin1', [{ encoding: 'latin1' }], /^encoding must be 'utf8' or 'buffer', got 'latin1'/],
  ['whenFull wait', [{ whenFull: 'wait' }], /^whenFull must be 'throw' or 'block', got 'wait'/],
  ['onNull true', [{ onNull: true }], /^onNull must be 'throw', 'skip' or 'empty', got true$/],
  ['transaction 1', [{ transaction: 1 }], /^transaction must be true or false, got 1$/],
  ['autoExec 65536', [{ autoExec: 65536 }], /^autoExec must be true, false or an object, got 65536$/],
  ['autoExec {}', [{ autoExec: {} }], /^autoExec needs at least one of bytes, commands or ms$/],
  ['autoExec with undefined only', [{ autoExec: { ms: undefined } }], /^autoExec needs at least one of/],
  [
    'autoExec.bytes 0',
    [{ autoExec: { bytes: 0 } }],
    /^autoExec\.bytes must be an integer from 1 to 1099511627776, got 0$/,
  ],
  ['autoExec.commands 0', [{ autoExec: { commands: 0 } }], /^autoExec\.commands must be an integer from 1/],
  ['autoExec.ms 0.5', [{ autoExec: { ms: 0.5 } }], /^autoExec\.ms must be an integer from 1 .*, got 0\.5$/],
  [
    'autoExec with transaction',
    [{ autoExec: true, transaction: true }],
    /^autoExec cannot be used together with transaction$/,
  ],

  ['resend some', [{ resend: 'some' }], /^resend must be 'idempotent', 'all' or 'none', got 'some'/],
  ['resend true', [{ resend: true }], /^resend must be 'idempotent', 'all' or 'none', got true$/],
  ['checkpoint empty', [{ checkpoint: '' }], /^checkpoint must be a well-formed string, not empty/],
  ['checkpoint true', [{ checkpoint: true }], /^checkpoint must be .*, got true$/],
  ['checkpoint null', [{ checkpoint: null }], /^checkpoint must be .*, got null$/],
  ['checkpoint with a lone surrogate', [{ checkpoint: '\ud800' }], /^checkpoint must be a well-formed string/],
  [
    'checkpoint with autoExec',
    [{ checkpoint: 'k', autoExec: true }],
    /^autoExec cannot be used together with checkpoint$/,
  ],
  [
    'checkpoint with cluster',
    [{ checkpoint: 'k', cluster: true }],
    /^checkpoint cannot be used together with cluster$/,
  ],
  [
    'checkpoint with connections',
    [{ checkpoint: 'k', connections: 2 }],
    /^checkpoint cannot be used together with connections other than 1$/,
  ],
  [
    "checkpoint with replies: 'off'",
    [{ checkpoint: 'k', replies: 'off' }],
    /^checkpoint cannot be used together with replies: 'off'$/,
  ],
  ['throttle as a number', [{ throttle: 1 }], /^throttle must be an object, got 1$/],
  ['throttle of nothing', [{ throttle: {} }], /^throttle needs at least one of commandsPerSecond or bytesPerSecond$/],
  [
    'throttle.commandsPerSecond 0, which would be for ever',
    [{ throttle: { commandsPerSecond: 0 } }],
    /^throttle\.commandsPerSecond must be an integer from 1 .*, got 0$/,
  ],
  [
    'throttle.bytesPerSecond as a fraction',
    [{ throttle: { bytesPerSecond: 0.5 } }],
    /^throttle\.bytesPerSecond must be an integer from 1 .*, got 0\.5$/,
  ],
  ['waitReplicas as a number', [{ waitReplicas: 1 }], /^waitReplicas must be an object, got 1$/],
  ['waitReplicas null', [{ waitReplicas: null }], /^waitReplicas must be an object, got null$/],
  [
    'waitReplicas without timeoutMs',
    [{ waitReplicas: { count: 1 } }],
    /^waitReplicas needs waitReplicas\.timeoutMs: an integer from 1/,
  ],
  [
    'waitReplicas without count',
    [{ waitReplicas: { timeoutMs: 1 } }],
    /^waitReplicas needs waitReplicas\.count: an integer from 1/,
  ],
  [
    'waitReplicas.count 0',
    [{ waitReplicas: { count: 0, timeoutMs: 1 } }],
    /^waitReplicas\.count must be an integer from 1 .*, got 0$/,
  ],
  [
    'waitReplicas.timeoutMs 0, which would wait without end',
    [{ waitReplicas: { count: 1, timeoutMs: 0 } }],
    /^waitReplicas\.timeoutMs must be an integer from 1 .*, got 0$/,
  ],

  [
    'maxBufferedBytes 0',
    [{ maxBufferedBytes: 0 }],
    /^maxBufferedBytes must be an integer from 1 to 1099511627776, got 0$/,
  ],
  ['maxBufferedBytes above 1 TiB', [{ maxBufferedBytes: TIB + 1 }], /^maxBufferedBytes must be/],
  ['maxBufferedBytes Infinity', [{ maxBufferedBytes: Infinity }], /^maxBufferedBytes must be .*, got Infinity$/],
  ['maxInFlightBytes 0', [{ maxInFlightBytes: 0 }], /^maxInFlightBytes must be an integer from 1 to .*, got 0$/],
  [
    'maxInFlightBytes above maxBufferedBytes',
    [{ maxBufferedBytes: 1000, maxInFlightBytes: 1001 }],
    /^maxInFlightBytes must be at most maxBufferedBytes \(1000\), got 1001$/,
  ],
  ['maxFailures -1', [{ maxFailures: -1 }], /^maxFailures must be an integer from 0 to 1000000, got -1$/],
  ['maxFailures Infinity', [{ maxFailures: Infinity }], /^maxFailures must be an integer from 0 to 1000000/],
  ...['connectTimeoutMs', 'stallTimeoutMs'].flatMap((name) =>
    [0, -1, 1.5, Infinity, 2 ** 31].map((value): [string, Args, RegExp] => [
      `${name} ${value}`,
      [{ [name]: value }],
      TIMEOUT,
    ]),
  ),
  ['reconnectEvery -1', [{ reconnectEvery: -1 }], /^reconnectEvery must be an integer from 0 .*, got -1$/],
  ['reconnectEvery 1.5', [{ reconnectEvery: 1.5 }], /^reconnectEvery must be an integer from 0 .*, got 1\.5$/],
  ['reconnectEvery NaN', [{ reconnectEvery: NaN }], /^reconnectEvery must be an integer from 0 .*, got NaN$/],
  ['retry as a number', [{ retry: 3 }], /^retry must be an object, got 3$/],
  ['retry null', [{ retry: null }], /^retry must be an object, got null$/],
  [
    'retry.attempts -1',
    [{ retry: { attempts: -1 } }],
    /^retry\.attempts must be an integer from 0 .*, or Infinity, got -1$/,
  ],
  [
    'retry.firstConnect Infinity',
    [{ retry: { firstConnect: Infinity } }],
    /^retry\.firstConnect must be an integer from 0/,
  ],
  ['retry.maxElapsedMs 0.5', [{ retry: { maxElapsedMs: 0.5 } }], /^retry\.maxElapsedMs must be an integer from 0/],
  [
    'retry.minDelayMs above retry.maxDelayMs',
    [{ retry: { minDelayMs: 11, maxDelayMs: 10 } }],
    /^retry\.minDelayMs must be at most retry\.maxDelayMs \(10\), got 11$/,
  ],

  ['url as a number', [{ url: 1 }], /^url must be a string, got 1$/],
  ['url empty', [''], /^url must begin with redis:\/\/, .* or unix:\/\/, got ''$/],
  ['url without a scheme', ['localhost:6379'], /^url must begin with redis:\/\/, .*, got 'localhost:6379'$/],
  ['url with an unknown scheme', ['http://h'], /^url must begin with .*, got 'http:\/\/h'$/],
  [
    'url with letters for the db',
    ['redis://h/abc'],
    /^url must have a db that is an integer .*, got 'redis:\/\/h\/abc'$/,
  ],
  ['url with a negative db', ['redis://h/-1'], /^url must have a db that is an integer/],
  ['url with two slashes after the db', ['redis://h/1/'], /^url must have a db that is an integer/],
  ['url with an enormous db', ['redis://h/2147483648'], /^url must have a db that is an integer/],
  ['url with a query', ['redis://h?unknown=1'], /^url must not have a \?query: .*, got 'redis:\/\/h'$/],
  ['url with ?db= where /db belongs', ['redis://h?db=1'], /^url must not have a \?query: the db goes to \/db/],
  ['url with a fragment', ['redis://h#x'], /^url must not have a #fragment/],
  [
    'url with port 0',
    ['redis://h:0'],
    /^url must have a port that is an integer from 1 to 65535, got 'redis:\/\/h:0'$/,
  ],
  ['url with port 65536', ['redis://h:65536'], /^url must have a port/],
  ['url with letters for the port', ['redis://h:6379x'], /^url must have a host and port like host:6379/],
  ['url with a newline at its end', ['redis://h:6379\n'], /^url must have a host and port/],
  ['url with IPv6 without brackets', ['redis://::1:6379'], /^url must have a host and port like .* \[::1\]:6379/],
  ['url with a blank in the host', ['redis://a b'], /^url must have a host name or IP address/],
  ['url with a username and no password', ['redis://u@h'], /^username is given without a password$/],
  [
    'url with a wrong % in the password',
    ['redis://:100%@h'],
    /^url must have % only before two .*, got 'redis:\/\/\*\*\*@h'$/,
  ],
  ['url with % and bytes that are no UTF-8', ['redis://:%ff@h'], /^url must have % only before/],
  ['url with / in the password', ['redis://:a/b@h'], /^url has an @ after its host: .* write \/ \? # as %2F %3F %23/],
  ['url with ? in the password', ['redis://:a?b@h'], /^url has an @ after its host/],
  ['url with # in the password', ['redis://:a#b@h'], /^url has an @ after its host/],
  ['url with a lone surrogate', ['redis://:\ud800@h'], /^url must be a well-formed string/],
  ['unix url with two slashes', ['unix://tmp/s'], /^url must have three slashes before the path of a unix socket/],
  ['unix url without a path', ['unix://'], /^url must have the path of a unix socket/],
  ['unix url with the root', ['unix:///'], /^url must have the path of a unix socket/],
  ['unix url with a wrong query', ['unix:///s?DB=1'], /^url must not have a \?query other than \?db=/],
  ['unix url with two queries', ['unix:///s?db=1&db=2'], /^url must have a db that is an integer/],
]

for (const [title, args, message] of refused) {
  test(`refused: ${title}`, (t) => {
    const error = failure(args)
    t.is(error.code, 'RESPIPE_INVALID_OPTION')
    t.regex(error.message, message)
    t.true(error instanceof RespipeError)
  })
}

// Unknown names: the object, the message

const unknown: [options: object, message: RegExp][] = [
  [{ maxInflight: 1 }, /^unknown option maxInflight, did you mean maxInFlightBytes\?$/],
  [{ maxinflightbytes: 1 }, /^unknown option maxinflightbytes, did you mean maxInFlightBytes\?$/],
  [{ prot: 1 }, /^unknown option prot, did you mean port\?$/],
  [{ hots: 'h' }, /^unknown option hots, did you mean host\?$/],
  [{ user: 'u' }, /^unknown option user, did you mean username\?$/],
  [{ timeout: 1 }, /^unknown option timeout, did you mean connectTimeoutMs\?$/],
  [{ onnull: undefined }, /^unknown option onnull, did you mean onNull\?$/],
  [
    { tls: { rejectUnauthorised: false } },
    /^unknown option tls\.rejectUnauthorised, did you mean tls\.rejectUnauthorized\?$/,
  ],
  [{ retry: { attemps: 1 } }, /^unknown option retry\.attemps, did you mean retry\.attempts\?$/],
  [{ autoExec: { command: 1 } }, /^unknown option autoExec\.command, did you mean autoExec\.commands\?$/],
  [{ sentinel: { names: 'm' } }, /^unknown option sentinel\.names, did you mean sentinel\.name\?$/],
  [{ cluster: { node: [] } }, /^unknown option cluster\.node, did you mean cluster\.nodes\?$/],
  [{ waitReplicas: { counts: 1 } }, /^unknown option waitReplicas\.counts, did you mean waitReplicas\.count\?$/],
  [{ throttle: { bytesPerSec: 1 } }, /^unknown option throttle\.bytesPerSec, did you mean throttle\.bytesPerSecond\?$/],
  [{ lazyConnect: true }, /^unknown option lazyConnect, known are url, host, port, /],
  [{ retry: { jitter: 1 } }, /^unknown option retry\.jitter, known are retry\.firstConnect, retry\.attempts, /],
  [{ 'a\nb': 1 }, /^unknown option 'a\\nb' \(a string\), known are /],
  [JSON.parse('{ "__proto__": 1 }'), /^unknown option __proto__, known are /],
  [Object.create({ hosts: 'h' }), /^unknown option hosts, did you mean host\?$/],
]

for (const [options, message] of unknown) {
  test(`unknown: ${inspect(options)} ${message.source}`, (t) => {
    const error = failure([options])
    t.is(error.code, 'RESPIPE_INVALID_OPTION')
    t.regex(error.message, message)
  })
}

// Options of later versions: legal values, wrong values, the value that passes; the name in the message

const later: { name: string; legal: object[]; wrong: [object, RegExp][]; passes: object[] }[] = [
  {
    name: 'cluster',
    legal: [{ cluster: true }, { cluster: {} }, { cluster: { nodes: ['a', 'b:7000', '[::1]:7001'] } }],
    wrong: [
      [{ cluster: 'yes' }, /^cluster must be true, false or an object/],
      [{ cluster: { nodes: [] } }, /^cluster\.nodes must be an array, not empty, of different servers/],
      [{ cluster: { nodes: ['a:1', 'a:1'] } }, /^cluster\.nodes must be an array, not empty, of different servers/],
      [{ cluster: { nodes: ['a:70000'] } }, /^cluster\.nodes must be an array/],
      [{ cluster: { nodes: [1] } }, /^cluster\.nodes must be an array/],
      [{ cluster: { nodes: 'a:1' } }, /^cluster\.nodes must be an array/],
    ],
    passes: [{ cluster: false }],
  },
  {
    name: 'sentinel',
    legal: [{ sentinel: { name: 'm', nodes: ['a:26379'], username: 'u', password: SECRET } }],
    wrong: [
      [{ sentinel: true }, /^sentinel must be an object, got true$/],
      [{ sentinel: { nodes: ['a'] } }, /^sentinel needs sentinel\.name: /],
      [{ sentinel: { name: 'm' } }, /^sentinel needs sentinel\.nodes: /],
      [{ sentinel: { name: '', nodes: ['a'] } }, /^sentinel\.name must be /],
      [{ sentinel: { name: 'm', nodes: ['a'], password: 1 } }, /^sentinel\.password must be .*, got a number$/],
    ],
    passes: [{ sentinel: undefined }],
  },
  {
    name: 'connections',
    legal: [{ connections: 2 }],
    wrong: [
      [{ connections: 0 }, /^connections must be an integer from 1 to 65535, got 0$/],
      [{ connections: 1.5 }, /^connections must be an integer/],
    ],
    passes: [{ connections: 1 }],
  },
]

for (const { name, legal, wrong, passes } of later) {
  for (const options of legal) {
    test(`later: ${inspect(options, { breakLength: Infinity })} is not supported yet`, (t) => {
      const error = failure([options])
      t.is(error.code, 'RESPIPE_UNSUPPORTED')
      t.true(error.message.startsWith(name), error.message)
      t.regex(error.message, /is not supported: this version of respipe does not have it yet$/)
      t.false(error.message.includes(SECRET))
    })
  }
  for (const [options, message] of wrong) {
    test(`later: ${inspect(options, { breakLength: Infinity })} is wrong in any version`, (t) => {
      const error = failure([options])
      t.is(error.code, 'RESPIPE_INVALID_OPTION')
      t.regex(error.message, message)
    })
  }
  for (const options of passes) {
    test(`later: ${inspect(options, { breakLength: Infinity })} is the default and passes`, (t) => {
      t.deepEqual(readOptions(options), DEFAULTS)
    })
  }
}

// Secrets

const wrongOptions = [
  ...refused.map(([, [first]]) => first).filter((first) => typeof first === 'object' && first !== null),
  ...unknown.map(([options]) => options),
  ...later.flatMap(({ legal, wrong }) => [...legal, ...wrong.map(([options]) => options)]),
]
const leaking: Args[] = [
  ...wrongOptions.map((options): Args => [`redis://user:${SECRET}@h:1/2`, options]).filter(isRefused),
  ...wrongOptions.map((options): Args => [{ password: SECRET, ...(options as object) }]).filter(isRefused),
  [{ password: [SECRET] }],
  [{ password: { toString: () => SECRET } }],
  [{ password: Symbol(SECRET) }],
  [{ password: Buffer.from(SECRET) }],
  [{ password: `${SECRET}\ud800` }],
  [{ host: `redis://:${SECRET}@h` }],
  [{ host: `user:${SECRET}@h` }],
  [{ path: `redis://:${SECRET}@h\0` }],
  [{ encoding: `redis://:${SECRET}` }],
  [{ [`redis://:${SECRET}@h`]: 1 }],
  [{ cluster: { nodes: [`redis://:${SECRET}@h`] } }],
  [{ sentinel: { name: 'm', nodes: ['a'], password: [SECRET] } }],
  [{ tls: { cert: SECRET } }],
  [{ tls: { key: SECRET } }],
  [{ tls: { cert: 'c', key: [SECRET] } }],
  [`redis://:${SECRET}`],
  [`redis://h:${SECRET}/0`],
  [`redis://:${SECRET}/x`],
  [`redis://:x/${SECRET}`],
  [`redis://:1?${SECRET}`],
  [`redis://:1#${SECRET}`],
  [`redis://:x/${SECRET}@h`],
  [`redis://:x?${SECRET}@h`],
  [`redis://:x#${SECRET}@h`],
  [`redis://:x@${SECRET}@h:0`],
  [`redis://:${SECRET}%@h`],
  [`redis://:${SECRET}%zz@h`],
  [`redis://:${SECRET}@h:99999`],
  [`redis://:${SECRET}@h/abc`],
  [`redis://:${SECRET}@h?unknown=1`],
  [`redis://h?password=${SECRET}`],
  [`redis://:${SECRET}@a b`],
  [`redis://:${SECRET}@h\n`],
  [`http://:${SECRET}@h`],
  [`:${SECRET}@h`],
  [`:${SECRET}`],
  [`h:${SECRET}`],
  [`unix://:${SECRET}@h/s`],
  [`unix://:x/${SECRET}@/s`],
  [`unix://:${SECRET}@/s?x=1`],
  [`unix://:${SECRET}@/s`, { tls: true }],
  [`rediss://:${SECRET}@h`, { tls: false }],
  [`redis://:${SECRET}@h`, { url: `redis://:${SECRET}@h` }],
  [{ url: `redis://:${SECRET}@h` }, {}],
]

for (const [index, args] of leaking.entries()) {
  const [first, second] = args
  test(`redacted ${index}: no secret in the error for ${inspect(first)}, ${inspect(second)}`, (t) => {
    const error = failure(args)
    for (const text of [
      error.message,
      error.stack,
      inspect(error, { depth: 9, showHidden: true }),
      JSON.stringify(error),
    ]) {
      t.false(String(text).toLowerCase().includes(SECRET), text)
    }
  })
}

// Reading

test('every value is read exactly once, nested ones too', (t) => {
  const reads: Record<string, number> = {}
  const counting = (values: Record<string, unknown>, prefix = ''): object => {
    const object = {}
    for (const [name, value] of Object.entries(values)) {
      const get = () => {
        reads[prefix + name] = (reads[prefix + name] ?? 0) + 1
        return value
      }
      Object.defineProperty(object, name, { enumerable: true, get })
    }
    return object
  }
  const signal = new AbortController().signal
  const normalized = readOptions(
    counting({
      ...DEFAULTS,
      url: 'redis://h',
      path: undefined,
      username: 'u',
      password: 'p',
      clientName: 'c',
      signal,
      cluster: false,
      connections: 1,
      checkpoint: undefined,
      waitReplicas: counting({ count: 1, timeoutMs: 1 }, 'waitReplicas.'),
      throttle: counting({ commandsPerSecond: 1, bytesPerSecond: 2 }, 'throttle.'),
      tls: counting({ ca: 'ca', cert: 'c', key: 'k', servername: 's', rejectUnauthorized: true }, 'tls.'),
      autoExec: counting({ bytes: 1, commands: 2, ms: 3 }, 'autoExec.'),
      retry: counting({ ...DEFAULTS.retry, attempts: 4 }, 'retry.'),
    }),
  )
  t.is(normalized['retry'].attempts, 4)
  t.is(Object.keys(reads).length, 29 + 2 + 2 + 5 + 3 + 5)
  t.deepEqual(
    Object.entries(reads).filter(([, count]) => count !== 1),
    [],
  )
})

test('a value that changes between two reads cannot get past its check', (t) => {
  let reads = 0
  const options = {
    get port() {
      return reads++ === 0 ? 6380 : 'no port'
    },
  }
  t.is(readOptions(options)['port'], 6380)
})

test('getters of a class are read', (t) => {
  class Settings {
    get port() {
      return 6380
    }
    method() {}
  }
  t.is(readOptions(new Settings())['port'], 6380)
})

test('what a getter throws passes through', (t) => {
  const own = new Error('mine')
  const options = {
    get port() {
      throw own
    },
  }
  t.is(
    t.throws(() => readOptions(options)),
    own,
  )
})

test('no function of a wrong value is called', (t) => {
  const fail = () => t.fail('called')
  const hostile = { toString: fail, valueOf: fail, toJSON: fail, [Symbol.toPrimitive]: fail, [inspect.custom]: fail }
  for (const name of ['host', 'port', 'password', 'replies', 'maxFailures', 'url', 'signal']) {
    t.is(failure([{ [name]: hostile }]).code, 'RESPIPE_INVALID_OPTION')
  }
})

test.serial('names planted on Object.prototype choose nothing and refuse nothing', (t) => {
  const planted = { host: 'evil', password: 'p', tls: null, ca: 'x', minDelayMs: 7, url: 'redis://evil', what: 1 }
  Object.assign(Object.prototype, planted)
  let fromUrl, fromOptions
  try {
    fromUrl = readOptions('redis://h', { retry: {} })
    fromOptions = readOptions({ port: 1, tls: {} })
  } finally {
    for (const name of Object.keys(planted)) delete (Object.prototype as Record<string, unknown>)[name]
  }
  t.deepEqual(fromUrl, { ...DEFAULTS, host: 'h' })
  t.deepEqual(fromOptions, { ...DEFAULTS, port: 1, tls: NO_TLS_FILES })
})

test('bytes of TLS are copied', (t) => {
  const ca = Buffer.from('before')
  const normalized = readOptions({ tls: { ca } })
  ca.write('after!')
  t.is(normalized['tls'].ca.toString(), 'before')
})

test('results share nothing', (t) => {
  const [one, other] = [readOptions('rediss://h', { autoExec: true }), readOptions('rediss://h', { autoExec: true })]
  for (const name of ['tls', 'autoExec', 'retry']) t.not(one[name], other[name])
})

test('a long wrong string is cut in the message', (t) => {
  t.true(failure([{ encoding: 'x'.repeat(100_000) }]).message.length < 200)
})

test('of a long unknown name only the beginning is compared and shown', (t) => {
  t.true(failure([{ ['x'.repeat(1_000_000)]: 1 }]).message.length < 1_000)
  // The name that it contains is behind what is compared.
  t.notRegex(failure([{ [`${'x'.repeat(64)}password`]: 1 }]).message, /did you mean/)
  t.regex(failure([{ [`${'x'.repeat(50)}password`]: 1 }]).message, /did you mean password\?/)
})

test('rejectUnauthorized: false warns once in a process, and only where the options are fine', async (t) => {
  const source = `
    import { readOptions } from './lib/options.js'
    process.on('warning', (warning) => console.log(warning.code, warning.message))
    const tls = { rejectUnauthorized: false }
    try { readOptions({ tls, port: 0 }) } catch {}
    readOptions({ tls: true })
    setImmediate(() => {
      console.log('so far')
      console.log(readOptions({ tls }).tls.rejectUnauthorized, readOptions({ tls }).tls.rejectUnauthorized)
    })`
  const { stdout } = await runScript({ source }, { nodeArgs: ['--no-warnings'] })
  const lines = stdout.trim().split('\n')
  t.deepEqual(lines.slice(0, 2), ['so far', 'false false'])
  t.is(lines.length, 3)
  t.regex(
    lines[2] ?? '',
    /^RESPIPE_TLS_UNVERIFIED tls\.rejectUnauthorized is false: the identity of the server is not verified/,
  )
})

// The error class

test('RespipeError has a name, a code, and nothing that was not given', (t) => {
  const error = new RespipeError('RESPIPE_CLOSED', 'closed')
  t.true(error instanceof Error)
  t.is(error.name, 'RespipeError')
  t.deepEqual(Object.keys(error), ['code'])
  t.false(Object.hasOwn(error, 'cause'))
  t.true(error.stack?.startsWith('RespipeError: closed\n'))
})

test('RespipeError keeps outcome as an own field, and cause as errors have it', (t) => {
  const [outcome, cause] = [{ commands: 1 }, new Error('why')]
  const error = new RespipeError('RESPIPE_STALLED', 'stalled', { outcome, cause })
  t.deepEqual(Object.keys(error), ['code', 'outcome'])
  t.is(error.outcome, outcome)
  t.is(error.cause, cause)
})

function failure(args: Args): Failure {
  try {
    readOptions(...args)
  } catch (error) {
    return error as Failure
  }
  throw new Error('not refused')
}

function isRefused(args: Args): boolean {
  try {
    readOptions(...args)
    return false
  } catch {
    return true
  }
}
