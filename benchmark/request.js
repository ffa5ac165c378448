'use strict'

const { FIELD, keyOf, valueOf } = require('./workload.js')

const { byteLength } = Buffer

/** A command of the workload in RESP. One piece: put together from helpers it takes a tenth longer. */
function request(number) {
  const key = keyOf(number)
  const value = valueOf(number)
  return `*4\r\n$4\r\nHSET\r\n$${byteLength(key)}\r\n${key}\r\n$${byteLength(FIELD)}\r\n${FIELD}\r\n$${byteLength(value)}\r\n${value}\r\n`
}

/** The first so many commands, as bytes. */
function requests(commands) {
  const blocks = []
  for (let start = 0; start < commands; start += BLOCK) {
    let text = ''
    for (let number = start; number < Math.min(start + BLOCK, commands); number++) text += request(number)
    blocks.push(Buffer.from(text))
  }
  return Buffer.concat(blocks)
}

/** One string of them all would take the memory of several. */
const BLOCK = 10_000

module.exports = { request, requests }
