// Whole runs of `respipe` against a pipeline that does as the test says: what is passed on, what is printed, exit codes.

import type { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from './helpers/test.ts'
import { folderWith, givenUp, refusal, rejecting, respipe, summary, type World } from './helpers/cli.ts'

const SECRET = 'hunter2'
const WARNING = "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe.\n"
const USERS = ['import', 'users.csv', 'HSET user:{id} {*}']

for (const [name, argv, env, pipeline] of [
  ['nothing', [], {}, {}],
  ['host, port and db', ['-h', 'there', '-p', '7', '-n', '2'], {}, { host: 'there', port: 7, db: 2 }],
  ['a socket', ['-s', '/run/redis.sock'], {}, { path: '/run/redis.sock' }],
  ['a url', ['-u', 'redis://there'], { REDIS_URL: 'redis://elsewhere' }, { url: 'redis://there' }],
  ['REDIS_URL', [], { REDIS_URL: 'redis://there' }, { url: 'redis://there' }],
  ['VALKEY_URL', [], { VALKEY_URL: 'valkey://there' }, { url: 'valkey://there' }],
  ['two that agree', [], { REDIS_URL: 'redis://there', VALKEY_URL: 'redis://there' }, { url: 'redis://there' }],
  ['an empty variable', [], { REDIS_URL: '', REDISCLI_AUTH: '' }, {}],
  [
    'a host wins over REDIS_URL and its password',
    ['-h', 'here'],
    { REDIS_URL: `redis://:${SECRET}@there` },
    { host: 'here' },
  ],
  ['a db goes with REDIS_URL', ['-n', '3'], { REDIS_URL: 'redis://there' }, { url: 'redis://there', db: 3 }],
  ['REDISCLI_AUTH', ['--user', 'me'], { REDISCLI_AUTH: SECRET }, { username: 'me', password: SECRET }],
  ['a password wins over REDISCLI_AUTH', ['-a', 'mine'], { REDISCLI_AUTH: SECRET }, { password: 'mine' }],
  ['so does that of a url', ['-u', 'redis://:mine@there'], { REDISCLI_AUTH: SECRET }, { url: 'redis://:mine@there' }],
  ['TLS', ['--tls'], {}, { tls: true }],
  [
    'TLS options',
    ['--tls', '--sni', 'name', '--insecure'],
    {},
    { tls: { servername: 'name', rejectUnauthorized: false } },
  ],
  [
    'TLS options with a url',
    ['-u', 'rediss://there', '--sni', 'x'],
    {},
    { url: 'rediss://there', tls: { servername: 'x' } },
  ],
  ['replicas', ['--wait-replicas', '2'], {}, { waitReplicas: { count: 2, timeoutMs: 10_000 } }],
  [
    'nested options',
    ['--retry-attempts', '0', '--retry-max-delay-ms', '9'],
    {},
    { retry: { attempts: 0, maxDelayMs: 9 } },
  ],
] as [string, string[], Record<string, string>, object][]) {
  test(`the server: ${name}`, async (t) => {
    const { code, imported, stdout, stderr } = await respipe([...USERS, ...argv], { env })
    t.deepEqual({ code, pipeline: imported?.pipeline as object }, { code: 0, pipeline })
    t.false(`${stdout}${stderr}`.includes(SECRET))
  })
}

for (const [name, argv, message, env = {}] of [
  [
    'two urls',
    ['pipe'],
    'REDIS_URL and VALKEY_URL differ: say with --url which server is meant',
    { REDIS_URL: 'redis://a', VALKEY_URL: 'redis://b' },
  ],
  ['a wrong url', ['pipe', '-u', 'http://a'], '--url must begin with'],
  [
    'a wrong variable',
    ['pipe'],
    "REDIS_URL must begin with redis://, valkey://, rediss://, valkeys:// or unix://, got 'there:***'",
    { REDIS_URL: `there:${SECRET}` },
  ],
  ['a certificate without TLS', ['pipe', '--cacert', 'x'], '--cacert needs --tls, or a url that begins with rediss://'],
  [
    'a missing certificate',
    ['pipe', '--tls', '--cacert', '/none'],
    '--cacert: cannot read /none: no such file or directory',
  ],
  ['a user without a password', ['pipe', '--user', 'me'], '--user is given without a password'],
  ['a port out of range', ['pipe', '-p', '70000'], '--port must be an integer from 1 to 65535, got 70000'],
  [
    'a window above the buffer',
    ['pipe', '--max-in-flight-bytes', '2MiB', '--max-buffered-bytes', '1MiB'],
    '--max-in-flight-bytes must be at most --max-buffered-bytes (1048576), got 2097152',
  ],
  [
    'a checkpoint without replies',
    ['pipe', '--checkpoint', 'k', '--replies', 'off'],
    "--checkpoint cannot be used together with replies: 'off'",
  ],
  [
    'no template',
    ['import', 'users.csv'],
    "import needs a template behind the file: 'HSET user:{id} {*}'; see respipe help templates",
  ],
  [
    'a template too many',
    ['import', 'a.resp.gz', 'SET a b'],
    'a.resp.gz holds commands already (resp): it takes no template',
  ],
  [
    'a template without quotes',
    ['import', 'users.csv', 'HSET', 'user:{id}', '{*}'],
    "a template is one word of the line, in quotes: 'HSET user:{id} {*}'",
  ],
  [
    'rows for pipe',
    ['pipe', 'my users.csv.gz'],
    "my users.csv.gz is a csv file: respipe import 'my users.csv.gz' '<template>'",
  ],
  [
    'an unknown ending',
    ['import', 'users.xls', 't'],
    'the ending of "users.xls" does not tell its format: say --format csv, tsv, ndjson, resp or commands',
  ],
  [
    'no ending',
    ['import', '-', 't'],
    'standard input has no name that tells its format: say --format csv, tsv, ndjson, resp or commands',
  ],
  [
    'a header of no table',
    ['import', 'a.ndjson', 't', '--no-header'],
    '--no-header is for csv and tsv files, not for ndjson',
  ],
  [
    'a folder for failures',
    ['pipe', '--failures', '/'],
    '--failures: cannot write /: illegal operation on a directory',
  ],
] as [string, string[], string, Record<string, string>?][]) {
  test(`one line and exit code 2: ${name}`, async (t) => {
    const { code, stdout, stderr, imported } = await respipe(argv, { env })
    t.is(stderr.split('\n').length, 2, stderr)
    t.true(stderr.startsWith(`respipe: ${message}`), stderr)
    t.deepEqual({ code, stdout, imported }, { code: 2, stdout: '', imported: undefined })
    t.false(stderr.includes(SECRET))
  })
}

test('a password on the line is warned of, as redis-cli does', async (t) => {
  for (const argv of [
    ['-a', SECRET],
    ['--pass', SECRET],
    ['-u', `redis://:${SECRET}@there`],
  ]) {
    t.is((await respipe(['pipe', ...argv])).stderr, WARNING)
    t.is((await respipe(['pipe', '--no-auth-warning', ...argv])).stderr, '')
  }
  t.is((await respipe(['pipe'], { env: { REDISCLI_AUTH: SECRET, REDIS_URL: `redis://:${SECRET}@there` } })).stderr, '')
})

for (const [typed, password] of [
  ['secret\r', 'secret'],
  ['secrex\u007ft\n', 'secret'],
  ['wrong\u0015secret\u0004', 'secret'],
  ['\r', ''],
] as const) {
  test(`--askpass takes what is typed: ${JSON.stringify(typed)}`, async (t) => {
    const env = { REDISCLI_AUTH: 'of the environment' }
    const { imported, stderr } = await respipe([...USERS, '--askpass'], { typed, env })
    t.deepEqual(
      { pipeline: imported?.pipeline as object, stderr },
      { pipeline: { password }, stderr: 'Please input password: \n' },
    )
  })
}

test('--askpass without an answer is a line and exit code 2', async (t) => {
  for (const [typed, why] of [
    ['sec\u0003', 'no password was given'],
    ['', 'the terminal was closed'],
  ] as const) {
    const { code, stderr } = await respipe(['pipe', '--askpass'], { typed })
    t.deepEqual({ code, stderr }, { code: 2, stderr: `Please input password: \nrespipe: --askpass: ${why}\n` })
  }
})

for (const [file, format] of [
  ['a.csv', 'csv'],
  ['a.TSV.gz', 'tsv'],
  ['/x/a.ndjson.zst', 'ndjson'],
  ['a.jsonl', 'ndjson'],
] as const) {
  test(`${file} is ${format}`, async (t) => {
    const { imported } = await respipe(['import', file, 'SADD users {id}'])
    t.like(imported, { path: file, template: 'SADD users {id}', options: { format } })
  })
}

for (const [file, format] of [
  ['a.resp', 'resp'],
  ['appendonly.aof', 'resp'],
  ['a.txt', 'commands'],
  ['a.redis.gz', 'commands'],
] as const) {
  test(`${file} needs no template`, async (t) => {
    t.like((await respipe(['import', file])).imported, { path: file, template: null, options: { format } })
  })
}

test('a command of a file may be larger than a row', async (t) => {
  for (const [argv, pipeline] of [
    [['pipe'], { maxBufferedBytes: 2 ** 30 }],
    [['import', 'a.resp', '--max-buffered-bytes', '1MB'], { maxBufferedBytes: 1e6 }],
    [USERS, {}],
  ] as const) {
    t.deepEqual((await respipe([...argv])).imported?.pipeline, pipeline)
  }
})

test('options of the file and of the load are passed on', async (t) => {
  const flags = [
    '--format',
    'csv',
    '--header',
    'id,name',
    '--delimiter',
    ';',
    '--checkpoint',
    'k',
    '--resume',
    '--max-failed',
    '5',
  ]
  const { imported } = await respipe([
    'import',
    '-',
    'A {id}',
    'B {name}',
    ...flags,
    '--on-null',
    'skip',
    '--progress-interval-ms',
    '50',
  ])
  t.deepEqual(imported?.pipeline as object, { checkpoint: 'k', onNull: 'skip' })
  t.deepEqual(imported?.template, ['A {id}', 'B {name}'])
  const { format, header, delimiter, resume, maxFailed, progressIntervalMs } = imported?.options ?? {}
  t.deepEqual(
    { path: imported?.path, format, header, delimiter, resume, maxFailed, progressIntervalMs },
    {
      path: '-',
      format: 'csv',
      header: ['id', 'name'],
      delimiter: ';',
      resume: true,
      maxFailed: 5,
      progressIntervalMs: 50,
    },
  )
})

test('a load that went well is told in words', async (t) => {
  const { code, stdout, stderr } = await respipe(USERS, {
    async importFile({ onProgress }) {
      onProgress({ rows: 1_000_000, commands: 2_000_000 })
      return summary({ succeeded: 2_000_000, elapsedMs: 2_000, bytes: 160_000_000 })
    },
  })
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  t.is(
    stdout,
    '1,000,000 rows of users.csv in 2.0 s: 500,000 rows/s\n  arrived  2,000,000 commands of 2,000,000, 160 MB in all\n',
  )
})

const failing: World = {
  async importFile({ onFailure, onProgress }) {
    for (let row = 0; row < 1_000; row++) onFailure(refusal(row))
    onProgress({ rows: 3_000 })
    return summary({
      succeeded: 1_990,
      failed: 1_000,
      unknown: 10,
      errors: { OOM: 2, WRONGTYPE: 998 },
      failures: [refusal(0)],
      reconnects: 1,
      resent: 40,
    })
  },
}

test('what failed and what is unknown is told, with the first failures', async (t) => {
  const { code, stdout, stderr } = await respipe(USERS, failing)
  t.is(code, 1)
  t.is(
    stdout,
    `3,000 rows of users.csv in 1.0 s: 3,000 rows/s
  arrived      1,990 commands of 3,000, 300 kB in all
  failed       1,000 commands: WRONGTYPE 998, OOM 2
  unknown      10 commands: executed or not, no reply told
  reconnected  1 time
  sent again   40 commands
`,
  )
  const lines = stderr.split('\n')
  t.is(lines[0], 'users.csv:2: HSET user:0: WRONGTYPE Operation against a key holding the wrong kind of value')
  t.deepEqual(lines.slice(10), ['…and 990 more', ''])
})

test('what only repeats why the load was given up is counted, and not listed', async (t) => {
  const lost = { code: 'RESPIPE_CONNECT', message: 'cannot connect' }
  const { stdout, stderr } = await respipe(USERS, {
    importFile({ onFailure, onProgress }) {
      onFailure(refusal(0))
      for (let row = 1; row < 5; row++) onFailure({ ...refusal(row), ...lost })
      onProgress({ rows: 5 })
      const errors = { WRONGTYPE: 1, RESPIPE_CONNECT: 4 }
      return Promise.reject(givenUp(lost.code, lost.message, summary({ failed: 5, errors })))
    },
  })
  t.is(stderr, `users.csv:2: HSET user:0: ${refusal(0).message}\nrespipe: cannot connect\n`)
  t.is(
    stdout,
    `5 rows of users.csv in 1.0 s
  arrived  0 commands of 5, 500 B in all
  failed   5 commands: RESPIPE_CONNECT 4, WRONGTYPE 1
`,
  )
})

test('why the file could not go on is said once, in flags', async (t) => {
  const reason = 'a command of more than maxBufferedBytes'
  const { stderr } = await respipe(['pipe'], {
    importFile({ onFailure }) {
      onFailure({ ...refusal(0), code: 'RESPIPE_FORBIDDEN_COMMAND', message: reason })
      const outcome = summary({ succeeded: 1, failed: 1 })
      return Promise.reject(givenUp('RESPIPE_IO', `cannot read standard input: row 1: ${reason}`, outcome))
    },
  })
  t.is(stderr, 'respipe: cannot read standard input: row 1: a command of more than --max-buffered-bytes\n')
})

test('a load that goes on does not count the rows from before as its own speed', async (t) => {
  const { stdout } = await respipe([...USERS, '--checkpoint', 'k', '--resume'], {
    async importFile({ onProgress }) {
      onProgress({ rows: 1_000 })
      return summary({ succeeded: 10 })
    },
  })
  t.is(
    stdout,
    '1,000 rows of users.csv, those from before included, in 1.0 s\n  arrived  10 commands of 10, 1.00 kB in all\n',
  )
})

test('--failures has all of them', async (t) => {
  const path = join(folderWith(t), 'failures.ndjson')
  const { stderr } = await respipe([...USERS, '--failures', path], failing)
  t.true(stderr.endsWith(`…and 990 more: see ${path}\n`))
  t.is(readFileSync(path, 'utf8').trimEnd().split('\n').length, 1_000)
})

test('--quiet says nothing where all went well, and what is wrong where not', async (t) => {
  const well = await respipe([...USERS, '--quiet'], { terminal: 80 })
  t.deepEqual({ code: well.code, text: well.stdout + well.stderr }, { code: 0, text: '' })
  const { code, stdout, stderr } = await respipe([...USERS, '--quiet'], { ...failing, terminal: 80 })
  t.is(code, 1)
  t.regex(stdout, /failed {7}1,000 commands/)
  t.false(stderr.includes('\u001b'))
})

test('--json has nothing but objects on standard output, the last one the summary', async (t) => {
  const { code, stdout, stderr } = await respipe([...USERS, '--json'], { ...failing, terminal: 80 })
  const objects = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.deepEqual({ code, stderr }, { code: 1, stderr: '' })
  t.deepEqual(objects[0], { event: 'progress', rows: 3_000 })
  const { key, index, ...rest } = refusal(0)
  t.deepEqual(objects[1], {
    event: 'summary',
    file: 'users.csv',
    rows: 3_000,
    commands: 3_000,
    succeeded: 1_990,
    failed: 1_000,
    unknown: 10,
    bytes: 300_000,
    errors: { OOM: 2, WRONGTYPE: 998 },
    failures: [{ ...rest, key: 'user:0' }],
    elapsedMs: 1_000,
    batches: 1,
    reconnects: 1,
    resent: 40,
    exitCode: 1,
  })
  t.is(objects.length, 2)
  t.is(typeof index, 'number')
  t.is(String(key), 'user:0')
})

test('pipe ends with the line of redis-cli --pipe, whatever happens', async (t) => {
  const outcome = summary({ succeeded: 7, failed: 2 })
  for (const importFile of [async () => outcome, rejecting('RESPIPE_CONNECTION_LOST', 'lost', outcome)]) {
    const { stdout } = await respipe(['pipe'], { importFile })
    t.true(stdout.endsWith('\nerrors: 2, replies: 9\n'), stdout)
  }
})

for (const [code, exitCode] of [
  ['RESPIPE_CONNECT', 3],
  ['RESPIPE_TLS', 3],
  ['RESPIPE_AUTH', 3],
  ['RESPIPE_CONNECTION_LOST', 3],
  ['RESPIPE_STALLED', 3],
  ['RESPIPE_PROTOCOL', 3],
  ['RESPIPE_REFUSED', 3],
  ['RESPIPE_TOO_MANY_FAILURES', 1],
  ['RESPIPE_IO', 2],
  ['RESPIPE_INTERNAL', 1],
] as const) {
  test(`${code} gives exit code ${exitCode}`, async (t) => {
    const importFile = rejecting(code, 'why\u001b', summary({ succeeded: 1, failed: 1 }))
    const ran = await respipe([...USERS, '--checkpoint', 'k', '-a', SECRET, '--no-auth-warning'], { importFile })
    t.is(ran.code, exitCode)
    t.is(ran.imported?.destroyed, 1)
    t.regex(ran.stdout, /arrived {2}1 command of 2/)
    t.is(
      ran.stderr,
      `respipe: why\\x1b
To go on where it ended:
  respipe import users.csv 'HSET user:{id} {*}' --checkpoint k --no-auth-warning --resume
  (the password is left out: REDISCLI_AUTH or --askpass gives it)
`,
    )
  })
}

test('what is wrong before anything was sent is one line', async (t) => {
  for (const code of ['RESPIPE_INVALID_ARGUMENT', 'RESPIPE_FORBIDDEN_COMMAND', 'RESPIPE_IO', 'RESPIPE_UNSUPPORTED']) {
    for (const outcome of [undefined, summary({})]) {
      const importFile = rejecting(code, 'template, column 3: why', outcome)
      const ran = await respipe([...USERS, '--json'], { importFile })
      t.deepEqual(
        { ...ran, imported: 0 },
        { code: 2, stdout: '', stderr: 'respipe: template, column 3: why\n', exits: [], imported: 0 },
      )
    }
  }
})

test('replicas that do not have the data in time make it exit code 3', async (t) => {
  const close = rejecting('RESPIPE_REFUSED', 'only 1 of 2 replicas', summary({ succeeded: 5 }))
  const ran = await respipe([...USERS, '--wait-replicas', '2'], {
    importFile: async () => summary({ succeeded: 5 }),
    close,
  })
  t.is(ran.code, 3)
  t.regex(ran.stdout, /arrived {2}5 commands of 5/)
  t.is(ran.stderr, 'respipe: only 1 of 2 replicas\n')
})

const unasked = (serverErrorReplies: number | null) => ({
  importFile: async () => summary({ unknown: 5 }),
  close: async () => summary({ serverErrorReplies }),
})

test('with replies off only errors that the server counted are failures', async (t) => {
  const argv = [...USERS, '--replies', 'off']
  t.is((await respipe(argv, unasked(0))).code, 0)
  t.is((await respipe(argv, unasked(null))).code, 0)
  const ran = await respipe(argv, unasked(2))
  t.is(ran.code, 1)
  t.regex(ran.stdout, /error replies {2}2 of the server, to all its clients/)
  t.is((await respipe(USERS, unasked(0))).code, 1)
})

/** Waits for the signal to abort the load, as a load does. */
const untilStopped: NonNullable<World['importFile']> = async ({ signal, onProgress }, { signals }) => {
  onProgress({ rows: 12 })
  signals.emit('SIGINT')
  if (!signal.aborted) throw new Error('not aborted')
  throw givenUp('RESPIPE_ABORTED', 'the load was aborted', summary({ succeeded: 12 }))
}

test('Ctrl-C ends at a fence, and says what was loaded and how to go on', async (t) => {
  const argv = [...USERS, '--checkpoint', 'k', '-u', `redis://me:${SECRET}@there`, '--no-auth-warning']
  const { code, stdout, stderr, exits } = await respipe(argv, { importFile: untilStopped })
  t.deepEqual({ code, exits }, { code: 130, exits: [] })
  t.regex(stdout, /^12 rows of users\.csv/)
  t.is(
    stderr,
    `respipe: stopping at the next fence; once more ends it at once
respipe: stopped at a fence, by SIGINT
To go on where it ended:
  respipe import users.csv 'HSET user:{id} {*}' --checkpoint k --url redis://me@there --no-auth-warning --resume
  (the password is left out: REDISCLI_AUTH or --askpass gives it)
`,
  )
})

test('without a checkpoint a stopped load says that it has to begin anew', async (t) => {
  const { stderr } = await respipe(['pipe'], { importFile: untilStopped })
  t.true(
    stderr.endsWith(
      'Without --checkpoint nothing tells a later run where this one ended: run it again from the start.\n',
    ),
  )
  const again = await respipe(['pipe', '--checkpoint', 'k'], { importFile: untilStopped })
  t.true(again.stderr.endsWith('  respipe pipe --checkpoint k --resume\n  (standard input has to be the same again)\n'))
})

test('--json says how to go on, too', async (t) => {
  const { code, stdout } = await respipe(['pipe', 'a.resp', '--checkpoint', 'k', '--json'], {
    importFile: untilStopped,
  })
  t.like(JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? ''), {
    signal: 'SIGINT',
    again: 'respipe pipe a.resp --checkpoint k --json --resume',
    error: { code: 'RESPIPE_ABORTED', message: 'the load was aborted' },
    exitCode: 130,
  })
  t.is(code, 130)
})

