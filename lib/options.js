// The options of a pipeline: what the user gave comes in, a complete and checked object for the native side goes out.
// A table holds one line for each option; `check` returns the value as the native side wants it, or undefined to refuse.
// No message shows a password, a key, or the login part of a url.
'use strict'

const { isIPv6 } = require('node:net')
const { domainToASCII } = require('node:url')
const { inspect, types } = require('node:util')
const { tagOf } = require('./builtins.js')
const { RespipeError } = require('./errors.js')
const { nearest } = require('./nearest.js')

/**
 * Reads the arguments of `bulkPipeline(url?, options?)` and `bulkPipeline(options)`. `client`: what a client of another
 * library is set to, for what the options leave out.
 *
 * Each value is read exactly once. What a getter of the user throws passes through as it is.
 * An explicit option wins over the same part of a url; `tls: false` beside a url that asks for TLS is refused.
 *
 * @throws {RespipeError} RESPIPE_INVALID_OPTION, RESPIPE_UNSUPPORTED
 */
function readOptions(urlOrOptions, options, client) {
  const given = check(readArguments(urlOrOptions, options), OPTIONS, '')
  const settled = complete(client === undefined ? mergeUrl(given) : mergeClient(given, client), OPTIONS)
  checkTogether(settled, given)
  refuseLater(settled)
  if (settled.tls !== null && !settled.tls.rejectUnauthorized) warnOfUnverified()

  const normalized = { ...settled }
  for (const { option, value } of LATER) if (value === undefined) delete normalized[option]
  delete normalized.url
  return normalized
}

/**
 * Reads the options of a load, or of a `writable`.
 *
 * @throws {RespipeError} RESPIPE_INVALID_OPTION
 */
function readLoadOptions(options = {}, table = LOAD) {
  if (!isRecord(options)) throw mismatch('options', 'an object', options)
  return complete(check(read(options, table, ''), table, ''), table)
}

function readArguments(first, second) {
  if (first !== undefined && typeof first !== 'string') {
    if (!isRecord(first)) throw mismatch('the first argument', 'a url or an object of options', first)
    if (second !== undefined) throw invalid('options are given twice: pass a url and options, or options alone')
    return read(first, OPTIONS, '')
  }
  if (second !== undefined && !isRecord(second)) throw mismatch('options', 'an object', second)
  const raw = read(second ?? {}, OPTIONS, '')
  if (first === undefined) return raw
  if (raw.url !== undefined) throw invalid('url is given twice: as the first argument and among the options')
  return { ...raw, __proto__: null, url: first }
}

/**
 * The values of an object's known names, own or inherited, in one pass; an unknown enumerable name is refused.
 * `Object.prototype` is left out: a name that someone planted there must not choose the server.
 */
function read(source, table, prefix) {
  const raw = { __proto__: null }
  for (let object = source; object !== null && object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const key of Object.keys(object)) if (!Object.hasOwn(table, key)) throw unknown(key, table, prefix)
    for (const name of Object.keys(table)) {
      if (!(name in raw) && Object.hasOwn(object, name)) raw[name] = source[name]
    }
  }
  return raw
}

function check(raw, table, prefix) {
  const given = { __proto__: null }
  for (const [name, option] of Object.entries(table)) {
    if (raw[name] === undefined) continue
    const value = option.check(raw[name], prefix + name)
    if (value === undefined) throw mismatch(prefix + name, option.expected, raw[name], option.secret)
    given[name] = value
  }
  return given
}

function complete(given, table) {
  const settled = { __proto__: null, ...given }
  for (const [name, { fallback }] of Object.entries(table)) {
    if (settled[name] === undefined) settled[name] = typeof fallback === 'function' ? fallback(settled) : fallback
  }
  return { ...settled }
}

function mergeUrl(given) {
  const parts = { __proto__: null, ...given.url }
  if (parts.tls !== undefined && given.tls === null) throw invalid('tls is false, but the url asks for TLS')
  // A host or port is a TCP address: it replaces the socket that the url names.
  if (given.host !== undefined || given.port !== undefined) delete parts.path
  return { __proto__: null, ...parts, ...given }
}

