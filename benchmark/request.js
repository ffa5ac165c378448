'use strict'

// Commands in RESP, as one writes them by hand. Each in one piece: put together from helpers they take a tenth longer.

const { byteLength } = Buffer

function hsetRequest(key, field, value) {
  return `*4\r\n$4\r\nHSET\r\n$${byteLength(key)}\r\n${key}\r\n$${byteLength(field)}\r\n${field}\r\n$${byteLength(value)}\r\n${value}\r\n`
}

function hset5Request(key, name, city, mail, visits) {
  return (
    `*12\r\n$4\r\nHSET\r\n$${byteLength(key)}\r\n${key}\r\n$4\r\nname\r\n$${byteLength(name)}\r\n${name}\r\n` +
    `$4\r\ncity\r\n$${byteLength(city)}\r\n${city}\r\n$4\r\nmail\r\n$${byteLength(mail)}\r\n${mail}\r\n` +
    `$6\r\nvisits\r\n$${byteLength(visits)}\r\n${visits}\r\n$6\r\nactive\r\n$1\r\n1\r\n`
  )
}

function setRequest(key, value) {
  return `*3\r\n$3\r\nSET\r\n$${byteLength(key)}\r\n${key}\r\n$${byteLength(value)}\r\n${value}\r\n`
}

function zaddRequest(key, score, member) {
  return `*4\r\n$4\r\nZADD\r\n$${byteLength(key)}\r\n${key}\r\n$${byteLength(score)}\r\n${score}\r\n$${byteLength(member)}\r\n${member}\r\n`
}

function getRequest(key) {
  return `*2\r\n$3\r\nGET\r\n$${byteLength(key)}\r\n${key}\r\n`
}

/** The first so many commands of a workload, as bytes. */
function requests({ request }, commands) {
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

module.exports = { getRequest, hset5Request, hsetRequest, requests, setRequest, zaddRequest }
