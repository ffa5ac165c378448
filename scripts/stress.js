'use strict'

// Runs the tests again and again while the machine is busy, and lists each that failed even once:
//   node scripts/stress.js [--times 10] [file …]
// As many busy loops run beside them as there are cores; a last run has no loops, and one core alone where there is taskset.
// The output of each run that failed stays in target/stress/.

const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const readline = require('node:readline')
const { parseArgs } = require('node:util')

const root = path.join(__dirname, '..')
const logs = path.join(root, 'target', 'stress')
const ava = path.join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')

/** Ends by itself where its parent is gone, in whichever way. */
const BUSY = 'const parent = process.ppid; while (process.ppid === parent) for (let i = 0; i < 1e8; i++);'

async function main() {
  const { values, positionals: files } = parseArgs({
    options: { times: { type: 'string', default: '10' } },
    allowPositionals: true,
  })
  const times = Number(values.times)
  if (!Number.isInteger(times) || times < 0) throw new Error('--times takes a whole number')
  fs.rmSync(logs, { recursive: true, force: true })
  fs.mkdirSync(logs, { recursive: true })

  const failed = new Map()
  const cores = os.availableParallelism()
  await withLoops(cores, async () => {
    for (let run = 1; run <= times; run++) {
      await runTests(`run ${run} of ${times}, ${cores} busy loops beside it`, [], files, failed)
    }
  })
  const oneCore = taskset()
  if (oneCore) await runTests('run on one core', oneCore, files, failed)
  else console.log('no run on one core: there is no taskset')

  for (const [title, runs] of failed) console.log(`failed in ${runs} of the runs: ${title}`)
  console.log(`\nstress: ${times + (oneCore ? 1 : 0)} runs, ${failed.size} tests failed at least once`)
  if (failed.size > 0) process.exitCode = 1
}

async function withLoops(count, work) {
  const loops = Array.from({ length: count }, () => spawn(process.execPath, ['-e', BUSY], { stdio: 'ignore' }))
  try {
    await work()
  } finally {
    for (const loop of loops) loop.kill('SIGKILL')
  }
}

/** One run of the tests; what failed is counted in `failed`. */
async function runTests(name, [program = process.execPath, ...before], files, failed) {
  const start = performance.now()
  const child = spawn(program, [...before, ava, '--tap', ...files], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = once(child, 'close')
  const output = []
  const titles = new Set()
  let passed = 0
  child.stderr.on('data', (chunk) => output.push(String(chunk)))
  for await (const line of readline.createInterface({ input: child.stdout })) {
    output.push(`${line}\n`)
    if (line.startsWith('ok ')) passed += 1
    const title = /^not ok \d+ - (.*)$/.exec(line)?.[1]
    if (title) titles.add(title)
  }
  const [code] = await ended
  // Nothing that ran out of time, or never began, may pass for a success.
  if (code !== 0 && titles.size === 0) titles.add(`the run itself: exit code ${code}`)
  for (const title of titles) failed.set(title, (failed.get(title) ?? 0) + 1)

  const seconds = ((performance.now() - start) / 1_000).toFixed(0)
  console.log(`${name}: ${passed} passed, ${titles.size} failed, ${seconds} s`)
  if (titles.size === 0) return
  for (const title of titles) console.log(`  ${title}`)
  const log = path.join(logs, `${name.replace(/,.*/, '').replaceAll(' ', '-')}.tap`)
  fs.writeFileSync(log, output.join(''))
  console.log(`  see ${path.relative(root, log)}`)
}

/** The command line in front of a program that binds it to one of the processors that this one may use. */
function taskset() {
  const { stdout, error } = spawnSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
  const first = /: (\d+)/.exec(stdout ?? '')?.[1]
  return error || first === undefined ? undefined : ['taskset', '-c', first, process.execPath]
}

main().catch((error) => {
  console.error(`stress: ${error.message}`)
  process.exitCode = 1
})
