// Files that are checked, by the word of others: csv-parse, which is strict as well, and JSON.parse.

import { writeFileSync } from 'node:fs'
import { parse } from 'csv-parse/sync'
import * as fc from 'fast-check'
import { bulkPipeline, type CheckOptions } from '../../index.js'
import { fileFor, wordsOf } from './files.ts'
import test, { type ExecutionContext } from './test.ts'

// Nothing is connected: files are only checked.
const bulk = bulkPipeline()
test.after.always(() => bulk.destroy())

/** The rows of a file that has at most ten, as what a command for each has behind its key, and how many are broken. */
export async function rowsOf(path: string, template: string, options: CheckOptions) {
  const { rows, failed, failures, sample } = await bulk.checkFile(path, template, options)
  return { rows, failed, failures, words: sample.map((command) => wordsOf(command).slice(2)) }
}

const CSV = { format: 'csv', header: false } as const

/** Each row's fields; undefined where any row is broken. */
export async function readCsv(path: string): Promise<string[][] | undefined> {
  const { failed, words } = await rowsOf(path, 'HSET key {*}', CSV)
  // Names and values by turns.
  return failed > 0 ? undefined : words.map((row) => row.filter((_, at) => at % 2 === 1))
}

/** The same by csv-parse. */
export function parseCsv(content: Buffer): string[][] | undefined {
  try {
    return parse(content, { bom: true, skip_empty_lines: true, record_delimiter: ['\n', '\r\n'] })
  } catch {
    return undefined
  }
}

/** How many files or lines are drawn, and which ones. */
interface Draw {
  runs: number
  seed: number
}

/** Random files, broken ones too: rows and refusals are those of csv-parse. */
export async function agreesOnCsv(t: ExecutionContext, { runs, seed }: Draw): Promise<void> {
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
    { numRuns: runs, seed },
  )
  t.true(refused > runs / 15, `${refused} refused`)
}

function quoted(field: string): string {
  return /[",\r\n]/.test(field) || field === '' ? `"${field.replaceAll('"', '""')}"` : field
}

/** What becomes of a line: its value as JSON, or null where it is broken. */
export async function readNdjson(t: ExecutionContext, line: string | Uint8Array, path = fileFor(t, 'line.ndjson')) {
  writeFileSync(path, line)
  const { rows, failed, words } = await rowsOf(path, 'SET key {*|json}', { format: 'ndjson' })
  t.is(rows, 1)
  return failed > 0 ? null : words[0]![0]!
}

export function parseJson(line: string): string | null {
  try {
    return JSON.stringify(JSON.parse(line))
  } catch {
    return null
  }
}

/** Random values, and faults put into them: JSON.parse says the same. */
export async function agreesOnNdjson(t: ExecutionContext, { runs, seed }: Draw): Promise<void> {
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
    { numRuns: runs, seed },
  )
  t.true(broken > runs / 15, `${broken} broken`)
}
