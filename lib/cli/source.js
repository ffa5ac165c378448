// What a load reads: the operands of a command as a path, templates and a format.
'use strict'

const { basename } = require('node:path')

const { OF_COMMANDS, formatOf } = require('../formats.js')
const { FORMATS } = require('./flags.js')
const { shellQuoted } = require('./quote.js')
const { UsageError } = require('./usage.js')

const PARTED = ['csv', 'tsv']

/**
 * `path` for `importFile`, `name` for messages, `noun`: what the file is made of, `ceiling`: for
 * `maxBufferedBytes`, where it is not the usual one.
 *
 * @throws {UsageError} where the format is not known, and where templates are missing or have no use
 */
function sourceOf({ command, operands, flags }) {
  const [path = '-', ...templates] = operands
  if (path === '') throw new UsageError(`${command}: the name of the file is empty`)
  const name = path === '-' ? 'standard input' : path
  if (command === 'pipe') checkReady(path)
  const format = command === 'pipe' ? 'resp' : (flags.get('--format')?.value ?? knownFormat(path))
  const isReady = OF_COMMANDS.includes(format)
  if (isReady && templates.length > 0) {
    throw new UsageError(`${name} holds commands already (${format}): it takes no template`)
  }
  if (templates.length > 1 && !templates.some((template) => /\s/.test(template))) {
    throw new UsageError(`a template is one word of the line, in quotes: ${shellQuoted(templates.join(' '))}`)
  }
  if (!isReady && templates.length === 0) {
    throw new UsageError(
      `${command} needs a template behind the file: 'HSET user:{id} {*}'; see respipe help templates`,
    )
  }
  for (const { name: given, flag } of flags.values()) {
    if (TABLE_FLAGS.includes(flag.sets) && !PARTED.includes(format)) {
      throw new UsageError(`${given} is for csv and tsv files, not for ${format}`)
    }
  }
  return { path, name, format, template: templateOf(templates), ...(isReady ? COMMANDS : ROWS) }
}

/** Of rows a server would refuse one after the other. */
function checkReady(path) {
  const format = formatOf(path)
  if (format === undefined || OF_COMMANDS.includes(format)) return
  throw new UsageError(`${path} is a ${format} file: respipe import ${shellQuoted(path)} '<template>'`)
}

const ROWS = { noun: 'row' }

/** In bytes: one command may be as large as servers take it. A load gets no further ahead of its server for that. */
const COMMANDS = { noun: 'command', ceiling: 2 ** 30 }

const TABLE_FLAGS = ['load.header', 'load.delimiter']

function templateOf(templates) {
  if (templates.length === 0) return null
  return templates.length === 1 ? templates[0] : templates
}

function knownFormat(path) {
  const format = formatOf(path)
  if (format !== undefined) return format
  const ask = `say --format ${FORMATS.join(', ').replace(/, ([^,]*)$/, ' or $1')}`
  if (path === '-') throw new UsageError(`standard input has no name that tells its format: ${ask}`)
  throw new UsageError(`the ending of ${JSON.stringify(basename(path))} does not tell its format: ${ask}`)
}

module.exports = { sourceOf }
