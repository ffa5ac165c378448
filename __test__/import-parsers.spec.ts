// What csv and ndjson files hold, by the word of others: csv-parse, which is strict as well, and JSON.parse.

import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { promisify } from 'node:util'

import test from './helpers/test.ts'
import * as fc from 'fast-check'

import { fileFor } from './helpers/files.ts'
import { agreesOnCsv, agreesOnNdjson, parseCsv, parseJson, readCsv, readNdjson, rowsOf } from './helpers/parsers.ts'

const require = createRequire(import.meta.url)
const spectrum: () => Promise<{ name: string; csv: Buffer; json: Buffer }[]> = promisify(require('csv-spectrum'))

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

test('random csv files, broken ones too: rows and refusals are those of csv-parse', (t) =>
  agreesOnCsv(t, { runs: 200, seed: 7 }))

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

test('ndjson: random values and random faults agree with JSON.parse', (t) => agreesOnNdjson(t, { runs: 200, seed: 7 }))

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
    { numRuns: 50, seed: 7 },
  ) // prettier-ignore
  writeFileSync(path, '{"a":123456789012345678901234567890,"b":-0}\n{"a":1.0,"b":1E2}\n')
  const { words } = await rowsOf(path, 'MSET k {a} l {b}', { format: 'ndjson' })
  t.deepEqual(words.map((row) => [row[0], row[2]]), [['123456789012345678901234567890', '0'], ['1', '100']]) // prettier-ignore
})
