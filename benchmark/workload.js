'use strict'

// What the clients do, by name: each workload says it once for every way of calling a client. Making the strings is part of it.

const { getRequest, hset5Request, hsetRequest, setRequest, zaddRequest } = require('./request.js')

const KEYS = 1000
const FIELD = 'field'

function keyOf(number) {
  return `hash:${number % KEYS}`
}

function valueOf(number) {
  return `value:${number}`
}

const newKeyOf = (number) => `hash:${number}`
const cityOf = (number) => `city ${number % 977}`
const mailOf = (number) => `user${number}@example.com`
const jsonKeyOf = (number) => `json:${number % KEYS}`
const zsetOf = (number) => `zset:${number % KEYS}`
const memberOf = (number) => `member:${number}`
const storedKeyOf = (number) => `stored:${number % KEYS}`

const STORED = 'v'.repeat(100)

/** A prime, so that a key gets another text each time. */
const TEXTS = 997

/** By number, about 1 kB of JSON. The texts lie ready, as if they came from a file: making them would take longer than all the rest. */
function jsonOf(item) {
  let texts
  return (number) => {
    texts ??= Array.from({ length: TEXTS }, (_, id) => JSON.stringify({ id, items: Array(20).fill(item) }))
    return texts[number % TEXTS]
  }
}

const asciiOf = jsonOf('a text of plain letters, forty-six of them once')
/** Two bytes a character in JavaScript, one to four of them in UTF-8. */
const mixedOf = jsonOf('Zürich, 北京, Łódź, 5 € and a 🚀, text text')

/** A workload with one HSET of one field, to the keys of `key`. */
function hsetTo(key) {
  return {
    command: 'hset',
    replyBytes: 4,
    lower: (target, number) => target.hset(key(number), FIELD, valueOf(number)),
    camel: (target, number) => target.hSet(key(number), FIELD, valueOf(number)),
    glide: (target, number) => target.hset(key(number), { [FIELD]: valueOf(number) }),
    request: (number) => hsetRequest(key(number), FIELD, valueOf(number)),
    sample: (number) => ({ ask: ['HGET', key(number), FIELD], answer: valueOf(number) }),
  }
}

const hset = hsetTo(keyOf)

const hset5 = {
  command: 'hset',
  replyBytes: 4,
  lower: (target, number) =>
    target.hset(
      keyOf(number),
      'name',
      valueOf(number),
      'city',
      cityOf(number),
      'mail',
      mailOf(number),
      'visits',
      String(number),
      'active',
      '1',
    ),
  camel: (target, number) => target.hSet(keyOf(number), row(number)),
  glide: (target, number) => target.hset(keyOf(number), row(number)),
  request: (number) => hset5Request(keyOf(number), valueOf(number), cityOf(number), mailOf(number), String(number)),
  sample: (number) => ({
    ask: ['HMGET', keyOf(number), ...Object.keys(row(number))],
    answer: Object.values(row(number)).join(),
  }),
}

function row(number) {
  return { name: valueOf(number), city: cityOf(number), mail: mailOf(number), visits: String(number), active: '1' }
}

/** SET of what `value` makes, to 1,000 keys. */
function setOf(value) {
  return {
    command: 'set',
    replyBytes: 5,
    ready: () => value(0),
    lower: (target, number) => target.set(jsonKeyOf(number), value(number)),
    camel: (target, number) => target.set(jsonKeyOf(number), value(number)),
    glide: (target, number) => target.set(jsonKeyOf(number), value(number)),
    request: (number) => setRequest(jsonKeyOf(number), value(number)),
    sample: (number) => ({ ask: ['GET', jsonKeyOf(number)], answer: value(number) }),
  }
}

const zadd = {
  command: 'zadd',
  replyBytes: 4,
  lower: (target, number) => target.zadd(zsetOf(number), number, memberOf(number)),
  camel: (target, number) => target.zAdd(zsetOf(number), { score: number, value: memberOf(number) }),
  glide: (target, number) => target.zadd(zsetOf(number), [{ element: memberOf(number), score: number }]),
  request: (number) => zaddRequest(zsetOf(number), String(number), memberOf(number)),
  sample: (number) => ({ ask: ['ZSCORE', zsetOf(number), memberOf(number)], answer: String(number) }),
}

