'use strict'

const { bulkPipeline } = require('../../index.js')

/** One synchronous loop without a single await: what does not fit waits for the server. */
module.exports = async function distinctKeys({ url, commands }, clock) {
  const bulk = bulkPipeline(url, { autoExec: true, whenFull: 'block' })
  let summary
  await clock(async () => {
    for (let number = 0; number < commands; number++) bulk.set('GUID:' + number, 'bar1')
    summary = await bulk.close()
  })
  return summary
}
