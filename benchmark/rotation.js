'use strict'

// What it costs to change connections: the same load with and without, in turns.
// node benchmark/rotation.js [rounds]; exits with 1 where less than PROMISE of the rate is left.

const { bulkPipeline } = require('..')
const { withServer } = require('./server.js')
const { median } = require('./statistics.js')
const { table } = require('./table.js')

const BATCHES = 2_000
const COMMANDS = 500
const EVERY = 10

/** Of the rate without. */
const PROMISE = 0.9

const modes = {
  plain: {},
  transactions: { transaction: true },
  'replies off': { replies: 'off' },
  'replies off, transactions': { replies: 'off', transaction: true },
  checkpoint: { checkpoint: 'checkpoint' },
}

const keys = Array.from({ length: COMMANDS }, (_, index) => `key:${index}`)

async function main(rounds) {
  const measured = Object.fromEntries(Object.keys(modes).map((name) => [name, { ratios: [], rates: [] }]))
  await withServer(async ({ url }) => {
    for (let round = 0; round < rounds; round++) {
      for (const [name, options] of Object.entries(modes)) {
        const rotating = { ...options, reconnectEvery: EVERY }
        // Another one first each time: a machine that slows down must not count for one side.
        const runs = []
        for (const turn of round % 2 === 0 ? [options, rotating] : [rotating, options]) {
          runs.push(await load(url, turn))
        }
        const [without, beside] = round % 2 === 0 ? runs : runs.toReversed()
        measured[name].ratios.push(beside.rate / without.rate)
        measured[name].rates.push(without.rate)
        measured[name].rotations = beside.rotations
      }
    }
  })
  const rows = Object.entries(measured).map(([name, { ratios, rates, rotations }]) => [
    name,
    count(median(rates)),
    count(rotations),
    median(ratios).toFixed(2),
    Math.min(...ratios).toFixed(2),
    Math.max(...ratios).toFixed(2),
    median(ratios) >= PROMISE ? 'kept' : 'MISSED',
  ])
  console.log(`${count(BATCHES * COMMANDS)} HSETs in batches of ${COMMANDS}, median of ${rounds} rounds`)
  console.log(
    table([['mode', 'commands/s without', 'rotations', 'of it with', 'least', 'most', `${PROMISE} promised`], ...rows]),
  )
  if (rows.some((row) => row.includes('MISSED'))) process.exitCode = 1
}

async function load(url, options) {
  const bulk = bulkPipeline(url, options)
  const start = process.hrtime.bigint()
  for (let batch = 0; batch < BATCHES; batch++) {
    for (const key of keys) bulk.hset(key, 'field', 'value')
    bulk.exec()
    if (bulk.needsDrain) await bulk.drain()
  }
  const { commands, succeeded, failed, unknown, reconnects, serverErrorReplies } = await bulk.close()
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  // Without replies nobody says that they arrived; the server says that it refused none.
  const arrived = options.replies === 'off' ? failed === 0 && serverErrorReplies === 0 : succeeded === commands
  if (commands !== BATCHES * COMMANDS || !arrived) {
    throw new Error(`${JSON.stringify(options)}: ${succeeded} succeeded, ${failed} failed, ${unknown} unknown`)
  }
  return { rate: commands / seconds, rotations: reconnects }
}

function count(number) {
  return Math.round(number).toLocaleString('en-US')
}

main(Number(process.argv[2] ?? 9)).catch((error) => {
  console.error(error)
  process.exitCode = 1
})
