'use strict'

// In a child process: does one piece of work, and tells its parent what that cost.
// node measure.js FILE OPTIONS, where FILE exports async (options, clock) => result; the work of clock() is measured, and what it returns
// is returned. A result may have `costs` that are known better, for a program of its own. Workloads have a warm-up first.

const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const { monitorEventLoopDelay } = require('node:perf_hooks')
const { setTimeout: sleep } = require('node:timers/promises')

async function main([file, text]) {
  const work = require(path.resolve(file))
  const options = withWorkload(JSON.parse(text))
  if (options.workload !== undefined) await warmUp(work, options)
  const measured = {}
  const { costs, ...result } = await work(options, async (task) => {
    const delays = watchDelays()
    const start = used()
    const done = await task()
    const end = used()
    for (const name of Object.keys(start)) measured[name] = end[name] - start[name]
    measured.delayMs = await delays()
    return done
  })
  process.send({ ...measured, peakRss: peakRss(), ...costs, result }, () => process.disconnect())
}

/** A workload comes by name, and with what the parent has decided about it. */
function withWorkload({ workload, ...options }) {
  if (workload === undefined) return options
  const { workloads } = require('./workload.js')
  workloads[workload.name].ready?.()
  return { ...options, workload: { ...workloads[workload.name], ...workload } }
}

/**
 * Does the same for a while without measuring it, and lets the parent put the server back. In several loads, each with a connection of its own: after one of
 * as many commands, `rows-100k` is still a quarter slower a command than `rows-1m`. Garbage stays, as a full collection has V8 compile much of it again.
 */
async function warmUp(work, { workload, ...options }) {
  const short = { ...options, workload: { ...workload, commands: WARM_UP.commands } }
  const end = performance.now() + WARM_UP.ms
  for (let load = 0; load < WARM_UP.loads && performance.now() < end; load++) await work(short, (task) => task())
  process.send('warm')
  await once(process, 'message')
  resetPeak()
}

/** With half of the loads V8 still compiles while 100,000 commands are measured. The slowest clients do four of them in a second. */
const WARM_UP = { loads: 6, commands: 30_000, ms: 1_000 }

/** Watches how late the event loop comes to a timer of a millisecond; the function that it returns tells the 99th percentile. */
function watchDelays() {
  try {
    const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
    histogram.enable()
    return async () => {
      // The last delay is known once the timer has fired.
      await sleep(2 * RESOLUTION_MS)
      histogram.disable()
      return histogram.count === 0 ? NaN : histogram.percentile(99) / 1e6
    }
  } catch {
    return async () => NaN
  }
}

const RESOLUTION_MS = 1

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

/** The peak is from now on what is held now, where Linux lets us say so. */
function resetPeak() {
  try {
    fs.writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // Elsewhere the peak is that of the whole process.
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error)
  process.exit(1)
})
