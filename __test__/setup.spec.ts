// Machines that lack something: what setup finds there, and what it says. Programs are scripts on a PATH of their own.

import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { folderWith } from './helpers/cli.ts'
import { runScript } from './helpers/rss.ts'
import test, { type ExecutionContext } from './helpers/test.ts'

/** Runs an expression of scripts/setup.js where only these programs are; gives what it makes, or what it says. */
async function onMachine(t: ExecutionContext, programs: Record<string, string>, expression: string) {
  const home = folderWith(t)
  for (const [name, text] of Object.entries(programs)) {
    const path = join(home, name)
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, `#!/bin/sh\n${text}\n`)
    chmodSync(path, 0o755)
  }
  mkdirSync(join(home, 'bin'), { recursive: true })
  symlinkSync(process.execPath, join(home, 'bin', 'node'))
  const source = `
    import setup from './scripts/setup.js'
    try {
      console.log(${expression})
    } catch (error) {
      console.log(error.message)
    }
  `
  const env = { HOME: home, PATH: join(home, 'bin'), CARGO_HOME: undefined, RESPIPE_REDIS_SERVER: undefined }
  const { stdout, stderr } = await runScript({ source }, { env })
  return { home, said: stdout.trimEnd(), stderr }
}

test('without Rust, setup says where to get it', async (t) => {
  const { said } = await onMachine(t, {}, 'setup.requireCargo()')
  t.is(said, 'the addon is written in Rust and cargo is missing: install Rust from https://rustup.rs')
})

test('a Rust that is too old is named, and the version that is needed', async (t) => {
  const { said } = await onMachine(t, { 'bin/cargo': 'echo "cargo 0.66.0"' }, 'setup.requireCargo()')
  t.regex(said, /^building the addon requires Rust 1\.\d+ or later, .*bin\/cargo is 0\.66\.0: install Rust from /)
})

test('a rustup without a toolchain is told in its own words', async (t) => {
  const words = 'error: rustup could not choose a version of cargo to run'
  const { said } = await onMachine(t, { 'bin/cargo': `echo "${words}" >&2; exit 1` }, 'setup.requireCargo()')
  t.true(said.endsWith(`bin/cargo does not work: ${words}`), said)
})

test('a cargo that rustup has put into the home folder is found, though it is not on the PATH', async (t) => {
  const cargo = { '.cargo/bin/cargo': 'echo "cargo 1.95.0 (f2d3ce0bd 2026-03-21)"' }
  const { home, said } = await onMachine(t, cargo, 'setup.requireCargo()')
  t.is(said, join(home, '.cargo', 'bin'))
})

test('a valkey-server is as good as a redis-server', async (t) => {
  const { home, said } = await onMachine(t, { 'bin/valkey-server': '' }, 'setup.findRedisServer()')
  t.is(said, join(home, 'bin', 'valkey-server'))
})

test('where no server can be installed, setup says what to do by hand', async (t) => {
  const failing = {
    'bin/openssl': '',
    'bin/apt-get': 'echo "E: Unable to locate package redis-server" >&2; exit 100',
  }
  const { said, stderr } = await onMachine(t, failing, 'setup.installServer()')
  const installs = process.getuid?.() === 0
  t.regex(said, /install with "sudo apt-get install redis-server" .*RESPIPE_REDIS_SERVER$/)
  t.is(said.includes('"apt-get update" failed: exit code 100. Without network: '), installs, said)
  t.is(stderr.includes('Unable to locate package'), installs, stderr)
})
