// importFile(): what each kind of file becomes, what is told of it, and what ends it.

import {
  appendFileSync,
  closeSync,
  constants,
  createWriteStream,
  mkdirSync,
  openSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

import test, { type ExecutionContext } from './helpers/test.ts'

import {
  RespipeError,
  type BulkPipelineOptions,
  type CommandFailure,
  type ImportOptions,
  type LoadProgress,
} from '../index.js'
import { fifoFor, fileFor } from './helpers/files.ts'
import { startModule } from './helpers/imports.ts'
import { proxyFor } from './helpers/loads.ts'
import { reasonOf, rejection, resolution, until } from './helpers/outcomes.ts'
import { type Loose, pipelineFor } from './helpers/pipelines.ts'
import { csvOf } from './helpers/rows.ts'
import { runScript } from './helpers/rss.ts'
import { scriptedFor } from './helpers/scripted.ts'
import { sharedServer } from './helpers/shared.ts'

const { server, client } = await sharedServer()

const INVALID = 'RESPIPE_INVALID_ARGUMENT'
/** Where there is /proc. */
const onLinux = process.platform === 'linux' ? test : test.skip

/** Two rows in Zstandard, which Node.js 20 cannot pack: id,name / 1,Ada / 2,"Bob\nB". */
const ZSTANDARD = Buffer.from('KLUv/QRowQAAaWQsbmFtZQoxLEFkYQoyLCJCb2IKQiIKLuHJwA==', 'base64')
const PEOPLE = 'id,name\n1,Ada\n2,"Bob\nB"\n'

for (const [title, name, content, options] of [
  ['csv', 'a.csv', PEOPLE, {}],
  ['csv with \\r\\n', 'a.csv', PEOPLE.replace('id,name\n1,Ada\n', 'id,name\r\n1,Ada\r\n'), {}],
  ['csv without a last newline', 'a.CSV', PEOPLE.trimEnd(), {}],
  ['csv with a byte order mark', 'a.csv', `\ufeff${PEOPLE}`, {}],
  ['csv with empty lines', 'a.csv', `\n\r\n${PEOPLE}\n\n`, {}],
  ['csv with names in another order', 'a.csv', 'x,name,id\n,Ada,1\n,"Bob\nB",2\n', {}],
  ['csv with quoted names', 'a.csv', PEOPLE.replace('id', '"id"'), {}],
  ['csv without a header', 'a.csv', PEOPLE.replace('id,name\n', ''), { header: ['id', 'name'] }],
  ['csv with another delimiter', 'a.csv', PEOPLE.replaceAll(',', ';'), { delimiter: ';' }],
  ['csv by format', 'a.dat', PEOPLE, { format: 'csv' }],
  ['tsv', 'a.tsv', PEOPLE.replaceAll(',', '\t'), {}],
  ['tab', 'a.tab', PEOPLE.replaceAll(',', '\t'), {}],
  ['tsv with a delimiter', 'a.tsv', PEOPLE.replaceAll(',', '|'), { delimiter: '|' }],
  ['ndjson', 'a.ndjson', '{"id":1,"name":"Ada"}\n\n{"name":"Bob\\nB","id":2}', {}],
  ['jsonl', 'a.jsonl', '\ufeff{"id":"1","name":"\\u0041da"}\r\n {"x":[{}], "id" : 2 , "name":"Bob\\nB"}\r\n', {}],
  ['gzip', 'a.csv.gz', gzipSync(PEOPLE), {}],
  ['gzip in pieces', 'a.csv.gz', Buffer.concat([gzipSync(PEOPLE.slice(0, 9)), gzipSync(PEOPLE.slice(9))]), {}],
  ['gzip by its first bytes', 'a.csv', gzipSync(PEOPLE), {}],
  ['Zstandard', 'a.csv.zst', ZSTANDARD, {}],
  ['Zstandard by its first bytes', 'a.dat', ZSTANDARD, { format: 'csv' }],
  ['gzipped ndjson', 'a.JSONL.GZ', gzipSync('{"id":1,"name":"Ada"}\n{"id":2,"name":"Bob\\nB"}\n'), {}],
] as [string, string, string | Buffer, ImportOptions][]) {
  test.serial(`rows: ${title}`, async (t) => {
    await client.del('format:1', 'format:2')
    const bulk = pipelineFor(t, { port: server.port })
    const summary = await bulk.importFile(fileFor(t, name, content), 'SET format:{id} {name}', options)
    t.like(summary, { commands: 2, succeeded: 2, failed: 0, unknown: 0, errors: {} })
    t.true(summary.batches === 1 || summary.batches === 2)
    t.deepEqual(await client.mget('format:1', 'format:2'), ['Ada', 'Bob\nB'])
  })
}

for (const [title, name, content] of [
  ['RESP', 'a.resp', '*3\r\n$3\r\nSET\r\n$6\r\ncmds:1\r\n$2\r\na\n\r\n*2\r\n$4\r\nINCR\r\n$6\r\ncmds:2\r\n'],
  ['an append-only file', 'a.aof', '*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\nSET cmds:1 "a\\n"\r\nINCR cmds:2'],
  ['commands', 'a.redis', '\ufeff# two\n\nset cmds:1 "a\\n"\r\n  incr cmds:2'],
  ['text', 'a.txt.gz', gzipSync('SET \'cmds:1\' "a\\n"\nINCR cmds:2\n')],
] as [string, string, string | Buffer][]) {
  test.serial(`commands: ${title}`, async (t) => {
    await client.del('cmds:1', 'cmds:2')
    const bulk = pipelineFor(t, { port: server.port })
    t.like(await bulk.importFile(fileFor(t, name, content), null), { commands: 2, succeeded: 2 })
    t.deepEqual(await client.mget('cmds:1', 'cmds:2'), ['a\n', '1'])
  })
}

test('columns without names go by numbers, {*} takes all, conversions and several templates apply', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const csv = fileFor(t, 'a.csv', '7,2026-01-31T12:00:00Z,true,"x ""y"""\n')
  const templates = [
    'HSET conv:{0} at {1|ms} s {1|s} on {2|bool} j {3|json} {*}',
    'EXPIRE conv:{0} 60',
    'SADD conv:all {0}:{2} {*|json}',
  ]
  t.like(await bulk.importFile(csv, templates, { header: false }), { commands: 3, succeeded: 3 })
  t.deepEqual(await client.hgetall('conv:7'), {
    at: '1769860800000', s: '1769860800', on: '1', j: '"x \\"y\\""', 0: '7', 1: '2026-01-31T12:00:00Z', 2: 'true', 3: 'x "y"',
  }) // prettier-ignore
  t.true((await client.ttl('conv:7')) > 0)
  const row = JSON.stringify({ 0: '7', 1: '2026-01-31T12:00:00Z', 2: 'true', 3: 'x "y"' })
  t.deepEqual((await client.smembers('conv:all')).toSorted(), ['7:true', row])

  const ndjson = fileFor(
    t,
    'a.ndjson',
    '{"id":12345678901234567890,"a":{"b":[{"c":"é"},2.50]},"on":false,"list":[1, "\\u0041"]}\n',
  )
  t.like(await bulk.importFile(ndjson, 'HSET conv:{id} c {a.b.0.c} n {a.b.1} on {on|bool} list {list|json}'), {
    succeeded: 1,
  })
  t.deepEqual(await client.hgetall('conv:12345678901234567890'), { c: 'é', n: '2.5', on: '0', list: '[1,"A"]' })
})

