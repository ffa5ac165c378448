'use strict'

// A file to commands: what it is and how it is written is settled here, all else is done natively.

const { types } = require('node:util')
const { describe } = require('./arguments.js')
const { RespipeError } = require('./errors.js')
const { ENDINGS, OF_COMMANDS, formatOf } = require('./formats.js')
const { Load } = require('./load.js')
const { textsOf } = require('./template.js')

/**
 * @param {import('./load.js').Host} host
 * @param {unknown} path
 * @param {unknown} template
 * @param {object} options as `readLoadOptions` returns them
 */
async function importFile(host, path, template, options) {
  const load = new Load(host, options)
  return read(host, load, { ...fileOf(path, template, options), rehearsal: false }, options)
}

/** The same without a server: `{ rows, commands, bytes, failed, errors, failures, sample }`. */
async function checkFile(host, path, template, options) {
  const load = new Load(host, { ...NO_CALLBACKS, ...options }, { isRehearsal: true })
  let seen
  load.onEnd = () => {
    const { rows } = host.native.importStats(host.handle, load.number)
    seen = { rows, sample: host.native.importSample(host.handle, load.number) }
  }
  const file = { ...fileOf(path, template, options), rehearsal: true }
  const { succeeded, bytes, failed, errors, failures } = await read(host, load, file, options)
  return { rows: seen.rows, commands: succeeded, bytes, failed, errors, failures, sample: seen.sample }
}

const NO_CALLBACKS = { onProgress: null, onFailure: null, maxFailed: Infinity, resume: false }

async function read(host, load, file, { maxFailed = Infinity }) {
  const most = maxFailed ?? NaN
  try {
    await load.hand((first, ticket) => {
      const number = host.native.importFile(host.handle, ticket, most, first, { ...file, onNull: host.onNull })
      if (number === undefined) throw host.problem()
      return number
    })
  } catch (error) {
    load.halt(error)
  }
  return load.finish()
}

/** What native code is to read. */
function fileOf(path, template, { format, header, delimiter }) {
  const name = pathOf(path)
  const kind = format ?? formatOf(name)
  if (kind === undefined) throw unknownFormat()
  const takesTemplate = !OF_COMMANDS.includes(kind)
  if (takesTemplate && (template === null || template === undefined)) {
    throw invalid(`a ${kind} file needs a template, which makes commands of its rows`)
  }
  if (!takesTemplate && template !== null && template !== undefined) {
    throw invalid(`a file of commands takes no template (format ${kind}): pass null`)
  }
  const isText = kind === 'csv' || kind === 'tsv'
  if (!isText && (delimiter !== null || header !== true)) {
    throw new RespipeError('RESPIPE_INVALID_OPTION', `delimiter and header are for csv and tsv files, not for ${kind}`)
  }
  return {
    path: name,
    format: kind,
    texts: takesTemplate ? textsOf(template) : [],
    delimiter: delimiter ?? (kind === 'tsv' ? '\t' : ','),
    header: header === true,
    names: Array.isArray(header) ? header : undefined,
  }
}

function pathOf(path) {
  if (typeof path !== 'string') {
    throw invalid(`path must be a string, not ${types.isUint8Array(path) ? 'bytes' : describe(path)}`)
  }
  if (path === '' || path.includes('\0') || !path.isWellFormed()) {
    throw invalid('path must be a well-formed string, not empty, without NUL')
  }
  return path
}

function unknownFormat() {
  const known = Object.keys(ENDINGS).map((name) => `.${name}`)
  return new RespipeError(
    'RESPIPE_INVALID_OPTION',
    `format is needed: the name of the file ends in none of ${known.join(' ')}`,
  )
}

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message)
}

module.exports = { checkFile, importFile }
