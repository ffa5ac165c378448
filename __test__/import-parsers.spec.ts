// What csv and ndjson files hold, by the word of others: csv-parse, which is strict as well, and JSON.parse.

import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'

import test, { type ExecutionContext } from './helpers/test.ts'
import { parse } from 'csv-parse/sync'
import * as fc from 'fast-check'

import { bulkPipeline, type CheckOptions } from '../index.js'
import { fileFor, wordsOf } from './helpers/files.ts'

const require = createRequire(import.meta.url)
const spectrum: () => Promise<{ name: string; csv: Buffer; json: Buffer }[]> = promisify(require('csv-spectrum'))

// Nothing is connected: files are only checked.
const bulk = bulkPipeline()
test.after.always(() => bulk.destroy())

/** The rows of a file that has at most ten, as what a command for each has behind its key, and how many are broken. */
async function rowsOf(path: string, template: string, options: CheckOptions) {
  const { rows, failed, failures, sample } = await bulk.checkFile(path, template, options)
  return { rows, failed, failures, words: sample.map((command) => wordsOf(command).slice(2)) }
}

const CSV = { format: 'csv', header: false } as const

/** Each row's fields; undefined where any row is broken. */
async function readCsv(path: string): Promise<string[][] | undefined> {
  const { failed, words } = await rowsOf(path, 'HSET key {*}', CSV)
  // Names and values by turns.
  return failed > 0 ? undefined : words.map((row) => row.filter((_, at) => at % 2 === 1))
}

/** The same by csv-parse. */
function parseCsv(content: Buffer): string[][] | undefined {
  try {
    return parse(content, { bom: true, skip_empty_lines: true, record_delimiter: ['\n', '\r\n'] })
  } catch {
    return undefined
  }
}

test('csv-spectrum: rows are those of csv-parse, and those that the corpus expects', async (t) => {
  const corpus = await spectrum()
  t.true(corpus.length >= 12)
  for (const { name, csv, json } of corpus) {
    const rows = await readCsv(fileFor(t, 'spectrum.csv', csv))
    t.deepEqual(rows, parseCsv(csv), name)
    if (rows === undefined) continue
    const [names = [], ...records] = rows
    const objects = records.map((fields) => Object.fromEntries(fields.map((field, at) => [names[at], field])))
    t.deepEqual(objects, JSON.parse(json.toString()), name)
  }
})

test('random csv files, broken ones too: rows and refusals are those of csv-parse', async (t) => {
  const path = fileFor(t, 'random.csv')
  const piece = fc.constantFrom(
    '"',
    '"',
    ',',
    ',',
    '\n',
    '\r\n',
    'a',
    'bc',
    '""',
    '"a,b"',
    '"a\nb"',
    ' ',
    'é',
    '\t',
    "'",
  )
  const broken = fc.array(piece, { maxLength: 25 }).map((pieces) => pieces.join(''))
  const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'ü', ';'), maxLength: 5 })
  const sound = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom('\n', '\r\n'), fc.boolean()).chain(([width, end, last]) =>
    fc
      .array(fc.array(field, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 8 })
      .map((rows) => rows.map((row) => row.map(quoted).join(',')).join(end) + (last ? end : '')),
  ) // prettier-ignore
  let refused = 0
  await fc.assert(
    fc.asyncProperty(fc.oneof(broken, sound), async (content) => {
      writeFileSync(path, content)
      const expected = parseCsv(Buffer.from(content))
      fc.pre((expected?.length ?? 0) <= 10)
      if (expected === undefined) refused++
      t.deepEqual(await readCsv(path), expected, JSON.stringify(content))
    }),
    { numRuns: 1_500, seed: 7 },
  )
  t.true(refused > 100, `${refused} refused`)
})

