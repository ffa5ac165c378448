'use strict'

// What makes commands of a row: a function, a template, or the text of one.

const { types } = require('node:util')
const { describe, isArray, isRecord, isRevoked } = require('./arguments.js')
const { RespipeError } = require('./errors.js')
const { originOf } = require('./template.js')

/**
 * @param {import('./load.js').Host} host
 * @param {unknown} mapper
 * @returns {{ map: (row: unknown, bulk: object) => unknown, command: string }}
 */
function mapperOf(host, mapper) {
  if (typeof mapper === 'string' || isArray(mapper)) return ofTemplate(host.bulk.template(mapper))
  if (typeof mapper !== 'function') {
    throw invalid(`the mapper must be a function, a template or the text of one, not ${describe(mapper)}`)
  }
  const origin = originOf(mapper)
  if (origin === undefined) return { map: ofFunction(mapper), command: '' }
  if (origin.bulk !== host.bulk) throw invalid('the template belongs to another pipeline: its commands would go there')
  return ofTemplate(mapper)
}

function ofTemplate(template) {
  const { command } = originOf(template)
  const map = (row) => {
    if (typeof row === 'object' && isRecord(row)) return template(row)
    throw invalid(`the row is ${describeRow(row)}: a template takes objects`)
  }
  return { map, command }
}

function ofFunction(mapper) {
  return (row, bulk) => {
    const result = mapper(row, bulk)
    if (result === undefined || result === bulk) return
    // The commands behind an await would be none of this row's, and those behind a yield would never come.
    if (types.isPromise(result)) {
      result.catch(() => {})
      throw new RespipeError('RESPIPE_UNSUPPORTED', 'an async mapper: a row is over when the mapper returns')
    }
    if (types.isGeneratorObject(result)) {
      throw new RespipeError('RESPIPE_UNSUPPORTED', 'a generator for a mapper: nobody would run it')
    }
    const what = isArray(result) ? 'an array' : describe(result)
    const how = 'append the commands, as in bulk.hset(key, fields), and return nothing or the pipeline'
    throw new RespipeError('RESPIPE_UNSUPPORTED', `the mapper has returned ${what}, which does nothing: ${how}`)
  }
}

/** Where other things are expected than in an argument, other things help. */
function describeRow(row) {
  if (isArray(row)) return 'an array'
  if (typeof row !== 'object' || row === null || isRevoked(row)) return describe(row)
  if (types.isPromise(row)) return 'a promise, which has to be awaited first'
  if (ArrayBuffer.isView(row) || types.isAnyArrayBuffer(row)) return 'bytes, which have to be parsed first'
  return 'an object without fields of its own'
}

function invalid(message) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message)
}

module.exports = { mapperOf }
