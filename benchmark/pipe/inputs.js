'use strict'

// What `redis-cli --pipe` takes, one of each kind: what comes of it must be the same.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { setRequest } = require('../request.js')

const MEGABYTE = 1e6

function resp(...words) {
  const parts = words.flatMap((word) => [Buffer.from(`$${Buffer.byteLength(word)}\r\n`), Buffer.from(word), '\r\n'])
  return bytes(`*${words.length}\r\n`, ...parts)
}

function bytes(...parts) {
  return Buffer.concat(parts.map((part) => Buffer.from(part)))
}

function many(count, make) {
  return Buffer.concat(Array.from({ length: count }, (_, number) => Buffer.from(make(number))))
}

const INPUTS = {
  nothing: () => bytes(''),
  'blank lines': () => bytes('\n\r\n  \n'),
  RESP: () => many(10_000, (number) => setRequest(`key:${number}`, `value:${number}`)),
  'inline, CRLF': () => many(10_000, (number) => `SET key:${number} "value ${number}"\r\n`),
  'inline, LF, in quotes': () => many(10_000, (number) => `set 'key ${number}' "\\x00\\n\\"${number}"\n`),
  mixed: () => many(5_000, (number) => bytes(setRequest(`key:${number}`, 'a'), `APPEND key:${number} "b c"\n`)),
  'last line without its end': () => bytes('SET a 1\nSET b 2'),
  'last command without its end': () => bytes('SET a 1\n', resp('SET', 'b', '2').subarray(0, -2)),
  'errors in between': () =>
    many(3_000, (number) => `SET key:${number} 1\nLPUSH key:${number} x\nNOSUCH\nSET key\nINCR key:${number}\n`),
  'values that look like the protocol': () =>
    many(1_000, (number) => setRequest(`key:${number}`, `\r\n*1\r\n$4\r\nPING\r\n${number}\r\n`)),
  'bytes of any kind': () => many(256, (byte) => resp('SET', Buffer.from([byte, 0, 255]), Buffer.from([13, 10, byte]))),
  'empty words': () => bytes(resp('SET', '', ''), 'SET a ""\n'),
  transactions: () =>
    many(1_000, (number) => bytes(resp('MULTI'), resp('INCR', 'a'), resp('SADD', 'b', String(number)), resp('EXEC'))),
  'transactions that fail or are dropped': () =>
    many(100, () => 'MULTI\nSET a\nSET b 1\nEXEC\nMULTI\nSET c 1\nDISCARD\nEXEC\nDISCARD\nSET d 1\n'),
  'SELECT 0': () => bytes(resp('SELECT', '0'), resp('SET', 'a', '1'), 'select 0\n', 'SET b 1\n'),
  'replies of many kinds': () =>
    many(200, () => 'PING\nSADD s a b\nSMEMBERS s\nGET s\nTIME\nCOMMAND DOCS get\nEVAL "return {1, {2}, false}" 0\n'),
  scripts: () => bytes('SCRIPT LOAD "return 1"\n', 'EVAL "return redis.error_reply(\'MY error\')" 0\n', 'SET a 1\n'),
  'an append-only file, as it was written': appendOnlyFile,
  'a value of 100 MB': () =>
    bytes(setRequest('a', 'small'), resp('SET', 'b', Buffer.alloc(100 * MEGABYTE, '0123456789\r\n')), 'STRLEN b\n'),
  'many small ones': () => many(1_000_000, (number) => `INCR key:${number % 100}\r\n`),
}

/** What `server` has written of them; `server` is a fresh one. */
async function appendOnlyFile({ dir, port }) {
  const commands = many(5_000, (number) =>
    [
      `SET s:${number} "v\\r\\n${number}" EX 10000`,
      `HSET h:${number % 100} f${number} ${number}`,
      `ZADD z ${number} m${number}`,
      `MULTI\nINCR c\nXADD x * a ${number}\nEXEC`,
      `EVAL "redis.call('set', KEYS[1], '1') return redis.call('incr', KEYS[1])" 1 e:${number}`,
      'ZPOPMIN z\n',
    ].join('\n'),
  )
  const cli = ['-p', String(port)]
  spawnSync('redis-cli', [...cli, 'CONFIG', 'SET', 'appendonly', 'yes'])
  // What there was before is in the RDB file beside it.
  while (!/aof_rewrite_in_progress:0/.test(spawnSync('redis-cli', [...cli, 'INFO', 'persistence']).stdout.toString()));
  spawnSync('redis-cli', [...cli, '--pipe'], { input: commands })
  spawnSync('redis-cli', [...cli, 'CONFIG', 'SET', 'appendonly', 'no'])
  const folder = path.join(dir, 'appendonlydir')
  const file = fs.readdirSync(folder).find((name) => name.endsWith('.incr.aof'))
  return fs.readFileSync(path.join(folder, file))
}

module.exports = { INPUTS }
