// The address, login and TLS of a client that a job already has: a client of ioredis, iovalkey or node-redis comes in, options
// of a pipeline go out, unchecked. Clients are only read. What would be lost is refused, above all where it keeps others out.
'use strict'

const { types } = require('node:util')
const { RespipeError } = require('./errors.js')

/**
 * What `bulkPipeline.fromIoredis` takes over. A url, a port or a TLS profile, the client has turned into options itself.
 *
 * @throws {RespipeError} RESPIPE_INVALID_ARGUMENT, RESPIPE_UNSUPPORTED
 */
function fromIoredis(client) {
  if (isRecord(client) && (client.isCluster === true || typeof client.nodes === 'function')) {
    throw notYet('client is a Cluster', 'cluster')
  }
  if (!isIoredis(client)) {
    const hint = isNodeRedis(client) ? ': bulkPipeline.fromNodeRedis takes those of node-redis' : ''
    throw invalid(`client must be a Redis of ioredis or iovalkey${hint}`)
  }
  const { options } = client
  if (isGiven(options.sentinels)) throw notYet('client looks its master up with Sentinel', 'sentinel')
  if (isGiven(options.Connector)) throw unsupported('client.options.Connector decides itself where it connects to')
  refusePrefix(options.keyPrefix)

  const tls = readIoredisTls(options.tls)
  // Written over one another as the client does.
  const { host, port, path } = { ...given(options, ADDRESS), ...given(tls, ADDRESS) }
  return {
    __proto__: null,
    ...address(host, port, path),
    ...login(options.username, options.password),
    db: integer(options.db),
    clientName: orUndefined(options.connectionName),
    tls: tls === undefined ? undefined : readTls(tls, 'client.options.tls'),
  }
}

/**
 * What `bulkPipeline.fromNodeRedis` takes over. The parts of a url are among the client's options.
 *
 * @throws {RespipeError} RESPIPE_INVALID_ARGUMENT, RESPIPE_UNSUPPORTED
 */
function fromNodeRedis(client) {
  if (isRecord(client) && typeof client.nodeClient === 'function') throw notYet('client is a cluster', 'cluster')
  if (isRecord(client) && typeof client.getSentinelNode === 'function') {
    throw notYet('client looks its master up with Sentinel', 'sentinel')
  }
  if (!isNodeRedis(client)) {
    const hint = isIoredis(client) ? ': bulkPipeline.fromIoredis takes those of ioredis' : ''
    throw invalid(`client must be one of createClient() of node-redis${hint}`)
  }
  // Version 4 has none where none were given.
  const options = client.options ?? {}
  const socket = options.socket ?? {}
  refuseProvider(options)
  refusePrefix(options.keyPrefix)
  for (const name of ROUTE) {
    if (isGiven(socket[name])) throw unsupported(`client.options.socket.${name} has no counterpart`)
  }

  // As the client does: whatever else stands there, without `tls: true` the connection is a plain one.
  const { tls: isSecure, ...settings } = socket
  return {
    __proto__: null,
    ...address(socket.host, socket.port, socket.path),
    ...login(options.username, options.password),
    db: integer(options.database),
    clientName: orUndefined(options.name),
    tls: isSecure === true ? readTls(settings, 'client.options.socket') : undefined,
  }
}

function isIoredis(client) {
  return isRecord(client) && typeof client.status === 'string' && isRecord(client.options)
}

/** A pool has no options. */
function isNodeRedis(client) {
  return isRecord(client) && typeof client.isOpen === 'boolean' && 'options' in client
}

/** `tls: true` is what a url of rediss:// becomes. */
function readIoredisTls(tls) {
  if (tls === true) return {}
  if (!tls) return undefined
  if (isRecord(tls)) return tls
  throw unsupported('client.options.tls is a profile that is not known')
}

function address(host, port, path) {
  // The clients' own default. All addresses that the name stands for are tried, of either family.
  return isGiven(path) ? { path } : { host: isGiven(host) ? host : 'localhost', port: integer(port) }
}

function login(username, password) {
  if (typeof password === 'function')
    throw unsupported('client.options.password is a function: give the option password')
  // A user may have an empty password; without a user it is none.
  return isGiven(username) ? { username, password: password ?? '' } : { password: orUndefined(password) }
}