function mergeClient(given, client) {
  if (given.url !== undefined) throw invalid('url is given beside a client, which has an address: give host and port')
  const parts = check(client, OPTIONS, "the client's ")
  // Where another kind of address is given, what goes with the client's alone goes with it.
  if (given.host !== undefined || given.port !== undefined) delete parts.path
  if (given.path !== undefined) delete parts.tls
  return { __proto__: null, ...parts, ...given }
}

/** What no single option can tell. `settled` has the defaults and the url, `given` only what stood among the options. */
function checkTogether(settled, given) {
  if (settled.username !== null && settled.password === null) throw invalid('username is given without a password')
  if (settled.path !== null && settled.tls !== null) {
    throw invalid('tls goes with a host, not with a unix socket (path)')
  }
  if (settled.maxInFlightBytes > settled.maxBufferedBytes) {
    throw mismatch('maxInFlightBytes', `at most maxBufferedBytes (${settled.maxBufferedBytes})`, given.maxInFlightBytes)
  }
  for (const [one, other, value] of CONFLICTS) {
    if (isUsed(settled, one) && isUsed(settled, other, value)) {
      throw invalid(`${one} cannot be used together with ${setting(other, value)}`)
    }
  }
}

function refuseLater(settled) {
  for (const { option, value } of LATER) {
    if (!isUsed(settled, option, value)) continue
    const why = 'is not supported: this version of respipe does not have it yet'
    throw new RespipeError('RESPIPE_UNSUPPORTED', `${setting(option, value)} ${why}`)
  }
}

function isUsed(settled, option, value) {
  return value === undefined ? settled[option] !== OPTIONS[option].fallback : settled[option] === value
}

let warned = false

function warnOfUnverified() {
  if (warned) return
  warned = true
  const message = 'the identity of the server is not verified, anyone on the way can read and change the data'
  process.emitWarning(`tls.rejectUnauthorized is false: ${message}`, { code: 'RESPIPE_TLS_UNVERIFIED' })
}

// Urls