test('a second Ctrl-C ends it at once, and the failures by then are written', async (t) => {
  const path = join(folderWith(t), 'failures.ndjson')
  const { exits, imported } = await respipe(['pipe', '--failures', path], {
    async importFile({ onFailure }, { signals, pass }) {
      onFailure(refusal(0))
      signals.emit('SIGTERM')
      // The same wish by way of a wrapper.
      signals.emit('SIGINT')
      pass(500)
      signals.emit('SIGTERM')
      t.is(readFileSync(path, 'utf8').length > 0, true)
      throw givenUp('RESPIPE_CLOSED', 'the pipeline is closed', summary({}))
    },
  })
  t.deepEqual(exits, [143])
  t.is(imported?.destroyed, 2)
})

test('a load that came to its end all the same has the exit code of its outcome', async (t) => {
  const { code } = await respipe(USERS, {
    async importFile(_, { signals }) {
      signals.emit('SIGINT')
      return summary({ succeeded: 1 })
    },
  })
  t.is(code, 0)
})

test('a new connection is told, and one by rotation is not', async (t) => {
  const world: World = {
    async importFile(_, { bulk }) {
      bulk.emit('reconnect', { reason: 'rotation', address: 'there:7' })
      bulk.emit('reconnect', { reason: 'lost', address: 'there:7' })
      return summary({})
    },
  }
  t.is((await respipe(USERS, world)).stderr, 'respipe: connected again, to there:7 (lost)\n')
  t.is((await respipe([...USERS, '--quiet'], world)).stderr, '')
})

