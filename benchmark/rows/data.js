'use strict'

// The rows: as objects, as a csv file of 80 bytes a row, and as the commands that are to be made of them.

const fs = require('node:fs')
const path = require('node:path')

const TEMPLATE = 'HSET user:{id} name {name} email {email} city {city} note {note}'

const COLUMNS = ['id', 'name', 'email', 'city', 'note']

/** More rows than this have the keys of earlier ones: the server's memory is not what is measured. */
const KEYS = 1_000_000

function rowOf(number) {
  return {
    id: number % KEYS,
    name: `Name Surname ${number % 9973}`,
    email: `user${number}@mail.example.com`,
    city: `City ${number % 997}`,
    note: `a note of twenty ${number % 31}`,
  }
}

/** In RESP. */
function requestOf({ id, name, email, city, note }) {
  const words = ['HSET', `user:${id}`, 'name', name, 'email', email, 'city', city, 'note', note]
  return `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`
}

/** Writes the rows as csv and, with `ready`, their commands. Returns the paths. */
function writeFiles(dir, rows, { ready = true } = {}) {
  const paths = { csv: path.join(dir, `${rows}.csv`), resp: path.join(dir, `${rows}.resp`) }
  const csv = fs.openSync(paths.csv, 'w')
  const resp = ready ? fs.openSync(paths.resp, 'w') : undefined
  fs.writeSync(csv, `${COLUMNS.join(',')}\n`)
  for (let first = 0; first < rows; first += BLOCK) {
    const block = Array.from({ length: Math.min(BLOCK, rows - first) }, (_, at) => rowOf(first + at))
    fs.writeSync(csv, block.map((row) => `${COLUMNS.map((name) => row[name]).join(',')}\n`).join(''))
    if (ready) fs.writeSync(resp, block.map(requestOf).join(''))
  }
  fs.closeSync(csv)
  if (ready) fs.closeSync(resp)
  return paths
}

const BLOCK = 10_000

module.exports = { COLUMNS, KEYS, TEMPLATE, requestOf, rowOf, writeFiles }