for (const [onNull, expected] of [
  ['throw', [['a', '1'], {}]],
  ['skip', [['a', '1'], { a: '1' }]],
  ['empty', [['a', '1', 'b', ''], { a: '1', b: '' }]],
] as const) {
  test(`onNull: ${onNull}`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port, onNull })
    const path = fileFor(t, 'a.ndjson', '{"k":"x","a":1,"b":null}\n')
    const templates = [`HSET null:${onNull}:{k} a {a} b {b}`, `HSET null:${onNull}:all {*}`]
    const summary = await resolution(t, bulk.importFile(path, templates))
    const hash = await client.hgetall(`null:${onNull}:x`)
    if (onNull === 'throw') {
      t.deepEqual(
        [summary.failed, summary.failures[0]?.message, hash],
        [1, 'field b of the row is null (see the option onNull)', {}],
      )
    } else {
      t.deepEqual([summary.succeeded, Object.entries(hash).flat()], [2, [...expected[0]]])
      t.like(await client.hgetall(`null:${onNull}:all`), { ...expected[1], k: 'x' })
    }
  })
}

/** Of failures, which come in the order in which they are known. */
function placesOf(failures: CommandFailure[]) {
  return failures
    .map(({ index, row, line, command, code }) => [index, row, line, command, code])
    .toSorted((a, b) => Number(a[0]) - Number(b[0]))
}

test('failures tell row and line, of the file and of the server, behind quoted newlines too', async (t) => {
  await client.set('place:string', 'x')
  const bulk = pipelineFor(t, { port: server.port })
  const heard: CommandFailure[] = []
  bulk.on('failure', (failure: CommandFailure) => heard.push(failure))
  const told: CommandFailure[] = []
  const lines = [
    'key,text', // 1
    'place:1,"a\nb\nc"', // 2 to 4: row 0
    'place:string,"d', // 5 and 6: row 1, refused by the server
    'e"',
    'place:2', // 7: row 2, broken
    '', // 8
    'place:string,f', // 9: row 3, refused by the server
    'pl"ace,g', // 10: row 4, broken
    'place:3,"h', // 11: row 5, broken: it is never closed
    'place:4,i', // 12: row 6
  ]
  const path = fileFor(t, 'a.csv', lines.join('\n'))
  const summary = await resolution(
    t,
    bulk.importFile(path, ['LPUSH {key} {text}', 'INCR place:count'], { onFailure: (failure) => told.push(failure) }),
  )
  t.like(summary, { commands: 11, succeeded: 6, failed: 5, errors: { [INVALID]: 3, WRONGTYPE: 2 } })
  t.deepEqual(placesOf(summary.failures), [
    [2, 1, 5, 'LPUSH', 'WRONGTYPE'],
    [4, 2, 7, 'LPUSH', INVALID],
    [5, 3, 9, 'LPUSH', 'WRONGTYPE'],
    [7, 4, 10, 'LPUSH', INVALID],
    [8, 5, 11, 'LPUSH', INVALID],
  ]) // prettier-ignore
  t.deepEqual(placesOf(told), placesOf(summary.failures))
  t.deepEqual(placesOf(heard), placesOf(summary.failures))
  const messages = summary.failures
    .filter(({ code }) => code === INVALID)
    .map(({ message }) => message.replace(path, 'FILE'))
  t.deepEqual(messages, [
    'FILE:7: 1 field for 2 columns',
    'FILE:10: field 1 (key) has a quote, and does not begin with one',
    'FILE:11: field 2 (text) has a quote in line 11 that is never closed',
  ])
  t.is(await client.get('place:count'), '4')
})