const URL_SHAPE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)([^?#]*)(?:\?([^#]*))?(#.*)?$/is
const TLS_SCHEMES = ['rediss', 'valkeys']
const URL_SCHEMES = ['redis', 'valkey', ...TLS_SCHEMES, 'unix']

/**
 * `redis://user:password@host:port/db` or `unix://user:password@/path?db=0`, as options; absent parts are undefined.
 * By hand: WHATWG `URL` refuses a login without a host, drops tabs and newlines, and has the whole url in its error.
 */
function parseUrl(url) {
  const refuse = (why) => invalid(`url ${why}, got ${inspect(redact(url))}`)
  if (!url.isWellFormed()) throw refuse('must be a well-formed string')
  const [, protocol, authority, path, query = '', fragment = ''] = URL_SHAPE.exec(url) ?? []
  const scheme = protocol?.toLowerCase()
  if (!URL_SCHEMES.includes(scheme)) throw refuse(`must begin with ${listed(URL_SCHEMES.map((name) => `${name}://`))}`)
  if (`${scheme === 'unix' ? '' : path}${query}${fragment}`.includes('@')) {
    throw refuse('has an @ after its host: in a username or password, write / ? # as %2F %3F %23')
  }
  if (fragment !== '') throw refuse('must not have a #fragment')

  const at = authority.lastIndexOf('@')
  const login = parseLogin(authority.slice(0, Math.max(at, 0)), refuse)
  const address = authority.slice(at + 1)
  if (scheme !== 'unix') {
    if (query !== '') throw refuse('must not have a ?query: the db goes to /db, other options into the second argument')
    const tls = TLS_SCHEMES.includes(scheme) ? complete({}, TLS) : undefined
    return { ...login, ...parseAddress(address, refuse), db: parseDb(path.slice(1), refuse), tls }
  }
  if (address !== '') throw refuse('must have three slashes before the path of a unix socket: unix:///path')
  const socket = OPTIONS.path.check(decode(path, refuse))
  if (socket === undefined || socket === '/') throw refuse('must have the path of a unix socket: unix:///path')
  if (query !== '' && !query.startsWith('db=')) throw refuse('must not have a ?query other than ?db=')
  return { ...login, path: socket, db: parseDb(query.slice(3), refuse) }
}

/** `user:` has the password '', but a bare `:` (an unset variable) is no login. */
function parseLogin(login, refuse) {
  const [name, ...rest] = login.split(':')
  const username = decode(name, refuse) || undefined
  const password = rest.length > 0 ? decode(rest.join(':'), refuse) : undefined
  return { username, password: username === undefined ? password || undefined : password }
}

function parseAddress(address, refuse) {
  const [matched, name, digits] = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d*))?$/.exec(address) ?? []
  if (matched === undefined) throw refuse('must have a host and port like host:6379 or [::1]:6379')
  // The zone of an IPv6 address is written `%25eth0` in a url.
  const host = name === '' ? undefined : OPTIONS.host.check(name.replace('%25', '%'))
  if (name !== '' && host === undefined) throw refuse(`must have ${OPTIONS.host.expected}`)
  const port = digits ? OPTIONS.port.check(Number(digits)) : undefined
  if (digits && port === undefined) throw refuse(`must have a port that is ${OPTIONS.port.expected}`)
  return { host, port }
}

function parseDb(digits, refuse) {
  if (digits === '') return undefined
  const db = /^\d+$/.test(digits) ? OPTIONS.db.check(Number(digits)) : undefined
  if (db === undefined) throw refuse(`must have a db that is ${OPTIONS.db.expected}`)
  return db
}

function decode(part, refuse) {
  try {
    return decodeURIComponent(part)
  } catch {
    throw refuse('must have % only before two hexadecimal digits of UTF-8: write % itself as %25')
  }
}

// Checks: each returns lines of a table, without the default

function integer(min, max) {
  const isOne = (value) => Number.isInteger(value) && value >= min && value <= max
  // `+ 0` makes 0 of -0.
  return { expected: `an integer from ${min} to ${max}`, check: (value) => (isOne(value) ? value + 0 : undefined) }
}

function oneOf(...values) {
  const expected = listed(values.map((value) => inspect(value)))
  return { expected, check: (value) => (values.includes(value) ? value : undefined) }
}

/** Node-API would turn a lone surrogate into U+FFFD without a word. */
function string(expected, pattern) {
  const isOne = (value) => typeof value === 'string' && value.isWellFormed() && pattern.test(value)
  return { expected, check: (value) => (isOne(value) ? value : undefined) }
}

/** An object with a table of its own; an option without a default has to be there. */
function record(table, settle = (given) => complete(given, table)) {
  const readRecord = (value, name) => {
    if (!isRecord(value)) return undefined
    const given = check(read(value, table, `${name}.`), table, `${name}.`)
    const missing = Object.keys(table).find((field) => !('fallback' in table[field]) && given[field] === undefined)
    if (missing !== undefined) throw invalid(`${name} needs ${name}.${missing}: ${table[missing].expected}`)
    return settle(given, name)
  }
  return { expected: 'an object', check: readRecord }
}

function someOf(table) {
  return record(table, (given, name) => {
    if (Object.keys(given).length === 0) throw invalid(`${name} needs at least one of ${listed(Object.keys(table))}`)
    return complete(given, table)
  })
}

/** `false` is null, `true` is the same as the object `preset`. */
function switchable(preset, inner) {
  const readSwitch = (value, name) => (value === false ? null : inner.check(value === true ? preset : value, name))
  return { expected: 'true, false or an object', check: readSwitch }
}

const HOST = {
  expected: 'a host name or IP address, without scheme, port or blanks',
  check(value) {
    if (typeof value !== 'string') return undefined
    const address = /^\[(.*)\]$/.exec(value)?.[1]
    if (isIPv6(address ?? value)) return address ?? value
    // Underscores are not for host names, but names of containers have them.
    const name = /[^\0-\x7f]/.test(value) ? domainToASCII(value) : value
    return /^[a-z0-9._-]+$/i.test(name) ? name : undefined
  },
}

const PEM = {
  expected: 'PEM, not empty, as a string, Buffer or Uint8Array',
  secret: true,
  check(value) {
    if (typeof value === 'string') return value === '' ? undefined : Buffer.from(value)
    // A copy: what the user does with the bytes later changes nothing.
    if (types.isUint8Array(value) && value.byteLength > 0) return Buffer.from(new Uint8Array(value).buffer)
    return undefined
  },
}

const SERVERS = {
  expected: "an array, not empty, of different servers like 'host:6379'",
  check(value) {
    const servers = Array.isArray(value) ? [...value] : []
    const different = new Set(servers).size === servers.length
    return servers.length > 0 && different && servers.every(isServer) ? servers : undefined
  },
}

function isServer(server) {
  const [, host, port] = (typeof server === 'string' && /^(\[.*\]|[^:]*)(?::(\d+))?$/.exec(server)) || []
  return HOST.check(host) !== undefined && (port === undefined || PORT.check(Number(port)) !== undefined)
}

// Tables

const KIB = 1024
const MIB = 1024 * KIB
/** The largest delay of a timer in Node.js, and well within all integers of the native side. */
const MAX_INT = 2 ** 31 - 1
/** 1 TiB: above any memory that this could be meant for, and exact as a double. */
const MAX_BYTES = 2 ** 40

const PORT = integer(1, 65_535)
const BOOLEAN = oneOf(true, false)
const COUNT = integer(1, MAX_INT)
const NOT_NEGATIVE = integer(0, MAX_INT)
// 0 as "none" would be a wait without end.
const TIMEOUT = integer(1, MAX_INT)
const BYTES = integer(1, MAX_BYTES)
const PASSWORD = { ...string('a well-formed string', /^/), secret: true }
const SIGNAL = { expected: 'an AbortSignal', check: (value) => (value instanceof AbortSignal ? value : undefined) }
const NOT_EMPTY = string('a well-formed string, not empty', /./s)

const TLS = {
  ca: { ...PEM, fallback: null },
  cert: { ...PEM, fallback: null },
  key: { ...PEM, fallback: null },
  servername: { ...HOST, fallback: null },
  rejectUnauthorized: { ...BOOLEAN, fallback: true },
}

const AUTO_EXEC = {
  bytes: { ...BYTES, fallback: null },
  commands: { ...COUNT, fallback: null },
  ms: { ...COUNT, fallback: null },
}

/** Where only one of the two delays is given, the default of the other one follows. */
const RETRY = {
  firstConnect: { ...NOT_NEGATIVE, fallback: 3 },
  attempts: {
    expected: `${NOT_NEGATIVE.expected}, or Infinity`,
    check: (value) => (value === Infinity ? null : NOT_NEGATIVE.check(value)),
    fallback: null,
  },
  maxElapsedMs: { ...NOT_NEGATIVE, fallback: 600_000 },
  minDelayMs: { ...NOT_NEGATIVE, fallback: ({ maxDelayMs = 2_000 }) => Math.min(50, maxDelayMs) },
  maxDelayMs: { ...NOT_NEGATIVE, fallback: ({ minDelayMs }) => Math.max(2_000, minDelayMs) },
}

const CLUSTER = { nodes: { ...SERVERS, fallback: null } }
const SENTINEL = {
  name: NOT_EMPTY,
  nodes: SERVERS,
  username: { ...NOT_EMPTY, fallback: null },
  password: { ...PASSWORD, fallback: null },
}

const WAIT_REPLICAS = { count: COUNT, timeoutMs: TIMEOUT }
const THROTTLE = { commandsPerSecond: { ...COUNT, fallback: null }, bytesPerSecond: { ...BYTES, fallback: null } }

const OPTIONS = {
  url: { expected: 'a string', check: (value) => (typeof value === 'string' ? parseUrl(value) : undefined) },
  host: { ...HOST, fallback: '127.0.0.1' },
  port: { ...PORT, fallback: 6379 },
  path: { ...string('a well-formed string, not empty, without NUL', /^[^\0]+$/), fallback: null },
  username: { ...NOT_EMPTY, fallback: null },
  password: { ...PASSWORD, fallback: null },
  // How many there are is the server's to say.
  db: { ...NOT_NEGATIVE, fallback: 0 },
  // The rule of the server for CLIENT SETNAME.
  clientName: { ...string('printable ASCII without blanks, not empty', /^[!-~]+$/), fallback: null },
  tls: { ...switchable({}, record(TLS, settleTls)), fallback: null },
  cluster: { ...switchable({}, record(CLUSTER)), fallback: null },
  sentinel: { ...record(SENTINEL), fallback: null },
  connections: { ...integer(1, 65_535), fallback: 1 },

  replies: { ...oneOf('check', 'collect', 'off'), fallback: 'check' },
  encoding: { ...oneOf('utf8', 'buffer'), fallback: 'utf8' },
  reconnectEvery: { ...NOT_NEGATIVE, fallback: 0 },
  transaction: { ...BOOLEAN, fallback: false },
  autoExec: { ...switchable({ bytes: 64 * KIB }, someOf(AUTO_EXEC)), fallback: null },

  maxBufferedBytes: { ...BYTES, fallback: 64 * MIB },
  whenFull: { ...oneOf('throw', 'block'), fallback: 'throw' },
  maxInFlightBytes: { ...BYTES, fallback: ({ maxBufferedBytes }) => Math.min(MIB, maxBufferedBytes) },
  resend: { ...oneOf('idempotent', 'all', 'none'), fallback: 'idempotent' },
  checkpoint: { ...NOT_EMPTY, fallback: null },
  retry: { ...record(RETRY, settleRetry), fallback: () => complete({}, RETRY) },
  connectTimeoutMs: { ...TIMEOUT, fallback: 10_000 },
  stallTimeoutMs: { ...TIMEOUT, fallback: 30_000 },
  waitReplicas: { ...record(WAIT_REPLICAS), fallback: null },
  onNull: { ...oneOf('throw', 'skip', 'empty'), fallback: 'throw' },
  // Each keeps its command and key in memory.
  maxFailures: { ...integer(0, 1_000_000), fallback: 100 },
  throttle: { ...someOf(THROTTLE), fallback: null },
  signal: { ...SIGNAL, fallback: null },
}

const CALLBACK = {
  expected: 'a function',
  check: (value) => (typeof value === 'function' ? value : undefined),
  fallback: null,
}

/** Of a load, as of `writable()` and `importFile()`. */
const LOAD = {
  onProgress: CALLBACK,
  progressIntervalMs: { ...TIMEOUT, fallback: 250 },
  onFailure: CALLBACK,
  maxFailed: {
    expected: `${COUNT.expected}, or Infinity`,
    check: (value) => (value === Infinity ? value : COUNT.check(value)),
    // Where nothing but failures come, see HOPELESS in load.js.
    fallback: null,
  },
  resume: { ...BOOLEAN, fallback: false },
  signal: { ...SIGNAL, fallback: null },
}

const FORMATS = ['csv', 'tsv', 'ndjson', 'resp', 'commands']

const IMPORT = {
  ...LOAD,
  format: { ...oneOf(...FORMATS), fallback: null },
  header: {
    expected: 'true, false or an array of names',
    check: (value) => (typeof value === 'boolean' || isListOfNames(value) ? value : undefined),
    fallback: true,
  },
  delimiter: {
    ...string('one character of ASCII, no quote and no end of a line', /^[^"\r\n\x80-\u{10ffff}]$/u),
    fallback: null,
  },
}

const CHECK = { format: IMPORT.format, header: IMPORT.header, delimiter: IMPORT.delimiter, signal: LOAD.signal }

function isListOfNames(value) {
  return (
    Array.isArray(value) && value.length > 0 && value.every((name) => typeof name === 'string' && name.isWellFormed())
  )
}

const WRITABLE = { ...LOAD, highWaterMark: { ...COUNT, fallback: null } }

/** What the contract has and this version has not: the whole option, or one value of it. To add it, delete its line. */
const LATER = [{ option: 'cluster' }, { option: 'sentinel' }, { option: 'connections' }]

/** Two options that exclude each other; with a third entry, only that value of the second. */
const CONFLICTS = [
  ['autoExec', 'transaction'],
  ['autoExec', 'checkpoint'],
  ['checkpoint', 'cluster'],
  ['checkpoint', 'connections'],
  ['checkpoint', 'replies', 'off'],
]

function settleTls(given) {
  if ((given.cert === undefined) !== (given.key === undefined)) {
    throw invalid(`tls.cert and tls.key go together, tls.${given.cert === undefined ? 'cert' : 'key'} is missing`)
  }
  return complete(given, TLS)
}

function settleRetry(given) {
  const settled = complete(given, RETRY)
  if (settled.minDelayMs > settled.maxDelayMs) {
    throw mismatch('retry.minDelayMs', `at most retry.maxDelayMs (${settled.maxDelayMs})`, settled.minDelayMs)
  }
  return settled
}

// Messages

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_OPTION', message)
}

function mismatch(name, expected, value, secret = false) {
  return invalid(`${name} must be ${expected}, got ${secret ? kind(value) : shown(value)}`)
}

function unknown(key, table, prefix) {
  const names = Object.keys(table)
  const name = `${prefix}${/^[\w$-]{1,64}$/.test(key) ? key : shown(key)}`
  const near = nearest(key, names)
  if (near !== undefined) return invalid(`unknown option ${name}, did you mean ${prefix}${near}?`)
  return invalid(`unknown option ${name}, known are ${names.map((known) => prefix + known).join(', ')}`)
}

/** Calls nothing of the user's: no toString, no toJSON, no inspect.custom. */
function shown(value) {
  if (typeof value === 'string') {
    const safe = /@|:\/\//.test(value) ? redact(value) : value
    return `${inspect(safe.length > 64 ? `${safe.slice(0, 64)}…` : safe)} (a string)`
  }
  return ['number', 'bigint', 'boolean'].includes(typeof value) ? inspect(value) : kind(value)
}

function kind(value) {
  if (value === null) return 'null'
  if (value === '') return 'an empty string'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/**
 * All up to the last @ may be a login, and all after ? or # a part of one. Where there is no @, someone may have
 * forgotten the host: then what stands at the place of the port is shown only if it can be nothing else.
 */
function redact(url) {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(url)?.[0] ?? ''
  const at = url.lastIndexOf('@')
  const login = at < 0 ? '' : '***@'
  const [rest] = url.slice(Math.max(at + 1, scheme.length)).split(/[?#]/)
  const [, host, port = '', tail] = /^(\[[^\]]*\]|[^:/]*)(:[^/]*)?(.*)$/s.exec(rest)
  const plain = port === '' || (host !== '' && /^:\d{1,5}$/.test(port))
  return scheme + login + host + (plain ? port + tail : ':***')
}

/** What is not the default of an option, without the user's value. */
function setting(option, value) {
  if (value !== undefined) return `${option}: ${inspect(value)}`
  const { fallback } = OPTIONS[option]
  return fallback ? `${option} other than ${inspect(fallback)}` : option
}

function listed(words) {
  return words.join(', ').replace(/, ([^,]*)$/, ' or $1')
}

function isRecord(value) {
  return typeof value === 'object' && tagOf(value) === '[object Object]'
}

module.exports = { CHECK, IMPORT, WRITABLE, readLoadOptions, readOptions }
