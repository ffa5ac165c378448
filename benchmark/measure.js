'use strict'

// In a child process: does one piece of work, and tells its parent what that cost.
// node measure.js FILE OPTIONS, where FILE exports async (options, clock) => result; the work of clock() is measured.

const fs = require('node:fs')
const path = require('node:path')

async function main([file, options]) {
  const work = require(path.resolve(file))
  const measured = {}
  const result = await work(JSON.parse(options), async (task) => {
    const start = used()
    await task()
    const end = used()
    for (const name of Object.keys(start)) measured[name] = end[name] - start[name]
  })
  process.send({ ...measured, peakRss: peakRss(), result }, () => process.disconnect())
}

/** Time so far: by the clock, and on the processors, that of native threads included. */
function used() {
  const { user, system } = process.cpuUsage()
  return { elapsedMs: performance.now(), cpuMicros: user + system, threadMicros: threadMicros() }
}

/** Processor time of the JavaScript thread alone; NaN where the platform does not tell. */
function threadMicros() {
  if (process.threadCpuUsage) {
    const { user, system } = process.threadCpuUsage()
    return user + system
  }
  try {
    // Nanoseconds on a processor come first; the main thread goes by the number of its process.
    return Number(fs.readFileSync('/proc/self/schedstat', 'latin1').split(' ')[0]) / 1000
  } catch {
    return NaN
  }
}

/** In bytes. Linux hands the parent's peak down in `maxRSS`; VmHWM starts anew with the program. */
function peakRss() {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(fs.readFileSync('/proc/self/status', 'latin1'))[1]) * 1024
  } catch {
    return process.resourceUsage().maxRSS * 1024
  }
}

main(process.argv.slice(2))