const watched: World = {
  async importFile({ onProgress }) {
    onProgress({ rows: 1, failed: 0, bytes: 10 })
    return summary({ succeeded: 1 })
  },
}

test('nothing is drawn over commands that are typed', async (t) => {
  const { stderr } = await respipe(['pipe'], { ...watched, terminal: 80, isTyped: true })
  t.is(stderr, 'respipe: reading from the terminal, up to Ctrl-D at the beginning of a line\n')
  t.not((await respipe(['pipe'], { ...watched, terminal: 80 })).stderr, '')
})

test('nothing of ours is left to listen for signals', async (t) => {
  const seen: EventEmitter[] = []
  const listening = () => seen.map((signals) => signals.listenerCount('SIGINT') + signals.listenerCount('SIGTERM'))
  await respipe(USERS, {
    async importFile(_, { signals }) {
      seen.push(signals)
      t.deepEqual(listening(), [2])
      return summary({})
    },
  })
  t.deepEqual(listening(), [0])
})

test('an error that is not of the package passes through', async (t) => {
  const world = { importFile: () => Promise.reject(new TypeError('a defect')) }
  await t.throwsAsync(respipe(USERS, world), { instanceOf: TypeError })
})

const resp = (...words: (string | Buffer)[]) =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => [
      Buffer.from(`$${Buffer.byteLength(word)}\r\n`),
      Buffer.from(word),
      Buffer.from('\r\n'),
    ]),
  ])

