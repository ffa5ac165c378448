// Imports that are large, or end many times over.

import test from '../helpers/test.ts'

import { spawnKept } from '../helpers/children.ts'
import { fifoFor, fileFor } from '../helpers/files.ts'
import { endOfImport, endedWorkers } from '../helpers/imports.ts'
import { serverFor } from '../helpers/loads.ts'
import { agreesOnCsv, agreesOnNdjson } from '../helpers/parsers.ts'
import { csvOf } from '../helpers/rows.ts'
import { runScript } from '../helpers/rss.ts'

/** Where there is /proc. */
const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

onLinux('memory stays flat, however many rows there are and however slow the server is', async (t) => {
  const server = await serverFor(t)
  const rounds = 6
  const paths = Array.from({ length: rounds }, () => fifoFor(t, 'rows.csv'))
  const rows = 500_000
  const program = `BEGIN {
    for (file = 1; file < ARGC; file++) {
      print "id,name,city" > ARGV[file]
      for (i = 0; i < ${rows}; i++) print i % 1000 ",name " i ",somewhere or other" > ARGV[file]
      close(ARGV[file])
    }
  }`
  const generator = spawnKept('awk', [program, ...paths], { stdio: 'ignore' })
  t.teardown(() => generator.kill('SIGKILL'))
  // In each round the server stops, until the import has read as far as it may, and stands.
  const source = `
    import { readFileSync } from 'node:fs'
    import { setTimeout as delay } from 'node:timers/promises'
    import { bulkPipeline } from './index.js'
    const [port, pid, ...paths] = process.argv.slice(1)
    const peak = () => Number(/VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))[1]) / 1024
    const bulk = bulkPipeline({ port: Number(port), maxBufferedBytes: 16 << 20 })
    const peaks = []
    for (const path of paths) {
      let place = 0
      let stop
      const onProgress = ({ rows }) => {
        place = rows
        if (rows > ${rows / 5}) stop ??= holdUp()
      }
      const holdUp = async () => {
        process.kill(Number(pid), 'SIGSTOP')
        for (let before = -1; before < place;) {
          before = place
          await delay(200)
        }
        process.kill(Number(pid), 'SIGCONT')
      }
      const { succeeded } = await bulk.importFile(path, 'HSET flat:{id} {*}', { progressIntervalMs: 10, onProgress })
      await stop
      if (succeeded !== ${rows}) throw new Error(succeeded + ' rows')
      peaks.push(peak())
    }
    await bulk.close()
    console.log(JSON.stringify(peaks))
  `
  const { code, stdout, stderr } = await runScript({ source }, { args: [`${server.port}`, `${server.pid}`, ...paths] })
  t.is(code, 0, stderr)
  const peaks = JSON.parse(stdout) as number[]
  t.log(`MB after each round: ${peaks.map((peak) => peak.toFixed(1)).join(', ')}`)
  // Half a million rows are 20 MB in the file, and more as commands.
  const grown = peaks.at(-1)! - peaks[1]!
  t.true(grown < 16, `${grown} MB`)
})

test.serial('workers that are ended in mid-import, again and again, stop reading', async (t) => {
  const server = await serverFor(t)
  const path = fileFor(t, 'a.csv', csvOf(3_000_000))
  t.deepEqual(await endOfImport(server.port, path, endedWorkers(50)), {
    code: 0,
    signal: null,
    stdout: '1\n',
    stderr: '',
  })
})

test('thousands of random csv files: rows and refusals are those of csv-parse', (t) =>
  agreesOnCsv(t, { runs: 5_000, seed: 8 }))

test('thousands of random lines of ndjson agree with JSON.parse', (t) => agreesOnNdjson(t, { runs: 5_000, seed: 8 }))
