'use strict'

// What a call of a template means: the values of its holes, or a row to read them from. Native code takes them as a list
// of inputs, one for each hole and conversion, read and converted here: that may run code of the user's.

const { types } = require('node:util')
const { addFields, describe, isArray, isRecord } = require('./arguments.js')
const { eachEntry, timeOf, valueOf } = require('./builtins.js')
const { RespipeError } = require('./errors.js')

/** So many inputs are passed on one by one; many more, which only rows of `{*}` can have, would not fit on the stack. */
const MAX_SPREAD = 1000

/** Native code keeps a template for as long as JavaScript holds it. */
const forgotten = new FinalizationRegistry(({ forget, number }) => forget(number))

/** By template: its pipeline, and its first command. */
const origins = new WeakMap()

/** A template in place of a command: what it says of a value, and what would help. */
const TEMPLATE = { trailing: 'template', describe: describeValue }

/**
 * A template of a pipeline; undefined where native code refuses it and knows why.
 *
 * @param {{ template: Function, fill: Function, forget: Function }} native functions of the pipeline's evaluation
 * @param {object} bulk the pipeline, which a call returns
 * @param {number} handle of the pipeline
 * @param {unknown} command text, or an array of texts
 * @param {'throw' | 'skip' | 'empty'} onNull
 * @param {(what: number, list: unknown[]) => void} more does what an append of these inputs left to do
 */
function compile(native, bulk, handle, command, onNull, more) {
  const { fill, forget } = native
  const compiled = native.template(handle, textsOf(command), onNull)
  if (compiled === undefined) return undefined
  const { holes, number } = compiled
  const takesFields = compiled.star !== undefined
  const { ofRow, ofValues, isDirect, isShort } = readers(compiled, onNull)

  const add = (list) => {
    const what = takesFields && list.length > MAX_SPREAD ? fill(number, list) : fill(number, ...list)
    if (what !== undefined) more(what, list)
    return bulk
  }

  const [first, second, third, fourth] = holes
  // As with the commands, `arguments` itself must not leave the function, or every call would have to make it.
  const template = function (a, b, c, d, ...rest) {
    let count = arguments.length
    if (count === 1 && typeof a === 'object' && isRecord(a)) {
      if (!isShort || a instanceof Map) return add(ofRow(a))
      // Without a list, in half the time.
      const row = a
      count = holes.length
      if (count > 0) a = row[first]
      if (count > 1) b = row[second]
      if (count > 2) c = row[third]
      if (count > 3) d = row[fourth]
    } else if (!isDirect) {
      return add(ofValues([a, b, c, d, ...rest].slice(0, count)))
    }
    let what
    switch (count) {
      case 0:
        what = fill(number)
        break
      case 1:
        what = fill(number, a)
        break
      case 2:
        what = fill(number, a, b)
        break
      case 3:
        what = fill(number, a, b, c)
        break
      case 4:
        what = fill(number, a, b, c, d)
        break
      default:
        what = fill(number, a, b, c, d, ...rest)
    }
    if (what !== undefined) more(what, [a, b, c, d, ...rest].slice(0, count))
    return bulk
  }
  forgotten.register(template, { forget, number })
  origins.set(template, {
    bulk: new WeakRef(bulk),
    command: textsOf(command)[0].trim().split(/\s/, 1)[0].toUpperCase(),
  })
  Object.defineProperty(template, 'name', { value: 'template' })
  return Object.defineProperty(template, 'holes', { value: Object.freeze(holes), enumerable: true })
}

/** Of a template; undefined of anything else. */
function originOf(template) {
  const origin = origins.get(template)
  return origin && { bulk: origin.bulk.deref(), command: origin.command }
}

/**
 * What makes inputs of a row and of values. `isDirect`: they are just the values of the holes; `isShort`: and at most four
 * properties of a row.
 */
function readers({ holes, inputs, star }, onNull) {
  const paths = holes.map((hole) => hole.split('.'))
  const isPlain = paths.every(({ length }) => length === 1)
  const wantsRow = star !== undefined || inputs.some(({ hole }) => hole < 0)
  const converts = inputs.some(({ conversion }) => conversion !== undefined)

  const isDirect = !wantsRow && !converts
  const converted = (values, row) =>
    inputs.map(({ hole, conversion, command }) => {
      const value = hole < 0 ? row : values[hole]
      // What becomes of a missing value is up to the option onNull.
      if (conversion === undefined || value === null || value === undefined) return value
      return CONVERSIONS[conversion](value, `${hole < 0 ? 'the row' : `hole ${holes[hole]}`} of ${command}`)
    })

  return {
    isDirect,
    isShort: isDirect && isPlain && holes.length <= 4,
    ofRow(row) {
      const values =
        isPlain && !(row instanceof Map) ? holes.map((name) => row[name]) : paths.map((path) => read(row, path))
      const list = converts ? converted(values, row) : values
      if (star !== undefined) addFields(list, row, 'the row', { name: star, trailing: 'fields' }, onNull)
      return list
    },
    ofValues(values) {
      if (wantsRow) throw invalid('this template has {*}: it takes a row, and no values')
      // Native code says what is wrong with their number.
      return converts && values.length === holes.length ? converted(values) : values
    },
  }
}

