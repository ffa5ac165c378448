'use strict'

// What it costs to change connections: the same load with and without, in turns. node benchmark/rotation.js [rounds]

const { bulkPipeline } = require('..')
const { withServer } = require('./server.js')
const { median } = require('./statistics.js')

const BATCHES = 2_000
const COMMANDS = 500
const EVERY = 10

const keys = Array.from({ length: COMMANDS }, (_, index) => `key:${index}`)

async function main(rounds) {
  await withServer(async ({ url }) => {
    for (const transaction of [false, true]) {
      const ratios = []
      let rotations
      for (let round = 0; round < rounds; round++) {
        const without = await load(url, { transaction })
        const rotating = await load(url, { transaction, reconnectEvery: EVERY })
        ratios.push(rotating.rate / without.rate)
        rotations = rotating.rotations
      }
      ratios.sort((a, b) => a - b)
      const [least, most] = [ratios[0], ratios.at(-1)].map((ratio) => ratio.toFixed(2))
      const name = transaction ? 'transactions' : 'plain'
      console.log(
        `${name}: ${rotations} rotations, ${median(ratios).toFixed(2)} of the rate without (${least}–${most})`,
      )
    }
  })
}

async function load(url, options) {
  const bulk = bulkPipeline(url, options)
  const start = process.hrtime.bigint()
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const key of keys) bulk.hset(key, 'field', 'value')
    bulk.exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  const { succeeded, reconnects } = await bulk.close()
  if (succeeded !== BATCHES * COMMANDS) throw new Error(`${succeeded} commands arrived`)
  return { rate: succeeded / Number(process.hrtime.bigint() - start), rotations: reconnects }
}

main(Number(process.argv[2] ?? 9))