test('lines are told of commands, rows alone of RESP', async (t) => {
  await client.set('place:text', 'x')
  const bulk = pipelineFor(t, { port: server.port })
  const commands = '# one\nSET place:5 1\n\nLPUSH place:text 1\nSET "place\nMONITOR\n'
  const places = async (name: string, content: string) => {
    const { failures } = await bulk.importFile(fileFor(t, name, content), null)
    return placesOf(failures).map(([, ...place]) => place)
  }
  t.deepEqual(await places('a.redis', commands), [
    [1, 4, 'LPUSH', 'WRONGTYPE'],
    [2, 5, 'SET', INVALID],
    [3, 6, 'MONITOR', 'RESPIPE_FORBIDDEN_COMMAND'],
  ]) // prettier-ignore
  t.deepEqual(await places('a.resp', 'SET place:6 1\r\nLPUSH place:text 1\r\nMONITOR\r\n'), [
    [1, undefined, 'LPUSH', 'WRONGTYPE'],
    [2, undefined, 'MONITOR', 'RESPIPE_FORBIDDEN_COMMAND'],
  ]) // prettier-ignore
})

test('MULTI … EXEC of a file is one transaction, or nothing', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const file = (name: string, content: string) => bulk.importFile(fileFor(t, name, content), null)
  const summary = await file(
    'a.redis',
    'SET tx:1 a\nMULTI\nSET tx:2 b\nSET tx:3 c\nEXEC\nMULTI\nSET tx:4 d\nDISCARD\nMULTI\nSET tx:5 e\nMONITOR\nEXEC\n',
  )
  t.like(summary, { commands: 5, succeeded: 3, failed: 2, errors: { EXECABORT: 1, RESPIPE_FORBIDDEN_COMMAND: 1 } })
  t.deepEqual(await client.mget('tx:1', 'tx:2', 'tx:3', 'tx:4', 'tx:5'), ['a', 'b', 'c', null, null])
  const open = await rejection(t, file('b.redis', 'SET tx:6 a\nMULTI\nSET tx:7 b\n'), 'RESPIPE_IO')
  t.regex(open.message, /row 1, line 2: MULTI without EXEC/)
  t.like(open.outcome, { commands: 1, succeeded: 1 })
  t.deepEqual(await client.mget('tx:6', 'tx:7'), ['a', null])
  const elsewhere = await rejection(t, file('c.redis', 'SET tx:8 a\nSELECT 1\nSET tx:9 b\n'), 'RESPIPE_IO')
  t.regex(elsewhere.message, /SELECT 1, but the pipeline writes to db 0/)
  t.deepEqual(await client.mget('tx:8', 'tx:9'), ['a', null])
})

test('progress goes up to the size of the file, and ends with all of it', async (t) => {
  for (const [name, content] of [['a.csv', csvOf(20_000)], ['a.csv.gz', gzipSync(csvOf(20_000))]] as const) {
    const proxy = await proxyFor(t, server)
    const bulk = pipelineFor(t, { port: proxy.port })
    const path = fileFor(t, name, content)
    const told: LoadProgress[] = []
    const held = proxy.at({ command: 'SET', nth: 1_000 }, () => until(() => told.length > 1))
    await bulk.importFile(path, 'SET progress:{id} {name}', { progressIntervalMs: 1, onProgress: (progress) => told.push(progress) })
    t.true(held.hasHappened)
    const bytesTotal = statSync(path).size
    t.like(told.at(-1), { rows: 20_000, commands: 20_000, succeeded: 20_000, bytesRead: bytesTotal, bytesTotal, bufferedBytes: 0, inFlightBytes: 0 })
    for (const [at, { rows, bytesRead = 0 }] of told.slice(1).entries()) {
      t.true(rows >= told[at]!.rows && bytesRead >= (told[at]!.bytesRead ?? 0) && bytesRead <= bytesTotal)
    }
  } // prettier-ignore
})

test('maxFailed ends an import that fails too often', async (t) => {
  await client.set('too:many', 'x')
  const bulk = pipelineFor(t, { port: server.port, maxBufferedBytes: 1 << 20 })
  const path = fileFor(t, 'a.csv', csvOf(200_000))
  const refused = await rejection(
    t,
    bulk.importFile(path, 'LPUSH too:many {id}', { maxFailed: 1_000 }),
    'RESPIPE_TOO_MANY_FAILURES',
  )
  t.true(refused.outcome.failed >= 1_000 && refused.outcome.failed < 200_000)
  const broken = fileFor(t, 'b.csv', `a,b\n${'1\n'.repeat(100_000)}`)
  const { outcome } = await rejection(
    t,
    bulk.importFile(broken, 'SET {a} {b}', { maxFailed: 7 }),
    'RESPIPE_TOO_MANY_FAILURES',
  )
  t.is(outcome.failed, 7)
  t.like(await bulk.importFile(broken, 'SET {a} {b}', { maxFailed: 100_001 }), { failed: 100_000 })
})

/** A pipeline that is held up at a command, when most of a file is still to come: what `act` does comes in mid-import. */
async function heldUp(t: ExecutionContext, act: (bulk: Loose) => unknown, options: BulkPipelineOptions = {}) {
  const proxy = await proxyFor(t, server)
  const bulk = pipelineFor(t, { port: proxy.port, maxBufferedBytes: 64_000, ...options })
  return { bulk, fault: proxy.at({ command: 'SET', nth: 1_000 }, () => act(bulk)) }
}

