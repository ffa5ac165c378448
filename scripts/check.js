'use strict'

// Everything that has to hold before a change goes in; stops at the first step that fails.
// node scripts/check.js [--no-ava] [lint] [core] [test]; without group names, all three.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { SetupError, findCargo, setup } = require('./setup.js')

const root = path.join(__dirname, '..')

// oxlint wants its paths named; not all of these folders exist in every checkout.
const linted = [
  ...fs.readdirSync(root).filter((name) => /\.m?js$/.test(name)),
  ...['lib', 'scripts', '__test__', 'examples', 'benchmark'].filter((name) => fs.existsSync(path.join(root, name))),
]
const generated = ['binding.js', 'binding.d.ts', 'commands.d.ts', 'src/command/table.rs']
const denyWarnings = ['--', '-D', 'warnings']

/** What each group needs from setup, and its steps: name and command. */
const groups = {
  lint: {
    needs: ['packages'],
    steps: [
      ['rustfmt', 'cargo', 'fmt', '--check'],
      ['clippy', 'cargo', 'clippy', '--all-targets', ...denyWarnings],
      ['clippy of the addon', 'cargo', 'clippy', '--features', 'napi', ...denyWarnings],
      ['oxlint', 'oxlint', '--deny-warnings', ...linted],
      ['prettier', 'prettier', '--check', '--log-level', 'warn', '.'],
      ['types', 'tsc'],
      ['README as its results say', 'node', 'scripts/chart.js', '--check'],
    ],
  },
  core: {
    needs: [],
    steps: [['cargo test', 'cargo', 'test']],
  },
  test: {
    needs: ['packages', 'addon', 'server'],
    steps: [
      ['ava', 'ava'],
      ['ava, second ring', 'ava', '--config', '__test__/long/ava.config.js'],
      ['generated files unchanged', 'git', 'diff', '--exit-code', '--', ...generated],
    ],
  },
}

function check(args) {
  const names = args.filter((arg) => arg !== '--no-ava')
  const unknown = names.find((name) => !Object.hasOwn(groups, name))
  if (unknown) throw new SetupError(`no group is called ${unknown}: ${Object.keys(groups).join(', ')}`)
  const chosen = (names.length > 0 ? names : Object.keys(groups)).map((name) => groups[name])
  const steps = chosen.flatMap((group) => group.steps).filter(([name]) => name !== 'ava' || !args.includes('--no-ava'))

  timed('setup', () => setup([...new Set(chosen.flatMap((group) => group.needs))]))
  for (const [name, program, ...rest] of steps) timed(name, () => run(program, rest))
  console.log(`\nchecks: ${steps.length + 1} passed, 0 failed`)
}

function timed(name, step) {
  console.log(`\n> ${name}`)
  const start = performance.now()
  let outcome = 'failed after'
  try {
    step()
    outcome = 'passed in'
  } finally {
    console.log(`< ${name}: ${outcome} ${((performance.now() - start) / 1000).toFixed(1)} s`)
  }
}

function run(program, args) {
  const cargo = findCargo()
  const folders = [path.join(root, 'node_modules', '.bin'), process.env.PATH, ...(cargo ? [path.dirname(cargo)] : [])]
  const PATH = folders.join(path.delimiter)
  const result = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, PATH },
    shell: process.platform === 'win32',
    stdio: 'inherit',
  })
  if (result.status !== 0) throw new SetupError(result.error?.message ?? `"${program} ${args.join(' ')}" failed`)
}

try {
  check(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  console.error(`check: ${error.message}`)
  process.exitCode = 1
}