/** Texts of a template, checked. */
function textsOf(command) {
  const texts = isArray(command) ? Array.from(command) : [command]
  for (const text of texts) {
    if (typeof text !== 'string') throw invalid(`a template is text, or an array of texts, not ${describe(text)}`)
    if (text.isWellFormed()) continue
    const column = /\p{Surrogate}/u.exec(text).index + 1
    throw invalid(`template, column ${column}: half of a surrogate pair, which UTF-8 cannot express`)
  }
  return texts
}

/** A property of a row as JavaScript reads it, step by step; of a Map what is under that key. */
function read(row, path) {
  let value = row
  for (const step of path) {
    if (value === null || value === undefined) return undefined
    value = value instanceof Map && types.isMap(value) ? valueOf(value, step) : value[step]
  }
  return value
}

/** Each takes a value that is there, and its name for a message. */
const CONVERSIONS = {
  ms: milliseconds,
  s: (value, name) => Math.floor(milliseconds(value, name, '|s') / 1000),
  json(value, name) {
    let text
    try {
      text = JSON.stringify(types.isMap(value) ? objectOf(value) : value)
    } catch (cause) {
      throw invalid(
        `${name} cannot be written as JSON: ${cause instanceof Error ? cause.message : 'toJSON threw'}`,
        cause,
      )
    }
    if (text === undefined) throw invalid(`${name} is ${describe(value)}: there is no JSON for it`)
    return text
  },
  bool(value, name) {
    if (value === true || value === 'true') return 1
    if (value === false || value === 'false') return 0
    throw invalid(`${name} is ${describe(value)}: |bool takes true and false`)
  },
}

/** A Map as an object. */
function objectOf(map) {
  const entries = []
  eachEntry(map, (value, key) => entries.push([key, value]))
  return Object.fromEntries(entries)
}

/** ISO 8601 as databases write it, too: a blank for the `T`, hours alone for the zone. */
const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|[+-]\d\d(?::?\d\d)?)?)?$/i

function milliseconds(value, name, conversion = '|ms') {
  if (types.isDate(value)) {
    const time = timeOf(value)
    if (Number.isNaN(time)) throw invalid(`${name} is an invalid Date`)
    return time
  }
  if (typeof value !== 'string')
    throw invalid(`${name} is ${describe(value)}: ${conversion} takes a Date or an ISO string`)
  const [, year, month, day, time, zone] = ISO.exec(value) ?? []
  if (year === undefined) throw invalid(`${name} is no date in ISO form, such as 2026-01-31 or 2026-01-31T12:00:00Z`)
  if (time !== undefined && zone === undefined) {
    throw invalid(`${name} is a time without a zone, which each machine would take for another: add Z or +01:00`)
  }
  const date = `${year}-${month}-${day}`
  const instant = time === undefined ? Date.parse(date) : Date.parse(`${date}T${time.replace(',', '.')}${zoneOf(zone)}`)
  // A day such as February 30 would be taken for one of March.
  const exists = Number(day) <= new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  if (Number.isNaN(instant) || !exists) throw invalid(`${name} is no date that exists`)
  return instant
}

/** `+01`, `+0100` and `z` in the form that every engine takes. */
function zoneOf(zone) {
  if (zone.length === 1) return 'Z'
  const digits = zone.slice(1).replace(':', '').padEnd(4, '0')
  return `${zone[0]}${digits.slice(0, 2)}:${digits.slice(2)}`
}

function describeValue(value) {
  if (typeof value === 'boolean') return `a boolean (${value}): write |bool behind the name, or pass 1 and 0`
  if (types.isDate(value)) return 'a Date: write |ms or |s behind the name'
  if (isRecord(value)) return 'an object: write |json behind the name, or a path such as {address.city}'
  return describe(value)
}

function invalid(message, cause) {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', message, { cause })
}

module.exports = { TEMPLATE, compile, originOf, textsOf }