test('a signal ends an import, and what was sent is told', async (t) => {
  const abort = new AbortController()
  const { bulk, fault } = await heldUp(t, () => abort.abort())
  const path = fileFor(t, 'a.csv', csvOf(50_000))
  const load = (signal: AbortSignal) => bulk.importFile(path, 'SET signal:{id} {name}', { signal })
  const { outcome } = await rejection(t, load(abort.signal), 'RESPIPE_ABORTED')
  t.true(fault.hasHappened)
  t.true(outcome.succeeded < 50_000)
  t.is(outcome.succeeded, outcome.commands)
  await rejection(t, load(AbortSignal.abort()), 'RESPIPE_ABORTED')
  t.like(await bulk.set('signal:after', 1).exec(), { succeeded: 1 })
})

for (const how of ['close', 'destroy'] as const) {
  test(`${how}() in mid-import ends it`, async (t) => {
    const { bulk, fault } = await heldUp(t, (ended) => void ended[how]())
    const importing = bulk.importFile(fileFor(t, 'a.csv', csvOf(50_000)), `SET ${how}:{id} {name}`)
    const { outcome } = await rejection(t, importing, 'RESPIPE_CLOSED')
    t.true(fault.hasHappened)
    t.true(outcome.commands < 50_000)
    await bulk.close()
    await t.throwsAsync(bulk.importFile('/dev/null', null, { format: 'resp' }), { code: 'RESPIPE_CLOSED' })
  })
}

test('what a callback throws ends an import', async (t) => {
  const boom = new Error('boom')
  let hasThrown = false
  const fail = () => {
    hasThrown = true
    throw boom
  }
  const path = fileFor(t, 'a.csv', `id,name\nbroken\n${csvOf(50_000)}`)
  for (const options of [{ onFailure: fail }, { onProgress: fail, progressIntervalMs: 1 }]) {
    hasThrown = false
    const { bulk } = await heldUp(t, () => until(() => hasThrown))
    t.is(await t.throwsAsync(bulk.importFile(path, 'SET boom:{id} {name}', options)), boom)
    t.true(bulk.stats().commands < 50_000)
    t.like(await bulk.set('boom:after', 1).exec(), { succeeded: 1 })
  }
})

for (const [title, args, message, code = INVALID] of [
  ['no path', [], /^path must be a string, not undefined/],
  ['a path of bytes', [Buffer.from('a.csv'), 'SET a {b}'], /^path must be a string, not bytes/],
  ['a URL', [new URL('file:///a.csv'), 'SET a {b}'], /^path must be a string, not an? /],
  ['an empty path', ['', 'SET a {b}'], /^path must be a well-formed string/],
  ['NUL in a path', ['a\0.csv', 'SET a {b}'], /^path must be a well-formed string/],
  ['half of a character in a path', ['\ud800.csv', 'SET a {b}'], /^path must be a well-formed string/],
  [
    'an unknown ending',
    ['a.xls', 'SET a {b}'],
    /^format is needed: the name of the file ends in none of \.csv/,
    'RESPIPE_INVALID_OPTION',
  ],
  ['standard input without a format', ['-', 'SET a {b}'], /^format is needed/, 'RESPIPE_INVALID_OPTION'],
  ['an ending of an object', ['a.constructor', 'SET a {b}'], /^format is needed/, 'RESPIPE_INVALID_OPTION'],
  ['no template', ['a.csv'], /^a csv file needs a template/],
  ['null for a template', ['a.ndjson', null], /^a ndjson file needs a template/],
  ['a template of commands', ['a.resp', 'SET a b'], /^a file of commands takes no template \(format resp\)/],
  ['a number for a template', ['a.csv', 7], /template/],
  ['an empty list of templates', ['a.csv', []], /template/],
  ['a function for a template', ['a.csv', () => {}], /template/],
  ['a broken template', ['a.csv', 'SET {a'], /column/],
  ['a forbidden command', ['a.csv', 'MONITOR {a}'], /MONITOR/, 'RESPIPE_FORBIDDEN_COMMAND'],
  [
    'an unknown format',
    ['a.csv', 'SET a {b}', { format: 'xml' }],
    /^format must be 'csv', 'tsv', 'ndjson', 'resp' or 'commands'/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'header of ndjson',
    ['a.ndjson', 'SET a {b}', { header: false }],
    /^delimiter and header are for csv and tsv/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'delimiter of RESP',
    ['a.resp', null, { delimiter: ';' }],
    /^delimiter and header are for csv and tsv/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'a header that is a name',
    ['a.csv', 'SET a {b}', { header: 'id' }],
    /^header must be true, false or an array of names/,
    'RESPIPE_INVALID_OPTION',
  ],
  ['a header without names', ['a.csv', 'SET a {b}', { header: [] }], /^header must be/, 'RESPIPE_INVALID_OPTION'],
  ['a header of numbers', ['a.csv', 'SET a {b}', { header: [1] }], /^header must be/, 'RESPIPE_INVALID_OPTION'],
  [
    'a delimiter of two',
    ['a.csv', 'SET a {b}', { delimiter: '||' }],
    /^delimiter must be one character/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'a delimiter of none',
    ['a.csv', 'SET a {b}', { delimiter: '' }],
    /^delimiter must be one character/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'a delimiter beyond ASCII',
    ['a.csv', 'SET a {b}', { delimiter: '§' }],
    /^delimiter must be one character/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'a quote as delimiter',
    ['a.csv', 'SET a {b}', { delimiter: '"' }],
    /^delimiter must be one character/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'a newline as delimiter',
    ['a.csv', 'SET a {b}', { delimiter: '\n' }],
    /^delimiter must be one character/,
    'RESPIPE_INVALID_OPTION',
  ],
  ['options that are none', ['a.csv', 'SET a {b}', 7], /options/, 'RESPIPE_INVALID_OPTION'],
  [
    'an unknown option',
    ['a.csv', 'SET a {b}', { delimeter: ';' }],
    /^unknown option delimeter, did you mean delimiter\?/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'onProgress that is no function',
    ['a.csv', 'SET a {b}', { onProgress: 1 }],
    /^onProgress must be a function/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'onFailure that is no function',
    ['a.csv', 'SET a {b}', { onFailure: {} }],
    /^onFailure must be a function/,
    'RESPIPE_INVALID_OPTION',
  ],
  [
    'an interval of nothing',
    ['a.csv', 'SET a {b}', { progressIntervalMs: 0 }],
    /^progressIntervalMs must be/,
    'RESPIPE_INVALID_OPTION',
  ],
  ['maxFailed of nothing', ['a.csv', 'SET a {b}', { maxFailed: 0 }], /^maxFailed must be/, 'RESPIPE_INVALID_OPTION'],
  ['resume that is no boolean', ['a.csv', 'SET a {b}', { resume: 1 }], /^resume must be/, 'RESPIPE_INVALID_OPTION'],
  [
    'resume without a checkpoint',
    ['a.csv', 'SET a {b}', { resume: true }],
    /^resume needs the option checkpoint/,
    'RESPIPE_INVALID_OPTION',
  ],
  ['a signal that is none', ['a.csv', 'SET a {b}', { signal: 1 }], /^signal must be/, 'RESPIPE_INVALID_OPTION'],
] as [string, unknown[], RegExp, string?][]) {
  test(`refused: ${title}`, async (t) => {
    const bulk = pipelineFor(t, { port: 1 })
    // Never thrown, always rejected; and nothing is read.
    const error = await t.throwsAsync(bulk.importFile(...(args as [string, null])), { instanceOf: RespipeError })
    t.is(error.code, code)
    t.regex(error.message, message)
  })
}

