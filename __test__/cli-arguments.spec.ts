// The command line of `respipe`: what it means, and in which words it is refused.

import { createRequire } from 'node:module'
import test from './helpers/test.ts'

interface Call {
  command: string
  operands: string[]
  flags: Map<string, { value: unknown }>
}
const require = createRequire(import.meta.url)
const {
  lineOf,
  readArguments,
}: {
  lineOf(call: Call, more?: string[]): string
  readArguments(argv: string[]): Call
} = require('../lib/cli/arguments.js')

const SECRET = 'hunter2'

for (const [name, argv, expected] of [
  [
    'flags stand anywhere',
    ['-p', '7', 'pipe', '--tls', 'f'],
    { operands: ['f'], flags: { '--port': 7, '--tls': true } },
  ],
  ['a value stands behind = as well', ['pipe', '--port=7'], { operands: [], flags: { '--port': 7 } }],
  ['only the first = parts', ['pipe', '--pass=a=b'], { operands: [], flags: { '--pass': 'a=b' } }],
  ['a value may begin with -', ['pipe', '-a', '-x'], { operands: [], flags: { '--pass': '-x' } }],
  ['behind = it may look like a flag', ['pipe', '--pass=--tls'], { operands: [], flags: { '--pass': '--tls' } }],
  ['a password may be empty', ['pipe', '--pass='], { operands: [], flags: { '--pass': '' } }],
  ['- is an operand', ['pipe', '-'], { operands: ['-'], flags: {} }],
  ['behind -- all is operands', ['pipe', '--', '--tls'], { operands: ['--tls'], flags: {} }],
  ['-h takes a host', ['pipe', '-h', 'there', 'f'], { operands: ['f'], flags: { '--host': 'there' } }],
  [
    'a switch can mean false',
    ['import', 'f', 't', '--no-header'],
    { operands: ['f', 't'], flags: { '--no-header': false } },
  ],
  ['names are parted', ['import', 'f', '--header', 'a,b c'], { operands: ['f'], flags: { '--header': ['a', 'b c'] } }],
  [
    'a delimiter can be a tab',
    ['import', 'f', '--delimiter', '\\t'],
    { operands: ['f'], flags: { '--delimiter': '\t' } },
  ],
  ['check takes the flags of import', ['check', 'f', 't', '-p', '7'], { operands: ['f', 't'], flags: { '--port': 7 } }],
] as const) {
  test(`reads: ${name}`, (t) => {
    const { operands, flags } = readArguments([...argv])
    t.deepEqual({ operands, flags: Object.fromEntries([...flags].map(([flag, { value }]) => [flag, value])) }, {
      ...expected,
      operands: [...expected.operands],
    } as object)
  })
}

for (const [text, size] of [
  ['65536', 65_536],
  ['1B', 1],
  ['64KiB', 65_536],
  ['64kib', 65_536],
  ['1MiB', 1_048_576],
  ['10MB', 10_000_000],
  ['1.5 MiB', 1_572_864],
  ['2GiB', 2_147_483_648],
] as const) {
  test(`reads the size ${text}`, (t) => {
    t.is(readArguments(['pipe', '--max-buffered-bytes', text]).flags.get('--max-buffered-bytes')?.value, size)
  })
}

