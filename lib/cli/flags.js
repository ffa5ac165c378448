// The commands and flags of `respipe`, in one table: what reads the command line, --help and completion all come from it.
'use strict'

const { ANYTHING, choice, DELIMITER, FILE, INTEGER, NAMES, SIZE, TEXT } = require('./values.js')

const FORMATS = ['csv', 'tsv', 'ndjson', 'resp', 'commands']

/** `operands`: how many there may be, and how --help shows them. */
const COMMANDS = {
  import: {
    about: 'rows of a file, each made into one command or several',
    operands: { min: 1, max: Infinity, shown: "<file> '<template>' …", takesFiles: true },
  },
  pipe: {
    about: 'ready commands of a file or of standard input, in place of redis-cli --pipe',
    operands: { min: 0, max: 1, shown: '[file]', takesFiles: true },
  },
  check: {
    about: 'parses a file and makes its commands, without a server',
    operands: { min: 1, max: Infinity, shown: "<file> '<template>' …", takesFiles: true },
  },
  completion: {
    about: 'a script that completes commands and flags in your shell',
    operands: { min: 1, max: 1, shown: 'bash | zsh | fish', choices: ['bash', 'zsh', 'fish'] },
  },
  help: {
    about: 'help for a command, or for templates',
    operands: {
      min: 0,
      max: 1,
      shown: '[command | templates]',
      choices: ['import', 'pipe', 'check', 'completion', 'templates'],
    },
  },
}

/** `unused`: who takes a flag and has no use for it, so that a line for `import` becomes one for `check` by one word. */
const LOADS = { commands: ['import', 'pipe'], unused: ['check'] }
const ROWS = { commands: ['import', 'check'], unused: [] }
const ALL = { commands: ['import', 'pipe', 'check'], unused: [] }

/**
 * Of a flag: `names`, the last one its proper name; `value` and `reads`, unless it is a switch, which `means` true where nothing
 * else is said; `sets`: an option of `bulkPipeline()` (pipeline.…), of `importFile()` (load.…) or of the command itself (cli.…);
 * `fallback`: the default, as one would write it; `takenBy`, where it is other than its group's.
 */
