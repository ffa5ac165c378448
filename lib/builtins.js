'use strict'

// Functions of JavaScript as they were when the package was loaded. What somebody puts on a prototype later does not run in their
// place, `Function.prototype.call` among them.

const { apply } = Reflect
const { forEach, get } = Map.prototype
const { getTime } = Date.prototype
const { then } = Promise.prototype
const { toString } = Object.prototype

/** Calls `look(value, key)` for each entry of a Map. */
function eachEntry(map, look) {
  apply(forEach, map, [look])
}

/** Returns the value of a Map under a key. */
function valueOf(map, key) {
  return apply(get, map, [key])
}

/** Returns the milliseconds of a Date. */
function timeOf(date) {
  return apply(getTime, date, [])
}

/** `[object Object]` and the like. */
function tagOf(value) {
  return apply(toString, value, [])
}

/** The rejection of a promise counts as handled; a `then` of its own is not called. */
function quieten(promise) {
  apply(then, promise, [undefined, nothing])
}

function nothing() {}

module.exports = { eachEntry, quieten, tagOf, timeOf, valueOf }