const get = {
  command: 'get',
  replyBytes: `$${STORED.length}\r\n${STORED}\r\n`.length,
  prepare: (redis) => redis.mset(Array.from({ length: KEYS }, (_, number) => [storedKeyOf(number), STORED]).flat()),
  lower: (target, number) => target.get(storedKeyOf(number)),
  camel: (target, number) => target.get(storedKeyOf(number)),
  glide: (target, number) => target.get(storedKeyOf(number)),
  request: (number) => getRequest(storedKeyOf(number)),
  /** Each reply is looked at. */
  valid: (reply) => reply.length === STORED.length,
  sample: (number) => ({ ask: ['GET', storedKeyOf(number)], answer: STORED }),
}

const limits = ['limit', 'limit-off']
const rivals = ['bun', 'node-redis', 'ioredis', 'iovalkey', 'valkey-glide']
const writers = ['respipe', 'respipe-off', ...limits, 'node-net', 'node-net-buffer', 'redis-cli', ...rivals]
/** Their batches are awaited one by one. */
const awaited = ['bun', 'node-redis', 'ioredis', 'valkey-glide'].map((client) => `${client}-awaited`)
const readers = ['respipe-collect', 'limit', ...rivals]
const overTls = ['respipe', 'limit', 'node-net', ...rivals]

const MEBIBYTE = 1024 * 1024

/** Rows from a source that can wait: memory as small as it gets. */
const rows = { ...hset, section: 'rows', batch: 1_000, respipe: { maxBufferedBytes: 4 * MEBIBYTE } }

/**
 * `commands` is what the full form does, `keys` how many they go to. Workloads of one `section` are measured in turns with each other.
 * With `batch` it is prescribed, otherwise each client has the size that suits it best. `underWay`: so many batches at once, by clients that wait for each; with 1 respipe does too.
 */
const workloads = {
  hset: { ...hset, title: 'HSET of 1 field to 1,000 keys', commands: 1e6, clients: [...writers, ...awaited] },
  'hset-new': {
    ...hsetTo(newKeyOf),
    title: 'HSET of 1 field to new keys',
    commands: 1e6,
    keys: Infinity,
    clients: writers,
  },
  'hset-5': { ...hset5, title: 'HSET of 5 fields', commands: 5e5, clients: writers },
  'set-json': { ...setOf(asciiOf), title: 'SET of 1 kB of JSON, ASCII', commands: 2e5, clients: writers },
  'set-text': { ...setOf(mixedOf), title: 'SET of 1 kB of JSON, mixed text', commands: 2e5, clients: writers },
  zadd: { ...zadd, title: 'ZADD', commands: 5e5, clients: writers },
  batches: {
    ...hset,
    title: 'HSET, batches of 100, each awaited',
    commands: 5e5,
    batch: 100,
    underWay: 1,
    clients: ['respipe', 'limit', ...rivals],
  },
  'batches-flow': {
    ...hset,
    title: 'HSET, batches of 100, not awaited',
    commands: 5e5,
    batch: 100,
    underWay: 20,
    clients: ['respipe', 'limit', ...rivals],
  },
  get: { ...get, title: 'GET of 100 bytes, replies as values', commands: 1e6, clients: readers },
  tls: { ...hset, section: 'tls', tls: true, title: 'HSET over TLS', commands: 5e5, clients: overTls },
  plain: { ...hset, section: 'tls', title: 'HSET without TLS, beside it', commands: 5e5, clients: ['respipe'] },
  'rows-10k': { ...rows, title: '10,000 rows', commands: 1e4, clients: ['respipe', 'strings', 'limit', 'ioredis'] },
  'rows-100k': { ...rows, title: '100,000 rows', commands: 1e5, clients: ['respipe', 'strings', 'limit', 'ioredis'] },
  'rows-1m': { ...rows, title: '1,000,000 rows', commands: 1e6, clients: ['respipe', 'strings', 'limit', 'ioredis'] },
  // Ready commands would take 700 MB, ioredis more than a minute.
  'rows-10m': { ...rows, title: '10,000,000 rows', commands: 1e7, clients: ['respipe', 'strings'] },
  delay: {
    ...hset,
    title: 'HSET, at most 1 MiB buffered',
    commands: 1e6,
    batch: 1_000,
    respipe: { maxBufferedBytes: MEBIBYTE },
    clients: ['respipe', 'ioredis'],
  },
}

module.exports = { FIELD, KEYS, keyOf, valueOf, workloads }
