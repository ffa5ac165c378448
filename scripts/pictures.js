'use strict'

// The pictures of README.md: `respipe` in a real terminal, of which tmux says what it shows. node scripts/pictures.js; needs tmux.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setTimeout: delay } = require('node:timers/promises')
const { withServer } = require('../benchmark/server.js')
const { svgOf } = require('./pictures/svg.js')

const ROOT = path.join(__dirname, '..')
const ROWS = 2_000_000
const [COLUMNS, LINES] = [100, 20]
/** Rows whose keys hold something else. */
const WRONG = [5, 90_000]
/** How far the load is in the picture of the bar. */
const SHOWN = / (?:5\d|6\d) %/
const LOOK_MS = 20
const LIMIT_MS = 30_000

async function main() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'respipe-pictures-'))
  const tmux = (...args) => execFileSync('tmux', ['-S', path.join(dir, 'tmux'), ...args], { encoding: 'utf8' })
  try {
    fs.symlinkSync(path.join(ROOT, 'cli.js'), path.join(dir, 'respipe'))
    fs.writeFileSync(path.join(dir, 'users.csv'), rows())
    await withServer(async ({ url, port }) => {
      for (const id of WRONG) execFileSync('redis-cli', ['-p', String(port), 'SET', `user:${id}`, 'a string'])
      const env = { PATH: `${dir}:${process.env.PATH}`, REDIS_URL: url, PS1: '$ ', LC_ALL: 'C.UTF-8' }
      // Shells that tmux starts have a mind of their own about PATH and the prompt.
      const shell = `exec env ${Object.entries(env)
        .map(([name, value]) => `'${name}=${value}'`)
        .join(' ')} sh`
      const size = ['-x', String(COLUMNS), '-y', String(LINES)]
      tmux('-f', '/dev/null', '-u', 'new-session', '-d', ...size, '-c', dir, shell)
      const shown = async (pattern) => {
        for (const until = Date.now() + LIMIT_MS; Date.now() < until; await delay(LOOK_MS)) {
          const capture = tmux('capture-pane', '-e', '-p')
          if (pattern.test(capture)) return capture
        }
        throw new Error(`${pattern} was never shown:\n${tmux('capture-pane', '-p')}`)
      }
      const type = (line) => tmux('send-keys', '-l', `${line}\n`)
      await shown(/^\$/)
      type(`respipe import users.csv 'HSET user:{id} {*}' 'SADD users {id}'`)
      save('progress', await shown(SHOWN))
      await shown(/failed +2 commands[^]*\n\$\n/)
      type('echo $?')
      save('failed', (await shown(/\n1\n\$\n/)).trimEnd().replace(/\n\$$/, ''))
    })
  } finally {
    tmux('kill-server')
    fs.rmSync(dir, { recursive: true })
  }
}

function rows() {
  const lines = ['id,name,city']
  for (let id = 0; id < ROWS; id++) lines.push(`${id},name ${id},city ${id % 977}`)
  return `${lines.join('\n')}\n`
}

function save(name, capture) {
  fs.writeFileSync(path.join(ROOT, 'docs', `${name}.svg`), svgOf(capture, COLUMNS))
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
