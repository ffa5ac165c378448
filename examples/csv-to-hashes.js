'use strict'

// A CSV file to hashes, and to a set for each country. The file is read and parsed outside JavaScript, .gz and .zst too: memory
// stays flat, however large it is. A line that is wrong is told by its number, and all others are loaded.
//
//   node examples/csv-to-hashes.js [users.csv]

const path = require('node:path')
const { bulkPipeline } = require('respipe')

const [file = path.join(__dirname, 'users.csv')] = process.argv.slice(2)

async function main() {
  const bulk = bulkPipeline(process.env.REDIS_URL)
  try {
    const summary = await bulk.importFile(file, ['HSET user:{id} {*}', 'SADD users:{country} {id}'], {
      onProgress: ({ rows, bytesRead, bytesTotal }) =>
        console.log(`${rows} rows, ${Math.round((100 * bytesRead) / bytesTotal)} %`),
      onFailure: ({ line, message }) => console.error(`line ${line}: ${message}`),
    })
    console.log(`${summary.succeeded} of ${summary.commands} commands in ${Math.round(summary.elapsedMs)} ms`)
    if (summary.failed > 0) process.exitCode = 1
  } finally {
    await bulk.close()
  }
}

main()
