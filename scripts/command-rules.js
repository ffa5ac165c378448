'use strict'

// What a server cannot tell about its commands: which of them a bulk pipeline refuses, and what to use instead.
// Read by generate-commands.js.

const subscriber = 'use a subscriber client of its own (createClient in redis, new Redis() in ioredis)'
const blocking = (command) => `use ${command}, or a client of its own for blocking commands`
const transaction = 'use the option transaction: true'
const session = 'the pipeline keeps its connections itself; use close() to leave'
const replication = 'only replicas use it, on connections of their own'
const watching = 'the connection is shared; use a Lua script (EVAL), or a client of its own'
const cluster = 'the state of the connection belongs to the pipeline; use a client of its own'

/** Each text finishes the sentence "SUBSCRIBE cannot go through a bulk pipeline: …". */
exports.forbidden = {
  SUBSCRIBE: subscriber,
  PSUBSCRIBE: subscriber,
  SSUBSCRIBE: subscriber,
  UNSUBSCRIBE: subscriber,
  PUNSUBSCRIBE: subscriber,
  SUNSUBSCRIBE: subscriber,
  MONITOR: 'use redis-cli monitor, or a client of its own',
  'CLIENT REPLY': 'every reply is read and counted; use a client of its own',
  'CLIENT TRACKING': 'use a client of its own for client-side caching',
  'SCRIPT DEBUG': 'use redis-cli --ldb',
  RESET: session,
  QUIT: session,
  HELLO: 'use the options username, password and clientName; the protocol is always RESP2',
  SHUTDOWN: 'use redis-cli shutdown',
  AUTH: 'use the options username and password',
  SELECT: 'use the option db',
  SYNC: replication,
  PSYNC: replication,
  REPLCONF: replication,
  DEBUG: 'use redis-cli, or a client of its own',
  MULTI: transaction,
  EXEC: transaction,
  DISCARD: transaction,
  WATCH: watching,
  UNWATCH: watching,
  ASKING: cluster,
  READONLY: cluster,
  READWRITE: cluster,
  WAIT: 'it blocks; use a client of its own',
  WAITAOF: 'it blocks; use a client of its own',
  BLPOP: blocking('LPOP'),
  BRPOP: blocking('RPOP'),
  BRPOPLPUSH: blocking('RPOPLPUSH'),
  BLMOVE: blocking('LMOVE'),
  BLMPOP: blocking('LMPOP'),
  BZPOPMIN: blocking('ZPOPMIN'),
  BZPOPMAX: blocking('ZPOPMAX'),
  BZMPOP: blocking('ZMPOP'),
}

/** Refused with this word, looked for before another one, behind which come the keys. */
exports.forbiddenWith = {
  XREAD: {
    word: 'BLOCK',
    before: 'STREAMS',
    text: 'use it without BLOCK, or a client of its own for blocking commands',
  },
  XREADGROUP: {
    word: 'BLOCK',
    before: 'STREAMS',
    text: 'use it without BLOCK, or a client of its own for blocking commands',
  },
}

/**
 * Options with a value that servers newer than the one asked know (Redis 8.4, Valkey 8.1).
 * The value is any string, and must not be taken for an option itself.
 */
exports.newerOptions = {
  SET: ['IFEQ', 'IFNE', 'IFDEQ', 'IFDNE'],
}

/** Where COMMAND DOCS is wrong about an argument. */
const unsigned = { cursor: { type: 'string' } }
const together = { condition: { multiple: true } }
exports.corrections = {
  ZINCRBY: { increment: { type: 'double' } },
  // Up to 2^64: beyond what respipe checks as an integer.
  SCAN: unsigned,
  HSCAN: unsigned,
  SSCAN: unsigned,
  ZSCAN: unsigned,
  // XX goes with GT or LT.
  EXPIRE: together,
  EXPIREAT: together,
  PEXPIRE: together,
  PEXPIREAT: together,
}
