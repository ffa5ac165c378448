'use strict'

// The same SETs with respipe, a connection for each batch.

const { bulkPipeline } = require('../..')

async function main({ host, port, commands, perConnection }) {
  const bulk = bulkPipeline({ host, port, reconnectEvery: 1 })
  for (let number = 0; number < commands; number++) {
    bulk.set(`key:${String(number).padStart(7, '0')}`, 'x')
    if (bulk.length === perConnection) bulk.exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  await bulk.close()
  process.send({ lives: false })
}

main(JSON.parse(process.argv[2]))
