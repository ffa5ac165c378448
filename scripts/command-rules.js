'use strict'

// What a server cannot tell about its commands: which of them a bulk pipeline refuses, and what to use instead; and
// what becomes of the data when a command is sent a second time. Read by generate-commands.js.

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

/**
 * What a command that writes does to its keys, as far as repeating it goes; what the words mean is said at `Effect` in
 * src/command/effect.rs. Every command that the server calls a write is in exactly one of these lists. In doubt: Once.
 */
exports.effects = {
  // GETSET is SET … GET.
  Replaces: ['DEL', 'GETSET', 'MSET', 'PSETEX', 'SET', 'SETEX', 'UNLINK'],
  Adds: [...['GEOADD', 'HMSET', 'HSET', 'HSETEX', 'HSETNX', 'PFADD', 'SADD', 'SETBIT', 'SETNX', 'SETRANGE', 'ZADD']],
  Expires: ['EXPIRE', 'EXPIREAT', 'PERSIST', 'PEXPIRE', 'PEXPIREAT'],
  Changes: [
    ...['HDEL', 'HEXPIRE', 'HEXPIREAT', 'HPERSIST', 'HPEXPIRE', 'HPEXPIREAT', 'LSET', 'SREM', 'ZREM'],
    // No command that may be repeated adds entries to a stream, or puts them into a group's list of pending ones.
    ...['XACK', 'XDEL'],
  ],
  // Without the words of `effectsWith` they only read.
  Nothing: ['BITFIELD', 'GEORADIUS', 'GEORADIUSBYMEMBER', 'GETEX', 'HGETEX', 'SORT'],
  Once: [
    // What they write depends on the value that is there.
    ...['APPEND', 'DECR', 'DECRBY', 'HINCRBY', 'HINCRBYFLOAT', 'INCR', 'INCRBY', 'INCRBYFLOAT', 'ZINCRBY'],
    // Positions and ends of a list, ranks, the lowest and the highest: others after the first time.
    ...['LINSERT', 'LMPOP', 'LPOP', 'LPUSH', 'LPUSHX', 'LTRIM', 'RPOP', 'RPUSH', 'RPUSHX', 'SPOP'],
    ...['ZMPOP', 'ZPOPMAX', 'ZPOPMIN', 'ZREMRANGEBYRANK'],
    // They remove by value or score, which a command behind them may have given to what was not meant:
    // LREM l 0 a, LSET l 0 a.
    ...['LREM', 'ZREMRANGEBYLEX', 'ZREMRANGEBYSCORE'],
    // They read a key and write another: a command behind them may have written the first since.
    ...['BITOP', 'COPY', 'GEOSEARCHSTORE', 'LMOVE', 'MIGRATE', 'MOVE', 'MSETNX', 'PFMERGE', 'RENAME', 'RENAMENX'],
    ...['RPOPLPUSH', 'SDIFFSTORE', 'SINTERSTORE', 'SMOVE', 'SUNIONSTORE', 'ZDIFFSTORE', 'ZINTERSTORE'],
    ...['ZRANGESTORE', 'ZUNIONSTORE'],
    // What they took away is in the reply alone, which the second time is empty.
    ...['GETDEL', 'HGETDEL'],
    // Refused the second time, though done: ids no longer above the last, a group or a key that is there already.
    ...['FUNCTION DELETE', 'FUNCTION LOAD', 'RESTORE', 'RESTORE-ASKING', 'XADD', 'XGROUP CREATE', 'XSETID'],
    // Streams otherwise: which entries go, and who has them, depends on all the others.
    ...['XACKDEL', 'XAUTOCLAIM', 'XCLAIM', 'XDELEX', 'XGROUP CREATECONSUMER', 'XGROUP DELCONSUMER', 'XGROUP DESTROY'],
    ...['XGROUP SETID', 'XREADGROUP', 'XTRIM'],
    // They reach beyond their keys.
    ...['FLUSHALL', 'FLUSHDB', 'FUNCTION FLUSH', 'FUNCTION RESTORE', 'PFDEBUG', 'SWAPDB'],
    // A bulk pipeline refuses them.
    ...['BLMOVE', 'BLMPOP', 'BLPOP', 'BRPOP', 'BRPOPLPUSH', 'BZMPOP', 'BZPOPMAX', 'BZPOPMIN'],
  ],
}

