'use strict'

const { monitorEventLoopDelay } = require('node:perf_hooks')
const { setImmediate: turn } = require('node:timers/promises')
const { bulkPipeline } = require('../../index.js')

/** Appends before the event loop has its turn. */
const IN_A_ROW = 100

/** Commands that are under way when the server is given up. */
const STALLED = 1000

/** A server stands still. One loop goes on appending all the same; another pipeline waits for an outcome. */
module.exports = async function stoppedServer({ url, pid, bytes, valueBytes }, clock) {
  // Not given up before the loop ends: that would make room again.
  const patient = bulkPipeline(url, { autoExec: true, whenFull: 'throw', stallTimeoutMs: 100_000 })
  const impatient = bulkPipeline(url, { stallTimeoutMs: 2000, retry: { attempts: 0 } })
  await patient.ping().exec()
  await impatient.ping().exec()
  process.kill(pid, 'SIGSTOP')
  try {
    let appended
    await clock(async () => {
      appended = await appendAll(patient, bytes, 'x'.repeat(valueBytes))
    })
    return { ...appended, ...(await outcomeOfStall(impatient)) }
  } finally {
    process.kill(pid, 'SIGCONT')
    patient.destroy()
    impatient.destroy()
  }
}

async function appendAll(bulk, bytes, value) {
  const delays = monitorEventLoopDelay({ resolution: 1 })
  delays.enable()
  let full = 0
  let number = 0
  for (; number * value.length < bytes; number++) {
    try {
      bulk.set(`key:${number}`, value)
    } catch (error) {
      if (error.code !== 'RESPIPE_BUFFER_FULL') throw error
      full++
    }
    if (number % IN_A_ROW === 0) await turn()
  }
  delays.disable()
  return { appended: number - full, full, delayMs: delays.max / 1e6 }
}

async function outcomeOfStall(bulk) {
  for (let number = 0; number < STALLED; number++) bulk.set(`stalled:${number}`, 'value')
  const { code, outcome = {} } = await bulk.exec().catch((error) => error)
  const { commands, succeeded, failed, unknown } = outcome
  return { code, outcome: { commands, succeeded, failed, unknown } }
}