function quoted(field: string): string {
  return /[",\r\n]/.test(field) || field === '' ? `"${field.replaceAll('"', '""')}"` : field
}

/** What becomes of a line: its value as JSON, or null where it is broken. */
async function readNdjson(t: ExecutionContext, line: string | Uint8Array, path = fileFor(t, 'line.ndjson')) {
  writeFileSync(path, line)
  const { rows, failed, words } = await rowsOf(path, 'SET key {*|json}', { format: 'ndjson' })
  t.is(rows, 1)
  return failed > 0 ? null : words[0]![0]!
}

function parseJson(line: string): string | null {
  try {
    return JSON.stringify(JSON.parse(line))
  } catch {
    return null
  }
}

// Cases after JSONTestSuite (https://github.com/nst/JSONTestSuite), as values of a member.
const VALUES = [
  '0', '-0', '1', '-1', '123456789', '0.5', '1.50', '-0.0', '1e5', '1E5', '1e+5', '1e-5', '1.5e10', '0e1', '0e+1', '1e-400', '123.456e78',
  '01', '-01', '1.', '.5', '-.5', '+1', '1e', '1e+', '1.e1', '1e1.5', '--1', '-', '-a', '0x1', '0x', '1_000', '1 000', '1a', '٣',
  'NaN', '-NaN', 'Infinity', '-Infinity', 'inf', 'true', 'false', 'null', 'True', 'TRUE', 'nul', 'nulll', 'tru', 'undefined', 'None', '',
  '""', '"a"', "'a'", '"a', 'a"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\a"', '"\\x41"', '"\\"', '"\\', '"\\u"', '"\\u004"', '"\\u004g"', '"\\U0041"',
  '"\\u0041"', '"\\u00e9"', '"\\uD83D\\uDE00"', '"\\ud83d\\ude00"', '"😀"', '"\\u0000"', '"\\u001f"', '"\\u2028\\u2029"', '"\u2028\u2029"', '"\u007f"', '"\ufeff"',
  '"\\ud800"', '"\\udc00"', '"\\udc00\\ud800"', '"\\ud800\\ud800\\udc00"', '"\\ud800x"', '"\\ud800\\n"', '"\\uffff"', '"\\ufdd0"', '"\u{10ffff}"',
  '"\u0000"', '"\u0001"', '"\t"', '"a\u001fb"', '"\r"', '"a\\\rb"', '"new\\nline"',
  '[]', '[1]', '[1,2]', '[ 1 , 2 ]', '[1,]', '[,1]', '[,]', '[1,,2]', '[1 2]', '[1:2]', '[1}', '[', ']', '[[]', '[]]', '[1', '["a"', '["a",', '[true, false, null]', '[a]', '[1e1]', '[-]',
  '{}', '{"a":1}', '{"a":1,"a":2}', '{"a":{"a":{"a":1},"a":2},"b":3}', '{"":0}', '{"a":1,}', '{,"a":1}', '{"a"}', '{"a":}', '{"a" 1}', '{"a"::1}', '{"a":1 "b":2}', '{a:1}', "{'a':1}",
  '{1:1}', '{null:1}', '{"a":1}}', '{"a":[}', '{"\\u0061":1,"a":2}', '{"__proto__":1}', '{"toString":1}', '{"a":"b"}/**/', '{"a":"b"}//', '/**/1', '1#', '1;', '{"a":1,"b":2,"a":3}',
  '\u00a01', '\u000b1', '\u000c1', '\u20281', ' \t1\t ', '\ufeff1', '1\u0000', '[\u00a0]', '["\\ud800",{"\\udc00":"\\ud800"}]',
] // prettier-ignore

const LINES = [
  '{}', '{', '}', '{]', '{}{}', '{} {}', '{},', '{}x', '{}\u0000', '\u0000{}', '\u00a0{}', '{}\u00a0', '\ufeff\ufeff{}', '{"a":1}\r', ' {"a":1} ', '\t{}', '\u000b{}', '{"a":1}#', 'a:1', '*', '<a>',
  '{"a":1', '{"a":', '{"a"', '{"', '{"a":1,', '{"\ud83d\ude00":1}', '{"\\ud83d\\ude00":1,"😀":2}', '{"a":1e400}', '{"a":-1e400}', '{"a":12345678901234567890}', '{"1":1,"0":2}',
] // prettier-ignore

/** What JavaScript has no number for keeps its digits; names that are numbers keep their place. */
const AS_WRITTEN = new Set(['{"a":1e400}', '{"a":-1e400}', '{"a":12345678901234567890}', '{"1":1,"0":2}'])

test('ndjson: what JSON.parse takes is taken, with the same value; what it refuses is a broken row', async (t) => {
  for (const line of [...VALUES.map((value) => `{"v":${value}}`), ...LINES]) {
    const expected = AS_WRITTEN.has(line) ? line : parseJson(line.replace(/^\ufeff/, ''))
    t.is(await readNdjson(t, line), expected, JSON.stringify(line))
  }
})

test('ndjson: nesting and length have no limit within a line', async (t) => {
  const deep = `{"v":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
  t.is(await readNdjson(t, deep), deep)
  const objects = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
  t.is(await readNdjson(t, objects), objects)
  t.is(await readNdjson(t, deep.slice(0, -2)), null)
  const members = JSON.stringify(Object.fromEntries(Array.from({ length: 100_000 }, (_, at) => [`m${at}`, at])))
  t.is(await readNdjson(t, members), members)
})

test('ndjson: what is not UTF-8 is broken, though JSON.parse would never see it', async (t) => {
  for (const bytes of [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xc0, 0x80]]) {
    t.is(await readNdjson(t, Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')])), null)
  }
})

test('ndjson: random values and random faults agree with JSON.parse', async (t) => {
  const path = fileFor(t, 'random.ndjson')
  const object = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }), { maxKeys: 5 })
  const text = object.map((value) => JSON.stringify(value))
  const edit = fc.tuple(
    fc.nat(),
    fc.nat({ max: 3 }),
    fc.constantFrom('', '"', '\\', ',', ':', '{', ']', '0', '-', 'e', '.', '\t', '\u0000', '\\u', 'é', '/'),
  )
  const edited = fc.tuple(text, fc.array(edit, { minLength: 1, maxLength: 3 })).map(([line, edits]) =>
    edits.reduce((before, [place, length, piece]) => {
      const at = place % (before.length + 1)
      return before.slice(0, at) + piece + before.slice(at + length)
    }, line),
  ) // prettier-ignore
  let broken = 0
  await fc.assert(
    fc.asyncProperty(fc.oneof(text, edited), async (line) => {
      // A line of blanks is no row; half of a character is no text.
      fc.pre(line.trim() !== '' && !/\p{Surrogate}/u.test(line))
      const expected = parseJson(line)
      const read = await readNdjson(t, line, path)
      if (expected === null || !expected.startsWith('{')) {
        broken++
        return t.is(read, null, JSON.stringify(line))
      }
      // Order and digits are those of the file.
      t.deepEqual(JSON.parse(read!), JSON.parse(expected), JSON.stringify(line))
    }),
    { numRuns: 1_500, seed: 7 },
  )
  t.true(broken > 100, `${broken} broken`)
})

test('ndjson: a value alone is sent as JavaScript prints it, and an integer with all its digits', async (t) => {
  const path = fileFor(t, 'values.ndjson')
  const number = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.maxSafeInteger(),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(number, fc.string({ unit: 'grapheme' })), { minLength: 1, maxLength: 10 }), async (rows) => {
      writeFileSync(path, rows.map(([a, b]) => `${JSON.stringify({ a, b })}\n`).join(''))
      const { words } = await rowsOf(path, 'MSET k {a} l {b}', { format: 'ndjson' })
      t.deepEqual(words.map((row) => [row[0], row[2]]), rows.map(([a, b]) => [String(a), b]))
    }),
    { numRuns: 200, seed: 7 },
  ) // prettier-ignore
  writeFileSync(path, '{"a":123456789012345678901234567890,"b":-0}\n{"a":1.0,"b":1E2}\n')
  const { words } = await rowsOf(path, 'MSET k {a} l {b}', { format: 'ndjson' })
  t.deepEqual(words.map((row) => [row[0], row[2]]), [['123456789012345678901234567890', '0'], ['1', '100']]) // prettier-ignore
})