test('a hole that is no column ends an import before its first row', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  for (const [content, template, options, message] of [
    ['id,name\n1,a\n', 'SET {id} {nam}', {}, 'there is no column nam, only id, name'],
    ['id,id\n1,a\n', 'SET a {id}', {}, 'column id is there twice, as field 1 and 2'],
    ['id,id\n1,a\n', 'HSET a {*}', {}, 'column id is there twice: {*} needs names that differ'],
    [
      '1,a\n',
      'SET a {id}',
      { header: false },
      'there is no column id: without a header row they are called 0, 1, 2 and so on',
    ],
    ['1,a\n', 'SET a {2}', { header: false }, 'there is no column 2, only 0 to 1'],
  ] as [string, string, ImportOptions, string][]) {
    const path = fileFor(t, 'a.csv', content)
    const { message: told, outcome } = await rejection(t, bulk.importFile(path, template, options), INVALID)
    t.is(told, `${path}: ${message}`)
    t.is(outcome.commands, 0)
  }
})

for (const [title, name, content, reason, commands = 0] of [
  ['missing', 'a.csv', undefined, 'there is no such file'],
  ['empty', 'a.csv', '', 'it is empty: there is no header row'],
  ['cut off gzip', 'a.csv.gz', gzipSync(csvOf(50_000)).subarray(0, 50_000), 'its gzip data is cut off', Infinity],
  ['gzip of nothing', 'a.csv.gz', '', 'its gzip data is cut off'],
  ['text called .gz', 'a.csv.gz', csvOf(10_000), 'its gzip data is corrupt'],
  ['corrupt Zstandard', 'a.csv.zst', ZSTANDARD.with(20, 0xff), 'its Zstandard data is corrupt', Infinity],
  ['cut off Zstandard', 'a.csv.zst', ZSTANDARD.subarray(0, 20), 'its Zstandard data is cut off', Infinity],
  ['UTF-16', 'a.csv', Buffer.from(`\ufeff${PEOPLE}`, 'utf16le'), 'it is UTF-16: only UTF-8 is read'],
  ['UTF-16, the other', 'a.ndjson', Buffer.from('\ufeff{}', 'utf16le').swap16(), 'it is UTF-16: only UTF-8 is read'],
  ['UTF-16 commands', 'a.redis', Buffer.from('\ufeffSET a b', 'utf16le'), 'it is UTF-16: only UTF-8 is read'],
  [
    'lines that end with \\r',
    'a.csv',
    'id,name\r1,a\r',
    'its header row has a carriage return that no newline follows: lines end with \\n or \\r\\n',
  ],
  [
    'a broken header',
    'a.csv',
    'id,na"me\n1,a\n',
    'its header row, line 1: field 2 has a quote, and does not begin with one',
  ],
  ['an RDB file', 'a.aof', 'REDIS0011', 'it is an RDB file, or begins with one'],
  ['no RESP', 'a.resp', 'SET io:1 a\r\n*1\r\n:3\r\n', "row 1, at byte 12: expected '$', got ':'", 1],
  ['cut off RESP', 'a.resp', 'SET io:1 a\r\n*1\r\n$4\r\nPI', 'row 1, at byte 12: the file ends within a command', 1],
] as [string, string, string | Buffer | undefined, string, number?][]) {
  test(`RESPIPE_IO: ${title}`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port })
    const path = fileFor(t, name, content)
    const template = /resp|aof|redis/.test(name) ? null : 'SET io:{id} {name}'
    const { message, outcome } = await rejection(t, bulk.importFile(path, template), 'RESPIPE_IO')
    t.true(message.startsWith(`cannot read ${path}: ${reason}`), message)
    // What came before is loaded.
    t.is(outcome.succeeded, outcome.commands)
    t.true(commands === Infinity || outcome.commands === commands)
    t.like(await bulk.set('io:after', 1).exec(), { succeeded: 1 })
  })
}

