// How far a load is, in one line that fits.

import { createRequire } from 'node:module'
import test from './helpers/test.ts'
import * as fc from 'fast-check'
import { FakeStream } from './helpers/cli.ts'

interface Stats {
  rows: number
  failed: number
  bytes: number
  bytesRead?: number
  bytesTotal?: number
  connected?: boolean
}
interface View {
  rows: number
  failed: number
  done: number
  bytesTotal?: number
  rate?: number
  fraction?: number
  secondsLeft?: number
  connected?: boolean
}
interface Style {
  isTerminal?: boolean
  width: number
  color: boolean
  unicode: boolean
}
interface Display {
  intervalMs: number
  progress(stats: Stats): void
  note(text: string): void
  end(): void
}
type Parts = { stdout: FakeStream; stderr: FakeStream; env: Record<string, string>; now(): number }

const require = createRequire(import.meta.url)
const {
  Meter,
  plainLine,
  styleOf,
  terminalLine,
}: {
  Meter: new () => { read(stats: Stats, now: number): View }
  plainLine(view: View, noun: string): string
  styleOf(stream: { isTTY?: boolean }, env: Record<string, string>): Style
  terminalLine(view: View, noun: string, style: Style): string
} = require('../lib/cli/progress.js')
const {
  displayOf,
}: {
  displayOf(cli: object, noun: string, intervalMs: number | undefined, parts: Parts): Display
} = require('../lib/cli/display.js')
const numbers: Record<
  'bytes' | 'clock' | 'count' | 'duration',
  (number: number) => string
> = require('../lib/cli/numbers.js')

const half: View = {
  rows: 612_345,
  failed: 3,
  done: 48_900_000,
  bytesTotal: 80_100_000,
  rate: 1_020_000,
  fraction: 0.6104,
  secondsLeft: 12,
}
const ascii = { color: false, unicode: false }
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })
const styleIn = (env: Record<string, string>, isTTY = true): object => styleOf({ isTTY }, env)
const COLOUR = new RegExp(String.raw`\u001b\[\d+m`, 'g')

for (const [width, expected] of [
  [
    120,
    '[########################----------------]   61 %  612,345 rows  1,020,000/s  48.9 MB of 80.1 MB  0:12 left  3 failed',
  ],
  [100, '[############--------]   61 %  612,345 rows  1,020,000/s  48.9 MB of 80.1 MB  0:12 left  3 failed'],
  [80, '[############--------]   61 %  612,345 rows  1,020,000/s  0:12 left  3 failed'],
  [60, '[######----]   61 %  612,345 rows  0:12 left  3 failed'],
  [40, '[#########------]   61 %  3 failed'],
  [33, '[######----]   61 %  3 failed'],
  [24, ' 61 %  3 failed'],
  [8, ' 61 %'],
] as const) {
  test(`a line fits ${width} columns`, (t) => {
    const line = terminalLine(half, 'row', { width, ...ascii })
    t.is(line, expected)
    t.true(line.length <= width - 3)
  })
}

test('no line is ever wider than the terminal, and no figure stands for nothing', (t) => {
  const view = fc.record({
    rows: fc.nat(1e12),
    failed: fc.nat(1e12),
    done: fc.nat(1e15),
    bytesTotal: optional(fc.nat(1e15)),
    rate: optional(fc.double({ min: 0, max: 1e9, noNaN: true })),
    fraction: optional(fc.double({ min: 0, max: 1, noNaN: true })),
    secondsLeft: optional(fc.double({ min: 0, max: 1e7, noNaN: true })),
  })
  const style = fc.record({ width: fc.integer({ min: 1, max: 300 }), color: fc.boolean(), unicode: fc.boolean() })
  fc.assert(
    fc.property(view, style, (figures, shape) => {
      const line = terminalLine(figures, 'row', shape)
      const seen = line.replaceAll(COLOUR, '')
      t.true(seen.length <= Math.max(shape.width - 3, 1), line)
      t.notRegex(line, /NaN|undefined|Infinity/)
      if (!shape.color) t.is(line, seen)
      if (!shape.unicode) t.regex(seen, /^[ -~]*$/)
    }),
  )
})

test('a bar is full when all is read, and 100 % is not said before', (t) => {
  const shape = { width: 64, color: false }
  for (const [fraction, unicode, expected] of [
    [1, false, '[###############]  100 %'],
    [0.999, false, '[##############-]   99 %'],
    [1, true, '▕███████████████▏  100 %'],
    [0.5179, true, '▕███████▊░░░░░░░▏   51 %'],
  ] as const) {
    t.is(terminalLine({ ...half, fraction }, 'row', { ...shape, unicode }).slice(0, 24), expected)
  }
})

test('colours are for terminals that want them', (t) => {
  const line = terminalLine(half, 'row', { width: 80, color: true, unicode: true })
  t.true(line.endsWith('\u001b[31m3 failed\u001b[0m'))
  t.deepEqual(styleIn({ LANG: 'de_DE.UTF-8' }), { isTerminal: true, color: true, unicode: true })
  t.deepEqual(styleIn({ LC_ALL: 'C', LANG: 'de_DE.UTF-8' }), { isTerminal: true, color: true, unicode: false })
  t.like(styleIn({ NO_COLOR: '1' }), { color: false })
  t.like(styleIn({ NO_COLOR: '' }), { color: true })
  t.like(styleIn({ TERM: 'dumb' }), { isTerminal: false, color: false })
  t.deepEqual(styleIn({}, false), { isTerminal: false, color: false, unicode: false })
})

