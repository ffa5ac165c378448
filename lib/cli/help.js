// `--help`, and `respipe help`: flags from the table, examples by hand.
'use strict'

const { EXIT_CODES } = require('./exit.js')
const { ALONE, COMMANDS, GROUPS } = require('./flags.js')

/** Wide enough for the flags, narrow enough to be read. */
const [MIN_WIDTH, MAX_WIDTH] = [60, 100]

/**
 * @param {string} [about] a command or a topic; without it, an overview
 * @param {number} [columns] of the terminal
 */
function helpText(about, columns = MAX_WIDTH) {
  const width = Math.min(Math.max(columns, MIN_WIDTH), MAX_WIDTH)
  if (about === 'templates') return TEMPLATES
  return about === undefined ? overview(width) : commandHelp(about, width)
}

function overview(width) {
  const commands = Object.entries(COMMANDS).map(([name, { about, operands }]) => [`${name} ${operands.shown}`, about])
  return [
    'respipe loads files into Redis and Valkey, and says truthfully what arrived.',
    '',
    table(commands, width),
    '',
    'A first load, of a file with a header row such as id,name,email:',
    '',
    "  respipe check users.csv 'HSET user:{id} {*}'                       look at the commands first",
    "  respipe import users.csv 'HSET user:{id} {*}' -u redis://localhost:6379",
    '',
    'More examples and all flags: respipe help import, pipe, check; templates: respipe help templates',
    '',
    'Environment',
    table(ENVIRONMENT, width),
    '',
    exitCodes(width),
    '',
  ].join('\n')
}

function commandHelp(command, width) {
  const { about, operands } = COMMANDS[command]
  const groups = GROUPS.map(({ title, flags }) => ({
    title,
    flags: flags.filter(({ commands }) => commands.includes(command)),
  }))
  const flags = groups.flatMap(({ title, flags: its }) =>
    its.length === 0 ? [] : ['', title, table(its.map(flagRow), width)],
  )
  return [
    `respipe ${command} ${operands.shown}${flags.length > 0 ? ' [flags]' : ''}`,
    '',
    `${about[0].toUpperCase()}${about.slice(1)}.`,
    '',
    EXAMPLES[command],
    ...flags,
    ...(flags.length > 0 ? ['', 'Others', table(ALONE.map(flagRow), width), '', exitCodes(width)] : []),
    '',
  ].join('\n')
}

function flagRow({ names, value, reads, about, fallback }) {
  const name = `${names.join(', ')}${value === undefined ? '' : ` ${reads.choices?.join('|') ?? value}`}`
  return [name, fallback === undefined ? about : `${about} (default ${fallback})`]
}

const ENVIRONMENT = [
  ['REDIS_URL, VALKEY_URL', 'the server, where the line names none'],
  ['REDISCLI_AUTH', 'the password, where neither the line nor the url has one'],
  ['NO_COLOR', 'no colours'],
]

function exitCodes(width) {
  const rows = EXIT_CODES.map(([code, meaning]) => [String(code), meaning])
  return `Exit codes\n${table(rows, width)}`
}

/** Wider names stand on a line of their own. */
const MAX_NAME = 30

/** Two columns, the second one wrapped. */
function table(rows, width) {
  const names = rows.map(([name]) => name.length).filter((length) => length <= MAX_NAME)
  const indent = Math.max(...names, 0) + 4
  return rows
    .flatMap(([name, text]) => {
      const lines = wrapped(text, width - indent).map((line) => `${' '.repeat(indent)}${line}`)
      const isWide = name.length > indent - 4
      return isWide ? [`  ${name}`, ...lines] : [`  ${name}${lines[0].slice(name.length + 2)}`, ...lines.slice(1)]
    })
    .join('\n')
}

function wrapped(text, width) {
  const lines = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1)
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}