test('RESPIPE_IO: a directory, a loop of links, a name too long; links and other letters are fine', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const path = fileFor(t, 'a.csv', PEOPLE)
  const folder = dirname(path)
  mkdirSync(join(folder, 'b.csv'))
  symlinkSync('loop.csv', join(folder, 'loop.csv'))
  symlinkSync('a.csv', join(folder, 'link.csv'))
  writeFileSync(join(folder, 'Zürich 東京 "x".csv'), PEOPLE)
  for (const [name, reason] of [
    ['b.csv', 'it is a directory'],
    ['loop.csv', 'Too many levels of symbolic links'],
    [`${'x'.repeat(300)}.csv`, 'File name too long'],
    ['a.csv/b.csv', 'Not a directory'],
  ] as const) {
    const { message } = await rejection(t, bulk.importFile(join(folder, name), 'SET {id} {name}'), 'RESPIPE_IO')
    t.true(message.startsWith(`cannot read ${join(folder, name)}: ${reason}`), message)
  }
  for (const name of ['link.csv', 'Zürich 東京 "x".csv']) {
    t.like(await bulk.importFile(join(folder, name), 'SET link:{id} {name}'), { succeeded: 2 })
  }
})

test('RESPIPE_IO: a file that shrinks while it is read; one that grows is read to its end', async (t) => {
  for (const [name, change] of [
    ['shrinks', (path: string) => truncateSync(path, 1_000)],
    ['grows', (path: string) => appendFileSync(path, '100000,the last\n')],
  ] as const) {
    const path = fileFor(t, 'a.csv', csvOf(100_000))
    const { bulk, fault } = await heldUp(t, () => change(path))
    const importing = bulk.importFile(path, `SET ${name}:{id} {name}`)
    if (name === 'grows') {
      t.like(await resolution(t, importing), { succeeded: 100_001 })
      t.is(await client.get('grows:100000'), 'the last')
    } else {
      const error = await rejection(t, importing, 'RESPIPE_IO')
      const { outcome } = error
      t.regex(reasonOf(error), /it became shorter while it was read$/)
      t.true(outcome.succeeded < 100_000)
    }
    t.true(fault.hasHappened)
  }
})

onLinux('files without a length are read to their end', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const summary = await bulk.importFile('/proc/self/mounts', 'SADD proc:mounts {0}', {
    format: 'csv',
    header: false,
    delimiter: '\0',
  })
  t.true(summary.commands > 0)
})

test('a FIFO is read as it comes, and what has come is executed', async (t) => {
  const path = fifoFor(t, 'pipe.ndjson')
  const bulk = pipelineFor(t, { port: server.port })
  const importing = bulk.importFile(path, 'SET fifo:{id} {id}')
  const pipe = createWriteStream(path)
  pipe.write('{"id":1}\n{"id":2}\n{"id"')
  await until(async () => (await client.get('fifo:2')) === '2')
  pipe.end(':3}')
  t.like(await resolution(t, importing), { succeeded: 3 })
})

onLinux('a signal ends an import that waits for a FIFO', async (t) => {
  const path = fifoFor(t, 'pipe.csv')
  const bulk = pipelineFor(t, { port: server.port })
  const abort = new AbortController()
  const importing = bulk.importFile(path, 'SET {a} {b}', { signal: abort.signal })
  await turn()
  abort.abort()
  await rejection(t, importing, 'RESPIPE_ABORTED')
  // The thread that waits to open it comes free, also if it has not come that far yet.
  const writer = openSync(path, constants.O_RDWR)
  t.teardown(() => closeSync(writer))
})

/** The text of an ES module that imports standard input, with options that are text as well. */
function importOf(options: string): string {
  return `
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: ${server.port} })
    const abort = new AbortController()
    let told
    try {
      const { succeeded } = await bulk.importFile('-', 'SET stdin:{id} {name}', ${options})
      console.log('loaded ' + succeeded)
    } catch ({ code, message }) {
      console.log(code + ' ' + message)
    }
    bulk.destroy()
  `
}

test('standard input is read in pieces, also packed, and ends as a file does', async (t) => {
  for (const content of [PEOPLE, gzipSync(PEOPLE), ZSTANDARD]) {
    await client.del('stdin:1', 'stdin:2', 'stdin:read')
    const tells = "onProgress: ({ bytesRead }) => bytesRead === 12 && (told ??= bulk.query('SET', 'stdin:read', 1))"
    const { input, ended } = startModule(t, importOf(`{ format: 'csv', progressIntervalMs: 1, ${tells} }`))
    input.write(content.slice(0, 12))
    await until(async () => (await client.get('stdin:read')) === '1')
    input.end(content.slice(12))
    t.like(await ended, { stdout: 'loaded 2\n', stderr: '', code: 0 })
    t.deepEqual(await client.mget('stdin:1', 'stdin:2'), ['Ada', 'Bob\nB'])
  }
})

