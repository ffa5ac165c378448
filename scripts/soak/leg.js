'use strict'

// One leg: a server that keeps what it acknowledges, a proxy, a writer, faults one after the other; then the check.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { ask } = require('../../benchmark/witness.js')
const { checkAccounts, checkSummary, history, total } = require('./accounts.js')
const { startProxyChild, startWriter } = require('./child.js')
const { faults } = require('./faults.js')
const { readJournal } = require('./journal.js')
const { legs } = require('./legs.js')
const { randomNumbers } = require('./random.js')
const { Violations } = require('./violations.js')

const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction']
/** Between faults; sometimes the next one meets the recovery from the last. */
const PAUSE_MS = 1_000
/** What is under way when the faults are over, and every wait before the next try. */
const CLOSE_LIMIT_MS = 60_000

async function runLeg(name, { seed, binary, durationMs }) {
  const startServer = await serverStarter()
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-soak-'))
  const server = await startServer({ binary, args: DURABLE })
  const remove = () => fs.rmSync(dir, { recursive: true, force: true })
  process.once('exit', remove)
  const writers = []
  const violations = new Violations()
  let proxy
  try {
    proxy = await startProxyChild(server.port)
    const write = () => {
      const file = path.join(dir, `journal-${writers.length + 1}`)
      writers.push(startWriter({ name, seed, url: proxy.url, file }))
    }
    write()
    const { happened, refusals } = await befall({ name, seed, durationMs, server, proxy, writers, write })
    await writers.at(-1).stop(CLOSE_LIMIT_MS)
    const result = await check({ name, seed, server, writers, happened, refusals, violations })
    if (result.violations.length > 0) fs.copyFileSync(path.join(server.dir, 'server.log'), path.join(dir, 'server.log'))
    return { ...result, kept: dir }
  } finally {
    for (const writer of writers) await writer.end()
    await proxy?.end()
    await server.stop()
    process.off('exit', remove)
    if (violations.list().length === 0) remove()
  }
}

/** The server of the tests, which ends with this process too. */
async function serverStarter() {
  // Reads TypeScript.
  await import('../../__test__/helpers/register.js')
  const { startServer } = await import('../../__test__/helpers/server.ts')
  return startServer
}

/** Faults until the time is over or the writer gives up; how often each came, and what the servers refused that were killed. */
async function befall({ name, seed, durationMs, server, proxy, writers, write }) {
  const end = Date.now() + durationMs
  const random = randomNumbers(seed, 0)
  const admin = (look) => ask(server, look)
  const killWriter = async () => {
    await writers.at(-1).end()
    write()
  }
  const happened = {}
  let refusals = 0
  const noteRefusals = async () => (refusals += await admin(errorReplies))
  let bag = []
  while (Date.now() < end && !writers.at(-1).failure) {
    await delay(random(PAUSE_MS))
    // Each kind comes before one of them comes again.
    if (bag.length === 0) bag = [...legs[name].faults]
    if (bag.length === 0) continue
    const [kind] = bag.splice(random(bag.length), 1)
    happened[kind] = (happened[kind] ?? 0) + 1
    await faults[kind]({ server, proxy: proxy.call, admin, killWriter, noteRefusals, random })
  }
  return { happened, refusals }
}

async function check({ name, seed, server, writers, happened, refusals, violations }) {
  const leg = legs[name]
  const lines = writers.flatMap(({ file }) => readJournal(file))
  const { failure, summary } = writers.at(-1)
  if (failure) violations.add('the writer failed', failure)
  checkAccounts(lines, leg, violations)
  if (writers.length === 1 && summary) checkSummary(lines, summary, violations)
  if (leg.faults.length === 0 && summary?.reconnects > 0) violations.add('reconnects', 'without a fault')

  const batches = history(lines, leg)
  // The last writer may have been stopped before it wrote anything.
  const last = lines.reduce((most, { batch, resumed }) => Math.max(most, batch ?? resumed), 0)
  await ask(server, (redis) => leg.workload.check({ redis, seed, history: batches, last, violations }))
  if (leg.unknown === 'all') {
    const inAll = refusals + (await ask(server, errorReplies))
    excuse(violations, { told: summary?.serverErrorReplies, counted: happened.kill ? inAll : 0 })
  }
  return {
    name,
    batches: batches.length,
    ...Object.fromEntries(['commands', 'failed', 'unknown'].map((count) => [count, total(lines, count)])),
    rejected: lines.filter(({ rejected }) => rejected !== undefined).length,
    ...Object.fromEntries(
      ['resent', 'reconnects'].map((count) => [
        count,
        total(
          writers.map(({ stats }) => stats),
          count,
        ),
      ]),
    ),
    rss: Math.max(...writers.map(({ rss }) => rss)),
    faults: happened,
    violations: violations.list(),
  }
}

/**
 * Without replies, a refusal shows in one number that the summary has; where the server was started anew, it has none, and
 * `counted` stands for it.
 */
function excuse(violations, { told, counted }) {
  const missing = ['lost', 'stale']
  if (violations.count(...missing) <= (told ?? counted)) violations.remove(...missing)
}

/** Since its start. */
async function errorReplies(redis) {
  return Number(/^total_error_replies:(\d+)/m.exec(await redis.info('stats'))?.[1])
}

module.exports = { runLeg }
