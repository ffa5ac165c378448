'use strict'

// respipe with rows: `from` is 'csv' or 'resp' (importFile of `file`), or 'objects' (load, by a template or a `mapper`).

const { bulkPipeline } = require('../..')
const { TEMPLATE, rowOf } = require('./data.js')

module.exports = async function respipe({ url, rows, from, file, mapper }, clock) {
  const bulk = bulkPipeline(url)
  // Connected beforehand, as all are.
  await bulk.set('connected', 1).exec()
  const work = from === 'objects' ? objects(bulk, rows, mapper) : () => imported(bulk, from, file)
  const { commands, succeeded, failed } = await clock(work)
  await bulk.close()
  return { commands, succeeded, failed }
}

function imported(bulk, from, file) {
  return bulk.importFile(file, from === 'csv' ? TEMPLATE : null)
}

function objects(bulk, rows, mapper) {
  const list = Array.from({ length: rows }, (_, number) => rowOf(number))
  if (!mapper) return () => bulk.load(list, TEMPLATE)
  const hset = ({ id, name, email, city, note }) => {
    bulk.hset(`user:${id}`, 'name', name, 'email', email, 'city', city, 'note', note)
  }
  return () => bulk.load(list, hset)
}