/** From version 5 on node-redis makes a provider itself, of username and password: a plain object of two fields. */
function refuseProvider({ credentialsProvider: provider, username, password }) {
  if (!isGiven(provider)) return
  const isOwn = Object.keys(provider).toSorted().join() === 'credentials,type' && provider.type === ASYNC_PROVIDER
  if (isOwn && (isGiven(username) || isGiven(password))) return
  throw unsupported('client.options.credentialsProvider cannot be asked: give the options username and password')
}

/** Keys would be written under other names than the client's. */
function refusePrefix(prefix) {
  if (prefix?.length > 0) {
    throw unsupported("client.options.keyPrefix would not stand before keys: pass client.duplicate({ keyPrefix: '' })")
  }
}

/** The settings of `tls.connect` that there are here. */
function readTls(settings, name) {
  for (const [field, value] of Object.entries(settings)) {
    if (isGiven(value) && !TAKEN.has(field) && !HARMLESS.has(field) && !MET[field]?.includes(value)) {
      throw unsupported(`${name}.${field} has no counterpart: of TLS there are ${[...TAKEN].join(', ')}`)
    }
  }
  const { ca, cert, key, servername, rejectUnauthorized } = settings
  return {
    ca: isGiven(ca) ? together(ca) : undefined,
    cert: isGiven(cert) ? onlyOne(cert) : undefined,
    key: isGiven(key) ? onlyOne(key) : undefined,
    servername: orUndefined(servername),
    // Node.js verifies unless this is `false` itself.
    rejectUnauthorized: rejectUnauthorized !== false,
  }
}

/** Several texts of PEM are one text. */
function together(pem) {
  if (!Array.isArray(pem) || !pem.every(isText)) return pem
  return Buffer.concat(pem.flatMap((text) => [Buffer.from(text), Buffer.from('\n')]))
}

function onlyOne(pem) {
  return Array.isArray(pem) && pem.length === 1 && isText(pem[0]) ? pem[0] : pem
}

function isText(pem) {
  return typeof pem === 'string' || types.isUint8Array(pem)
}

/** Clients take digits for a number, as they come out of an environment. */
function integer(value) {
  if (typeof value === 'string' && /^\d{1,10}$/.test(value)) return Number(value)
  return orUndefined(value)
}

function given(source, names) {
  const there = names.filter((name) => isGiven(source?.[name]))
  return Object.fromEntries(there.map((name) => [name, source[name]]))
}

function orUndefined(value) {
  return isGiven(value) ? value : undefined
}

/** Both clients have null, and parts of a url the empty string, for what is not there. */
function isGiven(value) {
  return value !== undefined && value !== null && value !== ''
}

function isRecord(value) {
  return typeof value === 'object' && value !== null
}

const ASYNC_PROVIDER = 'async-credentials-provider'
const ADDRESS = ['host', 'port', 'path']

const TAKEN = new Set(['ca', 'cert', 'key', 'servername', 'rejectUnauthorized'])

/** Met by what is always so here: TLS 1.2 or 1.3. */
const MET = { minVersion: ['TLSv1', 'TLSv1.1', 'TLSv1.2'], maxVersion: ['TLSv1.3'] }

/** How the socket itself is opened and kept: `tls.connect` and both clients take these in the same object. */
const HARMLESS = new Set([
  ...ADDRESS,
  'family',
  'hints',
  'timeout',
  'connectTimeout',
  'socketTimeout',
  'reconnectStrategy',
  'keepAlive',
  'keepAliveInitialDelay',
  'noDelay',
  'autoSelectFamily',
  'autoSelectFamilyAttemptTimeout',
  'highWaterMark',
])

/** Decides, also without TLS, whom the client talks to, or as whom. */
const ROUTE = ['lookup', 'localAddress', 'localPort']

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message)
}

function unsupported(message) {
  return new RespipeError('RESPIPE_UNSUPPORTED', message)
}

function notYet(what, option) {
  return unsupported(`${what}: this version of respipe does not have the option ${option} yet`)
}

module.exports = { fromIoredis, fromNodeRedis }