for (const [argv, message] of [
  [[], 'a command is missing, import, pipe, check, completion, help: respipe --help tells more'],
  [['imprt', 'f'], 'unknown command "imprt", did you mean import?'],
  [['users.csv', 't'], 'unknown command "users.csv", known are import, pipe, check, completion, help'],
  [['import'], "import needs a file: respipe import <file> '<template>' …"],
  [['pipe', 'a', 'b'], 'pipe takes one word, not 2: respipe pipe [file]'],
  [['completion', 'tcsh'], 'completion takes bash, zsh, fish, not "tcsh"'],
  [['pipe', '--max-bufered-bytes', '1'], 'unknown flag --max-bufered-bytes, did you mean --max-buffered-bytes?'],
  [['pipe', '--cacertdir', '/etc'], 'unknown flag --cacertdir, did you mean --cacert?'],
  [['pipe', '--frobnicate'], 'unknown flag --frobnicate: respipe --help lists them'],
  [['pipe', `--password=${SECRET}`], 'unknown flag --password, did you mean --pass?'],
  [['pipe', '-x'], 'unknown flag -x: respipe --help lists them'],
  [['pipe', `--pasword=${SECRET}`], 'unknown flag --pasword: respipe --help lists them'],
  [['pipe', `-a${SECRET}`], 'unknown flag -a…: write a blank between -a and its value'],
  [['pipe', '-p'], '-p needs a value: an integer, 0 or more'],
  [['pipe', '--checkpoint', '--resume'], '--checkpoint needs a value: text, not empty'],
  [['pipe', '--checkpoint', '--'], '--checkpoint needs a value: text, not empty'],
  [['pipe', '--checkpoint='], '--checkpoint must be text, not empty, got ""'],
  [['pipe', '--url='], '--url must be text, not empty'],
  [['pipe', '--quiet=yes'], '--quiet takes no value'],
  [['pipe', '--quiet', '--quiet'], '--quiet is given twice'],
  [['pipe', '-a', SECRET, '--pass', SECRET], '-a and --pass are the same, given twice'],
  [['pipe', '-a', SECRET, '--askpass'], '-a and --askpass exclude each other'],
  [['import', 'f', 't', '--header', 'a', '--no-header'], '--header and --no-header exclude each other'],
  [['pipe', '--resume'], '--resume needs --checkpoint'],
  [['pipe', '--wait-replicas-timeout-ms', '5'], '--wait-replicas-timeout-ms needs --wait-replicas'],
  [['pipe', '--format', 'csv'], '--format is not for pipe, but for import, check'],
  [['pipe', '-p', '-1'], '-p must be an integer, 0 or more, got "-1"'],
  [['pipe', '-p', '1e3'], '-p must be an integer, 0 or more, got "1e3"'],
  [['pipe', '--replies', 'collect'], '--replies must be check or off, got "collect"'],
  [['import', 'f', '--format', 'xml'], '--format must be csv, tsv, ndjson, resp or commands, got "xml"'],
  [
    ['import', 'f', '--delimiter', ';;'],
    '--delimiter must be one ASCII character other than a quote, or \\t, got ";;"',
  ],
  [['import', 'f', '--header', 'a,,b'], '--header must be names parted by commas, like id,name,email, got "a,,b"'],
  ...['64K', '1.5', '0x10', '1 Mb/s', '-1MB', '9999999GiB', 'constructorb'].map((size) => [
    ['pipe', '--throttle-bytes', size],
    `--throttle-bytes must be a size like 65536, 64KiB, 1MiB or 10MB, got ${JSON.stringify(size)}`,
  ]),
] as [string[], string][]) {
  test(`refuses: respipe ${argv.join(' ').replaceAll(SECRET, '…')}`, (t) => {
    t.is(t.throws(() => readArguments(argv))?.message, message)
    t.false(message.includes(SECRET))
  })
}

test('--help and a last -h ask for help, whatever else there is', (t) => {
  for (const argv of [['--help'], ['-h'], ['--nonsense', '--help']]) t.deepEqual(readArguments(argv).operands, [])
  for (const argv of [
    ['import', 'f', '--help'],
    ['import', 'f', 't', '-h'],
  ]) {
    const { command, operands } = readArguments(argv)
    t.deepEqual({ command, operands }, { command: 'help', operands: ['import'] })
  }
  t.is(readArguments(['pipe', '--', '--help']).command, 'pipe')
  for (const name of ['-v', '-V', '--version']) t.is(readArguments([name]).command, 'version')
})

const again = (...argv: string[]) => lineOf(readArguments(argv), ['--resume'])

test('a line can be written again, without what is secret', (t) => {
  t.is(
    again('import', 'my users.csv', "HSET user:{id} name {name} note 'it'", '--checkpoint', 'load 1', '-p', '7'),
    String.raw`respipe import 'my users.csv' 'HSET user:{id} name {name} note '\''it'\''' --checkpoint 'load 1' --port 7 --resume`,
  )
  t.is(again('pipe', '--resume', '--checkpoint', 'k', '-a', SECRET), 'respipe pipe --resume --checkpoint k')
  t.is(again('pipe', '--checkpoint=-k', '--', '-f'), 'respipe pipe --checkpoint=-k --resume -- -f')
  t.is(again('pipe', '-', '--max-buffered-bytes', '8MiB'), 'respipe pipe - --max-buffered-bytes 8MiB --resume')
  for (const [url, shown] of [
    [`redis://me:${SECRET}@there:7/1`, 'redis://me@there:7/1'],
    [`redis://:${SECRET}@there`, 'redis://there'],
    [`redis://:a@${SECRET}@there`, 'redis://there'],
    [`unix://me:${SECRET}@/run/redis.sock?db=1`, "'unix://me@/run/redis.sock?db=1'"],
    ['rediss://there', 'rediss://there'],
  ] as const) {
    t.is(again('pipe', '-u', url), `respipe pipe --url ${shown} --resume`)
  }
})