const checked = {
  rows: 20,
  commands: 18,
  bytes: 1_234,
  failed: 2,
  errors: { RESPIPE_INVALID_ARGUMENT: 2 },
  failures: [
    { row: 3, line: 5, command: 'HSET', code: 'RESPIPE_INVALID_ARGUMENT', message: 'text behind a closing quote' },
    {
      row: 7,
      line: 9,
      command: 'HSET',
      code: 'RESPIPE_INVALID_ARGUMENT',
      message: 'the row has 3 fields, the header 2',
    },
  ],
  sample: [resp('HSET', 'user:1', 'name', 'a "b"\r\n'), resp('SET', Buffer.from([0xff]), '')],
}

test('check shows the first commands, the broken rows and the counts', async (t) => {
  let seen: unknown
  const checkFile: World['checkFile'] = async (path, template, { signal, ...options }) => {
    seen = { path, template, options, signal: signal instanceof AbortSignal }
    return checked
  }
  const flags = ['--no-header', '--delimiter', ';', '--on-null', 'empty', '--max-failures', '7', '-h', 'there']
  const { code, stdout, stderr } = await respipe(['check', 'users.csv', 'A 1', 'B 2', ...flags], { checkFile })
  t.deepEqual(seen, {
    path: 'users.csv',
    template: ['A 1', 'B 2'],
    options: { format: 'csv', header: false, delimiter: ';', onNull: 'empty', maxFailures: 7 },
    signal: true,
  })
  t.deepEqual({ code, stderr }, { code: 1, stderr: '' })
  t.is(
    stdout,
    String.raw`"HSET" "user:1" "name" "a \"b\"\r\n"
"SET" "\xff" ""
…and 16 more

users.csv:5: text behind a closing quote
users.csv:9: the row has 3 fields, the header 2
20 rows, 2 are broken; 18 commands, 1.23 kB
`,
  )
})