/**
 * Words that make more of a command than the list above says, looked for from argument `from` (behind the name) to the
 * end. Where a value is spelled like one, the command is judged more strictly than need be.
 */
const creates = { NX: 'Adds', KEEPTTL: 'Adds' }
const compares = { IFEQ: 'Once', IFNE: 'Once', IFDEQ: 'Once', IFDNE: 'Once' }
const sets = { EX: 'Expires', PX: 'Expires', EXAT: 'Expires', PXAT: 'Expires', PERSIST: 'Expires' }
const setsFields = { EX: 'Changes', PX: 'Changes', EXAT: 'Changes', PXAT: 'Changes', PERSIST: 'Changes' }
// NX and LT give a time to live to what has none; XX and GT change one, given by a command behind them perhaps.
const expires = { from: 2, words: { NX: 'Changes', LT: 'Changes', XX: 'Alone', GT: 'Alone' } }
const stores = { from: 1, words: { STORE: 'Once', STOREDIST: 'Once' } }
exports.effectsWith = {
  SET: { from: 2, words: { ...creates, XX: 'Changes', ...compares } },
  // Sets nothing, and creates no key.
  SETRANGE: { from: 2, words: { '': 'Changes' } },
  ZADD: { from: 1, words: { XX: 'Changes', INCR: 'Once' } },
  GEOADD: { from: 1, words: { XX: 'Changes' } },
  BITFIELD: { from: 1, words: { SET: 'Adds', INCRBY: 'Once' } },
  GETEX: { from: 1, words: sets },
  HGETEX: { from: 1, words: setsFields },
  // A time that is over removes the fields. FNX and FXX look at all fields before they set one.
  HSETEX: { from: 1, words: { EXAT: 'Alone', PXAT: 'Alone', FNX: 'Once', FXX: 'Once' } },
  EXPIRE: expires,
  EXPIREAT: expires,
  PEXPIRE: expires,
  PEXPIREAT: expires,
  HEXPIRE: expires,
  HEXPIREAT: expires,
  HPEXPIRE: expires,
  HPEXPIREAT: expires,
  SORT: stores,
  GEORADIUS: stores,
  GEORADIUSBYMEMBER: stores,
}

/** Commands that the server calls neither a write nor read-only, and that change nothing; so do all those named HELP. */
exports.harmless = [
  ...['ECHO', 'INFO', 'LASTSAVE', 'PING', 'ROLE', 'TIME'],
  ...['ACL CAT', 'ACL DRYRUN', 'ACL GENPASS', 'ACL GETUSER', 'ACL LIST', 'ACL USERS', 'ACL WHOAMI'],
  ...['CLIENT GETNAME', 'CLIENT ID', 'CLIENT INFO', 'CLIENT LIST', 'CONFIG GET'],
  ...['CLUSTER COUNTKEYSINSLOT', 'CLUSTER GETKEYSINSLOT', 'CLUSTER INFO', 'CLUSTER KEYSLOT', 'CLUSTER MYID'],
  ...['CLUSTER NODES', 'CLUSTER SHARDS', 'CLUSTER SLOTS'],
  ...['COMMAND', 'COMMAND COUNT', 'COMMAND DOCS', 'COMMAND GETKEYS', 'COMMAND GETKEYSANDFLAGS', 'COMMAND INFO'],
  ...['COMMAND LIST', 'FUNCTION DUMP', 'FUNCTION LIST', 'FUNCTION STATS', 'MEMORY STATS', 'MODULE LIST'],
  ...['PUBSUB CHANNELS', 'PUBSUB NUMPAT', 'PUBSUB NUMSUB', 'PUBSUB SHARDCHANNELS', 'PUBSUB SHARDNUMSUB'],
  ...['SCRIPT EXISTS', 'SLOWLOG GET', 'SLOWLOG LEN'],
]

/** Commands that touch keys which no argument names. */
exports.everyKey = ['CLUSTER REPLICATE', 'CLUSTER RESET', 'FLUSHALL', 'FLUSHDB', 'REPLICAOF', 'SLAVEOF', 'SWAPDB']
