'use strict'

// Arguments that stand for several: arrays, Maps and objects are spelled out here, on the way to native code, which
// takes strings, numbers, bigints and byte arrays only. Whatever is refused is named by its place.

const { types } = require('node:util')
const { eachEntry } = require('./builtins.js')
const { RespipeError } = require('./errors.js')

/** The most arguments of one command; the same as in `src/binding/check.rs`. */
const MAX_ARGUMENTS = 1024 * 1024 - 1

/**
 * All arguments of a call in wire order, arrays flattened one level.
 *
 * @param {{ name: string, trailing: 'plain' | 'values' | 'fields' | 'scores' | 'call' }} command
 * @param {ArrayLike<unknown>} given
 * @param {'throw' | 'skip' | 'empty'} onNull what becomes of an empty field of an object or a Map
 */
function expand(command, given, onNull) {
  const first = command.trailing === 'call' ? 1 : 0
  const flat = []
  for (let at = 0; at < given.length; at++) {
    const value = given[at]
    if (isArgument(value)) {
      flat.push(value)
      continue
    }
    const place = placeOf(command, given, at - first)
    if (isArray(value) && at >= first) addElements(flat, value, place, command)
    else if (at === given.length - 1 && isPairs(command) && isRecord(value))
      addFields(flat, value, place, command, onNull)
    else throw refusal(place, value)
  }
  return flat
}

/** An argument, for a message. */
function placeOf({ name, trailing }, given, at) {
  if (at < 0) return 'the name of the command'
  return `argument ${at + 1} of ${trailing === 'call' ? String(given[0]).toLowerCase() : name}`
}

function addElements(flat, array, place, { name, trailing }) {
  if (trailing === 'plain')
    throw new RespipeError('RESPIPE_INVALID_ARGUMENT', `${place} is an array: ${name} takes no list`)
  // Read by index, and only once: neither an iterator nor a getter can tell two stories, or one without an end.
  const { length } = array
  if (length > MAX_ARGUMENTS) {
    throw new RespipeError(
      'RESPIPE_INVALID_ARGUMENT',
      `${place} has ${length} elements, of which a server takes at most ${MAX_ARGUMENTS}: split them`,
    )
  }
  for (let at = 0; at < length; at++) {
    const element = array[at]
    if (!isArgument(element)) throw refusal(`element ${at} of ${place}`, element)
    flat.push(element)
  }
}

function addFields(flat, record, place, { name, trailing }, onNull) {
  const before = flat.length
  const add = (field, value) => {
    if (value === null || value === undefined) {
      if (onNull === 'skip') return
      if (onNull === 'throw') throw refusal(`${nameOf(field)} of ${place}`, value, ' (see the option onNull)')
      value = ''
    }
    if (!isArgument(value)) throw refusal(`${nameOf(field)} of ${place}`, value)
    // The wire wants the score in front of the member.
    if (trailing === 'scores') flat.push(value, field)
    else flat.push(field, value)
  }
  if (types.isMap(record)) {
    eachEntry(record, (value, field) => {
      if (!isArgument(field)) throw refusal(`a key of ${place}`, field)
      add(field, value)
    })
  } else {
    for (const field of Object.keys(record)) add(field, record[field])
  }
  if (flat.length === before) {
    throw new RespipeError('RESPIPE_INVALID_ARGUMENT', `${place} has no fields: ${name} needs at least one`)
  }
}

/** A field, for a message: of long text the beginning. Runs no code of a byte array's. */
function nameOf(field) {
  if (types.isUint8Array(field)) return 'a field of bytes'
  const text = String(field)
  return text.length > 64 ? `field ${text.slice(0, 64)}…` : `field ${text}`
}

/** What native code takes, or judges for itself. */
function isArgument(value) {
  const type = typeof value
  return type === 'string' || type === 'number' || type === 'bigint' || types.isUint8Array(value)
}

function isArray(value) {
  return !isRevoked(value) && Array.isArray(value)
}

/** A Proxy that was revoked: `Array.isArray` throws, as whatever else looks at it. */
function isRevoked(value) {
  try {
    Array.isArray(value)
    return false
  } catch {
    return true
  }
}

function isPairs({ trailing }) {
  return trailing === 'fields' || trailing === 'scores'
}

/** A Map, or an object with fields: a literal, a row of a database, an instance of a class. */
function isRecord(value) {
  if (typeof value !== 'object' || value === null || isRevoked(value)) return false
  // Nearly all rows are; the looks below take as long as all the rest.
  if (Object.getPrototypeOf(value) === Object.prototype || types.isMap(value)) return true
  return !(
    Array.isArray(value) ||
    ArrayBuffer.isView(value) ||
    value instanceof Uint8Array || // a Proxy around one
    types.isAnyArrayBuffer(value) ||
    types.isBoxedPrimitive(value) ||
    types.isDate(value) ||
    types.isRegExp(value) ||
    types.isPromise(value) ||
    types.isNativeError(value) ||
    types.isSet(value) ||
    types.isWeakMap(value) ||
    types.isWeakSet(value)
  )
}

function refusal(place, value, hint = '') {
  return new RespipeError('RESPIPE_INVALID_ARGUMENT', `${place} is ${describe(value)}${hint}`)
}

/** What a value is, for a message. Runs no code of the value's. */
function describe(value) {
  switch (typeof value) {
    case 'undefined':
      return 'undefined'
    case 'boolean':
      return `a boolean (${value}): pass 1 and 0, or text`
    case 'symbol':
      return 'a symbol'
    case 'function':
      return 'a function'
    case 'object':
      return describeObject(value)
    default:
      return `a ${typeof value}`
  }
}

function describeObject(value) {
  if (value === null) return 'null'
  if (isRevoked(value)) return 'a Proxy that was revoked'
  if (Array.isArray(value)) return 'an array'
  if (types.isDate(value)) return 'a Date: pass its getTime() or toISOString()'
  if (types.isAnyArrayBuffer(value)) return 'an ArrayBuffer: pass new Uint8Array(it)'
  if (types.isDataView(value)) return 'a DataView: pass new Uint8Array(it.buffer, it.byteOffset, it.byteLength)'
  if (ArrayBuffer.isView(value)) return 'a typed array other than Uint8Array: pass new Uint8Array(it.buffer, …)'
  if (types.isBoxedPrimitive(value)) return 'a boxed primitive: pass its valueOf()'
  if (types.isMap(value)) return 'a Map, in a place that takes none'
  return 'an object, in a place that takes none'
}

module.exports = { addFields, describe, expand, isArray, isRecord, isRevoked }