test('a signal ends an import at once, though standard input gives nothing, and the process ends', async (t) => {
  for (const [first, rows] of [
    ['', 0],
    [`${PEOPLE}`, 2],
  ] as const) {
    const aborts = `onProgress: ({ succeeded }) => succeeded === ${rows} && abort.abort()`
    const options = `{ format: 'csv', signal: abort.signal, progressIntervalMs: 1, ${aborts} }`
    const { input, ended } = startModule(t, importOf(options))
    input.write(first)
    // The other end stays open.
    t.like(await ended, { stdout: 'RESPIPE_ABORTED the load was aborted by its signal\n', code: 0 })
  }
})

/** The text of an ES module that reads standard input several times. */
function readsOf(reads: string): string {
  return `
    import { readFileSync, readdirSync } from 'node:fs'
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.js'
    const bulk = bulkPipeline({ port: ${server.port} })
    const read = (signal) => bulk.importFile('-', 'SET sole:{id} {name}', { format: 'csv', signal }).then(
      ({ succeeded }) => console.log('loaded ' + succeeded),
      ({ code, message }) => console.log(code + ' ' + message),
    )
    // Whether a thread is within the system's call to read.
    const isReading = (task) => {
      try {
        const about = (name) => readFileSync('/proc/self/task/' + task + '/' + name, 'latin1')
        return about('comm').startsWith('respipe-import') && about('syscall').startsWith(process.arch === 'x64' ? '0 ' : '63 ')
      } catch {
        return false
      }
    }
    ${reads}
    bulk.destroy()
  `
}

onLinux('standard input has one reader at a time, also where one was stopped and still waits', async (t) => {
  const { ended } = startModule(
    t,
    readsOf(`
      const abort = new AbortController()
      // Whichever of the two comes second is refused.
      const both = [read(abort.signal), read(abort.signal)]
      await Promise.race(both)
      while (!readdirSync('/proc/self/task').some(isReading)) await delay(1)
      abort.abort()
      await Promise.all(both)
      await read()
    `),
  )
  const busy = 'RESPIPE_IO cannot read standard input: another import reads it, or did and was stopped'
  const { stdout } = await ended
  t.is(stdout, `${busy}\nRESPIPE_ABORTED the load was aborted by its signal\n${busy}\n`)
})

test('standard input that was read to its end is empty', async (t) => {
  const { code, stdout } = await runScript({ source: readsOf('await read(); await read()') }, { input: PEOPLE })
  t.is(code, 0)
  t.is(stdout, 'loaded 2\nRESPIPE_IO cannot read standard input: it is empty: there is no header row\n')
})

test('two imports and an exec() at once are told apart', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  await client.set('apart:string', 'x')
  const [one, two] = [
    fileFor(t, 'a.csv', csvOf(20_000)),
    fileFor(t, 'b.ndjson', '{"id":1}\n{"id":2}\nno\n'.repeat(5_000)),
  ]
  const imports = [bulk.importFile(one, 'SET apart:{id} {name}'), bulk.importFile(two, 'RPUSH apart:list {id}')]
  const execs = []
  for (let at = 0; at < 20; at++) {
    execs.push(bulk.incr('apart:own').lpush('apart:string', 1).exec())
    await new Promise(setImmediate)
  }
  t.like(await imports[0], { commands: 20_000, succeeded: 20_000 })
  t.like(await imports[1], { commands: 15_000, succeeded: 10_000, failed: 5_000 })
  for (const outcome of await Promise.all(execs))
    t.like(outcome, { commands: 2, succeeded: 1, errors: { WRONGTYPE: 1 } })
  t.is(await client.llen('apart:list'), 10_000)
  t.like(await bulk.sync(), { commands: 35_040, succeeded: 30_020, failed: 5_020 })
})

for (const [title, options] of [
  ['replies off', { replies: 'off' }],
  ['collect', { replies: 'collect' }],
  ['reconnectEvery', { reconnectEvery: 2 }],
  ['transaction', { transaction: true }],
  ['autoExec', { autoExec: { commands: 10 } }],
  ['a tiny buffer', { maxBufferedBytes: 2_000 }],
  ['whenFull block', { maxBufferedBytes: 2_000, whenFull: 'block' }],
  ['checkpoint', { checkpoint: 'import:progress' }],
] as const) {
  test(`with ${title} everything arrives`, async (t) => {
    const bulk = pipelineFor(t, { port: server.port, ...options })
    const key = title.replaceAll(' ', '-')
    const path = fileFor(
      t,
      'a.csv',
      `id,name\n${Array.from({ length: 5_000 }, (_, at) => `${at},${'x'.repeat(at % 100)}\n`).join('')}`,
    )
    const summary = await resolution(
      t,
      bulk.importFile(path, [`RPUSH import:${key} {id}`, `SET import:${key}:{id} {name}`]),
    )
    t.is(title === 'replies off' ? summary.unknown : summary.succeeded, 10_000)
    if (title === 'reconnectEvery') t.true(summary.reconnects > 1)
    if (title === 'autoExec') t.true(summary.batches >= 1_000)
    t.deepEqual(
      await client.lrange(`import:${key}`, 0, -1),
      Array.from({ length: 5_000 }, (_, at) => String(at)),
    )
    t.is((await client.get(`import:${key}:4999`))?.length, 99)
  })
}