const TABLE = [
  {
    title: 'The file',
    takenBy: ROWS,
    flags: [
      {
        names: ['--format'],
        value: 'FORMAT',
        reads: choice(...FORMATS),
        sets: 'load.format',
        about:
          'otherwise by the ending: .csv .tsv .tab .ndjson .jsonl .resp .aof .redis .txt, and .gz or .zst behind it',
      },
      {
        names: ['--header'],
        value: 'NAMES',
        reads: NAMES,
        sets: 'load.header',
        excludes: '--no-header',
        about: 'names of the columns, where the file has no header row: id,name,email',
      },
      {
        names: ['--no-header'],
        means: false,
        sets: 'load.header',
        about: 'the first row is data; the columns are {0} {1} …',
      },
      {
        names: ['--delimiter'],
        value: 'CHAR',
        reads: DELIMITER,
        sets: 'load.delimiter',
        about: "between the fields of a csv file: ';', or \\t for a tab",
        fallback: ',',
      },
      {
        names: ['--on-null'],
        value: 'WHAT',
        reads: choice('throw', 'skip', 'empty'),
        sets: 'pipeline.onNull',
        about: 'a null or missing field of a row: refuse the row, leave the field out, or send an empty string',
        fallback: 'throw',
      },
    ],
  },
  {
    title: 'The server',
    takenBy: LOADS,
    flags: [
      {
        names: ['-h', '--host'],
        value: 'HOST',
        reads: TEXT,
        sets: 'pipeline.host',
        about: 'a host name or an address',
        fallback: '127.0.0.1',
      },
      {
        names: ['-p', '--port'],
        value: 'PORT',
        reads: INTEGER,
        sets: 'pipeline.port',
        about: 'its port',
        fallback: '6379',
      },
      {
        names: ['-s', '--socket'],
        value: 'PATH',
        reads: FILE,
        sets: 'pipeline.path',
        about: 'a unix socket, in place of host and port',
      },
      {
        names: ['-n', '--db'],
        value: 'DB',
        reads: INTEGER,
        sets: 'pipeline.db',
        about: 'number of the database',
        fallback: '0',
      },
      {
        names: ['-u', '--url'],
        value: 'URL',
        reads: TEXT,
        sets: 'pipeline.url',
        isSecret: true,
        about: 'redis://user:password@host:port/db, rediss:// with TLS, unix:///path?db=0; REDIS_URL, VALKEY_URL',
      },
      {
        names: ['--user'],
        value: 'NAME',
        reads: TEXT,
        sets: 'pipeline.username',
        about: 'the ACL user; needs a password',
      },
      {
        names: ['-a', '--pass'],
        value: 'PASSWORD',
        reads: ANYTHING,
        sets: 'pipeline.password',
        isSecret: true,
        excludes: '--askpass',
        about: 'the password. Others can see a command line: REDISCLI_AUTH is safer',
      },
      { names: ['--askpass'], sets: 'cli.askpass', about: 'asks for the password on the terminal' },
      {
        names: ['--no-auth-warning'],
        sets: 'cli.noAuthWarning',
        about: 'no warning about a password on the command line',
      },
      { names: ['--client-name'], value: 'NAME', reads: TEXT, sets: 'pipeline.clientName', about: 'for CLIENT LIST' },
      {
        names: ['--connect-timeout-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.connectTimeoutMs',
        about: 'for TCP, TLS and login together',
        fallback: '10000',
      },
    ],
  },
  {
    title: 'TLS',
    takenBy: LOADS,
    flags: [
      { names: ['--tls'], sets: 'cli.tls', about: 'TLS; a rediss:// url says so as well' },
      {
        names: ['--cacert'],
        value: 'FILE',
        reads: FILE,
        sets: 'pipeline.tls.ca',
        about: "PEM: trusted in place of the system's",
      },
      {
        names: ['--cert'],
        value: 'FILE',
        reads: FILE,
        sets: 'pipeline.tls.cert',
        about: 'PEM: the certificate of the client',
      },
      { names: ['--key'], value: 'FILE', reads: FILE, sets: 'pipeline.tls.key', about: 'PEM: its private key' },
      {
        names: ['--sni'],
        value: 'HOST',
        reads: TEXT,
        sets: 'pipeline.tls.servername',
        about: 'the name on the certificate of the server',
      },
      {
        names: ['--insecure'],
        means: false,
        sets: 'pipeline.tls.rejectUnauthorized',
        about: 'takes any certificate: anyone on the way can read and change the data',
      },
    ],
  },
  {
    title: 'Going on after a fault',
    takenBy: LOADS,
    flags: [
      {
        names: ['--checkpoint'],
        value: 'KEY',
        reads: TEXT,
        sets: 'pipeline.checkpoint',
        about: 'every row exactly once: batches are transactions that note under this key how far they came',
      },
      {
        names: ['--resume'],
        sets: 'load.resume',
        needs: '--checkpoint',
        about: 'goes on where the load that wrote the checkpoint ended',
      },
      {
        names: ['--resend'],
        value: 'WHICH',
        reads: choice('idempotent', 'all', 'none'),
        sets: 'pipeline.resend',
        about: 'what is sent again when a connection is lost before the replies came',
        fallback: 'idempotent',
      },
      { names: ['--transaction'], sets: 'pipeline.transaction', about: 'each batch in MULTI … EXEC' },
      {
        names: ['--retry-first-connect'],
        value: 'N',
        reads: INTEGER,
        sets: 'pipeline.retry.firstConnect',
        about: 'further tries of the very first connection',
        fallback: '3',
      },
      {
        names: ['--retry-attempts'],
        value: 'N',
        reads: INTEGER,
        sets: 'pipeline.retry.attempts',
        about: 'further tries afterwards, without progress; without this flag only time limits them. 0: none at all',
      },
      {
        names: ['--retry-max-elapsed-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.retry.maxElapsedMs',
        about: 'so long without progress, and the load is given up',
        fallback: '600000',
      },
      {
        names: ['--retry-min-delay-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.retry.minDelayMs',
        about: 'the first delay between tries; they double',
        fallback: '50',
      },
      {
        names: ['--retry-max-delay-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.retry.maxDelayMs',
        about: 'the longest delay',
        fallback: '2000',
      },
      {
        names: ['--stall-timeout-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.stallTimeoutMs',
        about: 'so long nothing moves, and the connection is given up',
        fallback: '30000',
      },
      {
        names: ['--wait-replicas'],
        value: 'N',
        reads: INTEGER,
        sets: 'pipeline.waitReplicas.count',
        about: 'at the end, wait until so many replicas hold the data',
      },
      {
        names: ['--wait-replicas-timeout-ms'],
        value: 'MS',
        reads: INTEGER,
        sets: 'pipeline.waitReplicas.timeoutMs',
        needs: '--wait-replicas',
        about: 'so long at most',
        fallback: '10000',
      },
    ],
  },
  {
    title: 'Pace and memory',
    takenBy: LOADS,
    flags: [
      {
        names: ['--throttle-commands'],
        value: 'N',
        reads: INTEGER,
        sets: 'pipeline.throttle.commandsPerSecond',
        about: 'at most so many commands a second, to spare a server in use',
      },
      {
        names: ['--throttle-bytes'],
        value: 'SIZE',
        reads: SIZE,
        sets: 'pipeline.throttle.bytesPerSecond',
        about: 'at most so many bytes a second: 10MB',
      },
      {
        names: ['--max-buffered-bytes'],
        value: 'SIZE',
        reads: SIZE,
        sets: 'pipeline.maxBufferedBytes',
        about: 'ceiling of what is read and not yet answered, and of one command; 1GiB for files of commands',
        fallback: '64MiB',
      },
      {
        names: ['--max-in-flight-bytes'],
        value: 'SIZE',
        reads: SIZE,
        sets: 'pipeline.maxInFlightBytes',
        about: 'ceiling of what is written and not yet answered: what a fault can leave unknown',
        fallback: '1MiB',
      },
      {
        names: ['--reconnect-every'],
        value: 'BATCHES',
        reads: INTEGER,
        sets: 'pipeline.reconnectEvery',
        about: 'a fresh connection after so many batches of 64 KiB, losing nothing; 0: never',
        fallback: '0',
      },
      {
        names: ['--replies'],
        value: 'HOW',
        reads: choice('check', 'off'),
        sets: 'pipeline.replies',
        about: 'off: the server sends none, and what arrived is unknown',
        fallback: 'check',
      },
    ],
  },
  {
    title: 'Failures and output',
    takenBy: ALL,
    flags: [
      {
        names: ['--max-failures'],
        value: 'N',
        reads: INTEGER,
        sets: 'pipeline.maxFailures',
        about: 'how many failures keep their details in memory; check shows so many',
        fallback: '100',
      },
      { names: ['--quiet'], sets: 'cli.quiet', about: 'no progress, and no summary where all went well' },
      {
        names: ['--json'],
        sets: 'cli.json',
        about: 'on standard output one JSON object a line, the last one the summary',
      },
      {
        names: ['--failures'],
        takenBy: LOADS,
        value: 'FILE',
        reads: FILE,
        sets: 'cli.failures',
        about:
          'writes all failures there, as ndjson: row, line, command, key, code, message. With --resume behind what it has',
      },
      {
        names: ['--max-failed'],
        takenBy: LOADS,
        value: 'N',
        reads: INTEGER,
        sets: 'load.maxFailed',
        about: 'gives up once so many commands have failed',
      },
      {
        names: ['--progress-interval-ms'],
        takenBy: LOADS,
        value: 'MS',
        reads: INTEGER,
        sets: 'load.progressIntervalMs',
        about: 'by default 250 on a terminal, 1000 with --json, 10000 elsewhere',
      },
    ],
  },
]

/** Each flag with its `commands` and `unused`. */
const GROUPS = TABLE.map(({ title, takenBy, flags }) => {
  return { title, flags: flags.map((flag) => ({ ...flag, ...(flag.takenBy ?? takenBy) })) }
})

/** These stand alone: whatever else the line says is not looked at. */
const ALONE = [
  { names: ['--help'], about: 'this help; -h as the last word, too' },
  { names: ['-v', '-V', '--version'], about: 'the version of respipe' },
]

/** By each of its names. */
const FLAGS = new Map(
  [...GROUPS.flatMap(({ flags }) => flags), ...ALONE].flatMap((flag) => flag.names.map((name) => [name, flag])),
)

/** The name under which a flag is kept, and which messages use. */
function properName(flag) {
  return flag.names.at(-1)
}

/** The flags that a command has a use for. */
function flagsOf(command) {
  return [...GROUPS.flatMap(({ flags }) => flags.filter(({ commands }) => commands.includes(command))), ...ALONE]
}

/** `sets` of a flag, split into what it is an option of and the path of that option. */
function optionOf(flag) {
  const [target, ...path] = flag.sets.split('.')
  return { target, path }
}

module.exports = { ALONE, COMMANDS, FLAGS, FORMATS, flagsOf, GROUPS, optionOf, properName }