test('what is read has not arrived while there is no connection', (t) => {
  const stats = { rows: 3, failed: 0, bytes: 60, bytesRead: 30, bytesTotal: 30 }
  const view = (connected: boolean) => new Meter().read({ ...stats, connected }, 0)
  t.is(plainLine(view(true), 'row'), '100 %, 3 rows, 30 B of 30 B')
  t.is(plainLine(view(false), 'row'), '100 %, 3 rows, 30 B of 30 B, not connected')
  // Nothing has to be sent yet.
  t.is(plainLine(new Meter().read({ rows: 0, failed: 0, bytes: 0, connected: false }, 0), 'row'), '0 rows, 0 B')
  t.true(terminalLine(view(false), 'row', { width: 40, ...ascii }).endsWith('not connected'))
})

test('without a known end there is no bar, no percentage and no time left', (t) => {
  const view = new Meter().read({ rows: 1, failed: 0, bytes: 5, bytesRead: 1_500 }, 0)
  t.is(terminalLine(view, 'command', { width: 80, ...ascii }), '1 command  1.50 kB')
  t.is(plainLine(half, 'row'), '61 %, 612,345 rows, 1,020,000/s, 48.9 MB of 80.1 MB, 0:12 left, 3 failed')
})

test('rate and time left are those of the last seconds', (t) => {
  const meter = new Meter()
  const read = (second: number, rows: number) =>
    meter.read({ rows, failed: 0, bytes: 0, bytesRead: rows * 10, bytesTotal: 100_000 }, second * 1_000)
  t.like(read(0, 0), { rate: undefined, secondsLeft: undefined, fraction: 0 })
  t.like(read(1, 1_000), { rate: 1_000, secondsLeft: 9, fraction: 0.1 })
  for (let second = 2; second <= 7; second++) read(second, 1_000)
  // Nothing moves any more.
  t.like(read(8, 1_000), { rate: 0, secondsLeft: undefined })
  t.like(read(10, 5_000), { rate: 800 })
})

test('a terminal has one line, drawn again and again', (t) => {
  const { display, stderr, pass } = displayed({ terminal: 80 })
  t.is(display.intervalMs, 250)
  display.progress({ rows: 0, failed: 0, bytes: 0, bytesRead: 0, bytesTotal: 100 })
  pass(1_000)
  display.progress({ rows: 10, failed: 0, bytes: 0, bytesRead: 50, bytesTotal: 100 })
  display.note('a note')
  display.end()
  t.is(stderr.listenerCount('resize'), 0)
  const bar = `[${'#'.repeat(12)}${'-'.repeat(13)}]`
  t.deepEqual(stderr.text.split('\r\u001b[J').slice(1), [
    `[${'-'.repeat(40)}]    0 %  0 rows  0 B of 100 B`,
    `${bar}   50 %  10 rows  10/s  50 B of 100 B  0:01 left`,
    'a note\n',
    `${bar}   50 %  10 rows  10/s  50 B of 100 B  0:01 left\n`,
  ])
})

test('a terminal that becomes narrower is cleared of what was broken into two lines', (t) => {
  const { display, stderr } = displayed({ terminal: 80 })
  display.progress({ rows: 0, failed: 0, bytes: 0, bytesRead: 0, bytesTotal: 100 })
  stderr.text = ''
  stderr.columns = 40
  stderr.emit('resize')
  t.is(stderr.text, '\u001b[1A\r\u001b[J[--------------------]    0 %  0 rows')
  display.end()
})

test('a log has a plain line every ten seconds, and none for a short load', (t) => {
  const { display, stderr, pass } = displayed({})
  t.is(display.intervalMs, 10_000)
  for (let second = 1; second <= 25; second++) {
    pass(1_000)
    display.progress({ rows: second * 100, failed: 0, bytes: 0, bytesRead: second, bytesTotal: 100 })
  }
  display.end()
  t.is(
    stderr.text,
    '9 %, 900 rows, 100/s, 9 B of 100 B, 1:31 left\n18 %, 1,800 rows, 100/s, 18 B of 100 B, 1:22 left\n',
  )
})

test('the interval of the flag holds everywhere', (t) => {
  for (const cli of [{}, { json: true }]) t.is(displayed({ cli, intervalMs: 40 }).display.intervalMs, 40)
  t.is(displayed({ terminal: 80, intervalMs: 40 }).display.intervalMs, 40)
  t.is(displayed({ cli: { json: true } }).display.intervalMs, 1_000)
})

test('numbers are for people', (t) => {
  const { bytes, clock, count, duration } = numbers
  t.deepEqual([0, 999, 1_000, 1_234, 12_345, 999_499, 999_500, 1.5e9].map(bytes), [
    '0 B',
    '999 B',
    '1.00 kB',
    '1.23 kB',
    '12.3 kB',
    '999 kB',
    '1.00 MB',
    '1.50 GB',
  ])
  t.deepEqual([0, 999, 1_000, 59_949, 59_950, 125_000, 3_725_000].map(duration), [
    '0 ms',
    '999 ms',
    '1.0 s',
    '59.9 s',
    '1 min 0 s',
    '2 min 5 s',
    '1 h 2 min',
  ])
  t.deepEqual([0, 7.4, 754, 3_723].map(clock), ['0:00', '0:07', '12:34', '1:02:03'])
  t.is(count(1_234_567.8), '1,234,568')
})

function displayed({ cli = {}, terminal, intervalMs }: { cli?: object; terminal?: number; intervalMs?: number }) {
  const [stdout, stderr] = [new FakeStream(), new FakeStream(terminal)]
  let now = 0
  const display = displayOf(cli, 'row', intervalMs, { stdout, stderr, env: { NO_COLOR: '1' }, now: () => now })
  return { display, stdout, stderr, pass: (ms: number) => (now += ms) }
}