test('a row without room in a small buffer fails alone, whatever whenFull says', async (t) => {
  for (const whenFull of ['throw', 'block'] as const) {
    const bulk = pipelineFor(t, { port: server.port, maxBufferedBytes: 20_000, whenFull })
    const path = fileFor(t, 'a.csv', `id,name\n1,a\n2,${'x'.repeat(30_000)}\n3,${'y'.repeat(15_000)}\n4,b\n`)
    const summary = await resolution(t, bulk.importFile(path, 'SET room:{id} {name}'))
    t.like(summary, { succeeded: 3, failed: 1, errors: { RESPIPE_BUFFER_FULL: 1 } })
    t.like(summary.failures[0], { row: 1, line: 3, command: 'SET' })
  }
})

function transaction(bytes: number): string {
  return `MULTI\nSET room:a ${'x'.repeat(bytes / 2)}\nSET room:b ${'y'.repeat(bytes / 2)}\nEXEC\n`
}

test('a transaction of a file waits for room, and is refused where there never is', async (t) => {
  const bulk = pipelineFor(t, { port: server.port, maxBufferedBytes: 20_000 })
  const fits = `${`SET room:c ${'z'.repeat(1_000)}\n`.repeat(50)}${transaction(18_000)}`
  t.like(await resolution(t, bulk.importFile(fileFor(t, 'a.redis', fits), null)), { succeeded: 52 })
  const path = fileFor(t, 'b.redis', `SET room:d 1\n${transaction(24_000)}`)
  const { outcome } = await rejection(t, bulk.importFile(path, null), /RESPIPE_(IO|BUFFER_FULL)/)
  t.like(outcome, { commands: 1, succeeded: 1 })
})

test('a checkpointed import goes on where it was, each row exactly once', async (t) => {
  const path = fileFor(
    t,
    'a.csv',
    `id,name\n${Array.from({ length: 30_000 }, (_, at) => (at % 1_000 === 7 ? 'broken\n' : `${at},"n\n${at}"\n`)).join('')}`,
  )
  const run = async (resume: boolean, abortAt?: number) => {
    const proxy = await proxyFor(t, server)
    const bulk = pipelineFor(t, { port: proxy.port, checkpoint: 'import:once', maxBufferedBytes: 64_000 })
    const abort = new AbortController()
    if (abortAt !== undefined) proxy.at({ command: 'RPUSH', nth: abortAt }, () => abort.abort())
    const options = { resume, signal: abort.signal }
    try {
      return await bulk.importFile(path, 'RPUSH import:list {id}', options)
    } finally {
      await bulk.close()
    }
  }
  await rejection(t, run(false, 1_000), 'RESPIPE_ABORTED')
  for (let round = 0; round < 3; round++) await rejection(t, run(true, 2_000), 'RESPIPE_ABORTED')
  const last = await run(true)
  const expected = Array.from({ length: 30_000 }, (_, at) => String(at)).filter((at) => Number(at) % 1_000 !== 7)
  t.deepEqual(await client.lrange('import:list', 0, -1), expected)
  t.true(last.commands < 30_000)
  t.like(await run(true), { succeeded: 0 })
})

test('a check leaves no trace in the pipeline, and asks no server', async (t) => {
  // Nothing listens there.
  const bulk = pipelineFor(t, { port: 1, replies: 'off', retry: { attempts: 0 } })
  const heard: CommandFailure[] = []
  bulk.on('failure', (failure) => heard.push(failure))
  const checked = await bulk.checkFile(fileFor(t, 'a.csv', 'id,name\n1,Ada\n2\n'), 'SET {id} {name}')
  t.like(checked, { rows: 2, commands: 1, failed: 1 })
  t.like(bulk.stats(), { commands: 0, failed: 0 })
  t.deepEqual(heard, [])
})

test('what was refused before it began is not listened to any more', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const path = fileFor(t, 'a.csv', 'id,name\n1,Ada\n')
  const told: CommandFailure[] = []
  const onFailure = (failure: CommandFailure): void => void told.push(failure)
  await t.throwsAsync(bulk.importFile(path, 'SET {id', { onFailure }), { code: 'RESPIPE_INVALID_ARGUMENT' })
  t.like(await bulk.importFile(path, ['SET {id} {name}', 'LPUSH {id} {name}'], { onFailure }), { failed: 1 })
  t.is(told.length, 1)
})

test('a signal ends an import that waits for what the checkpoint holds', async (t) => {
  const silent = await scriptedFor(t, () => '')
  const bulk = pipelineFor(t, { port: silent.port, checkpoint: 'progress', connectTimeoutMs: 60_000 })
  const path = fileFor(t, 'a.csv', 'id,name\n1,Ada\n')
  const signal = AbortSignal.timeout(50)
  const importing = bulk.importFile(path, 'SET {id} {name}', { resume: true, signal })
  await t.throwsAsync(importing, { instanceOf: RespipeError, code: 'RESPIPE_ABORTED' })
})

test('with a signal that is aborted already nothing is loaded', async (t) => {
  const bulk = pipelineFor(t, { port: server.port })
  const path = fileFor(t, 'a.csv', 'id,name\naborted,Ada\n')
  const options = { signal: AbortSignal.abort() }
  const rows = [{ id: 'aborted', name: 'Ada' }]
  for (const loading of [
    bulk.importFile(path, 'SET {id} {name}', options),
    bulk.load(rows, 'SET {id} {name}', options),
  ]) {
    const error = await t.throwsAsync(loading, { instanceOf: RespipeError, code: 'RESPIPE_ABORTED' })
    t.like(error.outcome, { commands: 0, succeeded: 0 })
  }
  t.is(await client.exists('aborted'), 0)
})