test('check with nothing broken ends with 0', async (t) => {
  const sound = { ...checked, failed: 0, failures: [], commands: 2, rows: 1 }
  const checkFile = async () => sound
  const { code, stdout } = await respipe(['check', 'data.resp'], { checkFile })
  t.is(code, 0)
  t.true(stdout.endsWith('"SET" "\\xff" ""\n\n1 command, none is broken; 2 commands, 1.23 kB\n'), stdout)
  t.is((await respipe(['check', 'data.resp', '--quiet'], { checkFile })).stdout, '')
})

test('check --json is one object', async (t) => {
  const { stdout } = await respipe(['check', 'users.csv', 'A', '--json'], { checkFile: async () => checked })
  const { sample, failures, ...counts } = checked
  t.deepEqual(JSON.parse(stdout), {
    event: 'summary',
    file: 'users.csv',
    ...counts,
    failures,
    sample: [
      ['HSET', 'user:1', 'name', 'a "b"\r\n'],
      ['SET', { base64: '/w==' }, ''],
    ],
    exitCode: 1,
  })
  t.is(sample.length, 2)
})

test('check ends with 2 where template or file are wrong', async (t) => {
  const checkFile = rejecting('RESPIPE_IO', 'cannot read users.csv: no such file')
  const { code, stdout, stderr } = await respipe(['check', 'users.csv', 'A'], { checkFile })
  t.deepEqual(
    { code, stdout, stderr },
    { code: 2, stdout: '', stderr: 'respipe: cannot read users.csv: no such file\n' },
  )
})