const EXAMPLES = {
  import: `Each row becomes the commands of the templates; respipe help templates tells how they are written.
A row that makes no command is reported with its line, and the load goes on.

  One hash for each row, all columns as fields:
    respipe import users.csv.gz 'HSET user:{id} {*}' -u redis://localhost:6379

  Several commands for each row:
    respipe import users.csv 'HSET user:{id} name {name}' 'EXPIRE user:{id} 86400' 'SADD users {id}'

  Exactly once. After a crash, the same line with --resume goes on where it ended:
    respipe import visits.ndjson 'INCRBY visits:{page} {count}' --checkpoint load:visits

  From another program, without a header row, parted by semicolons, over TLS:
    zcat big.csv.gz | respipe import - 'SET {0} {1}' --format csv --no-header --delimiter ';' \\
      -h redis.internal -p 6380 --tls --cacert ca.pem --user loader --askpass

  Beside users of the server, with a record of every failure:
    respipe import users.csv 'HSET user:{id} {*}' --throttle-commands 20000 --failures failures.ndjson

  Files of ready commands need no template:
    respipe import appendonly.aof --checkpoint restore`,
  pipe: `Takes what redis-cli --pipe takes, RESP or one command a line, and ends with the same line, errors: E, replies: R.
It also says which command failed, survives lost connections, and can go on after a crash. Unlike there, an error within
MULTI … EXEC counts; what would upset the replies (MONITOR, SUBSCRIBE, BLPOP …) counts as failed; and MULTI without EXEC, half a
command or SELECT of another database end the load there, with exit code 2.

  In place of cat data.resp | redis-cli --pipe:
    respipe pipe < data.resp
    respipe pipe data.resp.gz -h redis.internal -a "$PASSWORD"

  Exactly once. After a crash, the same line with --resume goes on where it ended:
    respipe pipe data.resp --checkpoint load:1

  Failures for a script to read:
    generate | respipe pipe --json --failures failures.ndjson`,
  check: `Shows the first ten commands as redis-cli would print them, then each broken row with its line and the reason, then counts.
Takes the flags of import, so that one word is all that changes; those of the server are of no use here.

  respipe check users.csv 'HSET user:{id} {*}'
  respipe check users.csv 'HSET user:{id} born {born|ms}' --on-null skip --max-failures 1000
  respipe check data.resp`,
  completion: `Prints a script for that shell.

  bash:  respipe completion bash > ~/.local/share/bash-completion/completions/respipe
  zsh:   respipe completion zsh > "\${fpath[1]}/_respipe"
  fish:  respipe completion fish > ~/.config/fish/completions/respipe.fish`,
  help: `  respipe help import
  respipe help templates`,
}

const TEMPLATES = `A template is a Redis command with holes, which each row fills. Quote it, so that the shell leaves it alone.

  HSET user:{id} name {name}     a hole is a column of a csv or tsv file, or a member of a JSON object
  user:{country}:{id}            several in one word
  {address.city}                 a path into nested JSON; of a csv file the column of that name
  {0} {1}                        columns by number, with --no-header
  {*}                            all columns or members as field and value, as the last word of HSET, MSET, XADD
                                 and such; of ZADD: member and score
  "two words" 'two words'        quotes as in redis-cli: "…" knows \\n, \\x00, \\", and '…' only \\'
  {{ }}                          a brace

What a value becomes on its way:

  {born|ms}     a date in ISO 8601, as milliseconds since 1970: for PEXPIREAT, scores, fields that sort
  {born|s}      the same in seconds: for EXPIREAT, SET … EXAT
  {tags|json}   as JSON; {*|json} is the whole row
  {active|bool} true and false as 1 and 0

Several templates make several commands of each row, in that order; all of a row arrive, or none is sent. A hole that is null
or missing makes its row fail; --on-null skip leaves that field out, --on-null empty sends an empty string. A mistake in a
template is told with its column before anything is sent.

  With the file users.csv

    id,name,born
    1,Ada,1815-12-10

  respipe check users.csv 'HSET user:{id} name {name} born {born|ms}' 'SADD users {id}' shows

    "HSET" "user:1" "name" "Ada" "born" "-4861728000000"
    "SADD" "users" "1"
`

module.exports = { helpText }
