// What `respipe` shows of others' text, and the file of failures.

import { createRequire } from 'node:module'
import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import test from './helpers/test.ts'
import { folderWith, refusal } from './helpers/cli.ts'

interface Failure {
  row?: number
  line?: number
  command: string
  key?: Buffer
  code: string
  message: string
}
interface FailureFile {
  write(failure: Failure): void
  flush(): void
  close(): void
}
const require = createRequire(import.meta.url)
const {
  FailureFile,
  failureLine,
  Failures,
  recordOf,
}: {
  FailureFile: new (
    path: string,
    options: { append: boolean; source: string; onError(message: string): void },
  ) => FailureFile
  failureLine(failure: Failure, source: string, unicode: boolean): string
  Failures: new (file?: FailureFile) => { first: Failure[]; add(failure: Failure): void; close(): void }
  recordOf(failure: Failure): object
} = require('../lib/cli/failures.js')
const {
  redisQuoted,
  shellQuoted,
  visible,
}: {
  redisQuoted(buffer: Buffer, unicode: boolean): string
  shellQuoted(word: string): string
  visible(text: string): string
} = require('../lib/cli/quote.js')

const fail = (message: string) => {
  throw new Error(message)
}

test('a failure is one line, with its place in front', (t) => {
  const failure = refusal(15)
  const { message } = failure
  t.is(failureLine(failure, 'users.csv', true), `users.csv:17: HSET user:15: ${message}`)
  t.is(failureLine({ ...failure, line: undefined }, 'data.resp', true), `data.resp, row 15: HSET user:15: ${message}`)
  t.is(failureLine({ ...failure, key: undefined, command: '' }, 'f', true), `f:17: ${message}`)
  t.is(failureLine({ ...failure, message: 'why' }, 'f', true), 'f:17: HSET user:15: WRONGTYPE why')
  t.is(failureLine({ ...failure, code: 'RESPIPE_IO', message: 'why' }, 'f', true), 'f:17: HSET user:15: why')
})

test('nothing that a terminal obeys is printed', (t) => {
  const key = Buffer.from('a\u001b]0;title\u0007 \u202eb')
  const shown = failureLine(
    { ...refusal(0), key, message: 'x\u001b[2J\r\u009b\u2028y', code: 'ERR' },
    'f\u001b.csv',
    true,
  )
  t.is(shown, String.raw`f\x1b.csv:2: HSET "a\x1b]0;title\a \xe2\x80\xaeb": ERR x\x1b[2J\r\xc2\x9b\xe2\x80\xa8y`)
  t.is(visible('Zürich\n'), 'Zürich\\n')
})

test('words are quoted as redis-cli quotes them', (t) => {
  t.is(redisQuoted(Buffer.from('a "b" \\ \n\r\t\u0007\b\0'), true), String.raw`"a \"b\" \\ \n\r\t\a\b\x00"`)
  t.is(redisQuoted(Buffer.from('Zürich 🐢'), true), '"Zürich 🐢"')
  t.is(redisQuoted(Buffer.from('Zü'), false), String.raw`"Z\xc3\xbc"`)
  t.is(redisQuoted(Buffer.from([0x5a, 0xfc]), true), String.raw`"Z\xfc"`)
})

test('words are quoted so that a shell reads them back', (t) => {
  for (const plain of ['users.csv', 'redis://me@there:7/1', '--tls', '10%']) t.is(shellQuoted(plain), plain)
  for (const word of ['', 'a b', "it's", '$HOME', 'a;b', '*', '~', '#', 'ü']) {
    t.is(shellQuoted(word), `'${word.replaceAll("'", "'\\''")}'`)
  }
})

test('a record has the key as text, or else as base64', (t) => {
  const { message } = refusal(1)
  t.is(
    JSON.stringify(recordOf(refusal(1))),
    JSON.stringify({ row: 1, line: 3, command: 'HSET', key: 'user:1', code: 'WRONGTYPE', message }),
  )
  t.like(JSON.parse(JSON.stringify(recordOf({ ...refusal(1), key: Buffer.from([0xff, 0]) }))), { keyBase64: '/wA=' })
  t.deepEqual(Object.keys(JSON.parse(JSON.stringify(recordOf({ command: 'X', code: 'ERR', message: 'y' })))), [
    'command',
    'code',
    'message',
  ])
})

test('the file has every failure, and the process holds only the first ones', (t) => {
  const path = join(folderWith(t), 'failures.ndjson')
  const failures = new Failures(new FailureFile(path, { append: false, source: '-', onError: fail }))
  for (let row = 0; row < 5_000; row++) failures.add(refusal(row))
  t.true(readFileSync(path).length > 400_000, 'written as they come')
  failures.close()
  failures.close()
  t.is(failures.first.length, 10)
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  t.deepEqual(
    lines.map((line) => JSON.parse(line).row),
    Array.from({ length: 5_000 }, (_, row) => row),
  )
})

test('a file is begun anew, and gone on with where a load goes on', (t) => {
  const path = join(folderWith(t, { 'failures.ndjson': '{"old":1}\n' }), 'failures.ndjson')
  const write = (append: boolean) => {
    const file = new FailureFile(path, { append, source: '-', onError: fail })
    file.write(refusal(0))
    file.close()
    return readFileSync(path, 'utf8').trimEnd().split('\n').length
  }
  t.is(write(true), 2)
  t.is(write(false), 1)
})

test('the file to load is not written over', (t) => {
  const folder = folderWith(t, { 'users.csv': 'id\n1\n' })
  const source = join(folder, 'users.csv')
  symlinkSync(source, join(folder, 'link'))
  for (const path of [source, join(folder, 'link')]) {
    const error = t.throws(() => new FailureFile(path, { append: false, source, onError: fail }))
    t.is(error?.message, `--failures would write over ${path}, which is the file to load`)
  }
  t.is(readFileSync(source, 'utf8'), 'id\n1\n')
})

test('a file that cannot be opened is refused', (t) => {
  const path = join(folderWith(t), 'none', 'failures.ndjson')
  const error = t.throws(() => new FailureFile(path, { append: false, source: '-', onError: fail }))
  t.is(error?.message, `--failures: cannot write ${path}: no such file or directory`)
})

const full = process.platform === 'linux' ? test : test.skip
full('a full disk ends the file and not the load, and is told once', (t) => {
  const told: string[] = []
  const file = new FailureFile('/dev/full', { append: false, source: '-', onError: (message) => told.push(message) })
  for (let row = 0; row < 5_000; row++) file.write(refusal(row))
  file.close()
  t.deepEqual(told, ['cannot write /dev/full: no space left on device; failures are only counted from here on'])
})
