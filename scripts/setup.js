'use strict'

// Installs what a fresh clone lacks: the npm packages, the addon, a redis-server. Quick where nothing is missing.
// From a shell: node scripts/setup.js [packages] [addon] [server]; without names, all three.

const { spawnSync } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const root = path.join(__dirname, '..')
const windows = process.platform === 'win32'

/** What the user has to do, in one sentence. */
class SetupError extends Error {}

const parts = { packages: installPackages, addon: buildAddon, server: installServer }

function setup(names = Object.keys(parts)) {
  for (const name of names) {
    if (!Object.hasOwn(parts, name)) throw new SetupError(`no part is called ${name}: ${Object.keys(parts).join(', ')}`)
    parts[name]()
  }
}

function installPackages() {
  requireNode()
  if (packagesAreInstalled()) return
  say('installing the npm packages')
  run('npm', ['ci', '--include=dev', '--no-audit', '--no-fund'])
}

/** The oldest versions that the tests' runner takes. */
const OLDEST_NODE = { 20: 19, 22: 20, 24: 12 }

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 24 || minor >= OLDEST_NODE[major]) return
  throw new SetupError(
    `building and testing requires Node.js 20.19, 22.20 or 24.12 or later, this is ${process.version}`,
  )
}

/** Compares the lock file with the one that npm keeps of what it installed. */
function packagesAreInstalled() {
  const installed = readJson('node_modules/.package-lock.json')?.packages
  if (!installed) return false
  return Object.entries(readJson('package-lock.json').packages).every(([name, wanted]) => {
    if (name === '') return true
    const found = installed[name]
    // Optional: made for another platform.
    if (!found) return wanted.optional === true
    return found.version === wanted.version && found.integrity === wanted.integrity
  })
}

function buildAddon() {
  // The addon's own hash tells a debug build, or one from elsewhere, from the one made here.
  const stamp = 'target/.respipe-addon.json'
  const sources = hash(addonSources())
  const before = readJson(stamp)
  const addon = findAddon()
  if (addon && before?.sources === sources && before.addon === hash([addon])) return

  const folder = requireCargo()
  installPackages()
  say('building the addon (a minute or two the first time)')
  run('npm', ['run', '--silent', 'build'], { PATH: [folder, process.env.PATH].join(path.delimiter) })
  const built = findAddon()
  if (!built) throw new SetupError('the build made no addon for this platform: see "napi" in package.json')
  // cargo may have been told to build elsewhere.
  fs.mkdirSync(path.join(root, path.dirname(stamp)), { recursive: true })
  fs.writeFileSync(path.join(root, stamp), JSON.stringify({ sources, addon: hash([built]) }))
}

/** The folder of a cargo that is new enough. */
function requireCargo() {
  const where = 'install Rust from https://rustup.rs'
  const cargo = findCargo()
  if (!cargo) throw new SetupError(`the addon is written in Rust and cargo is missing: ${where}`)
  const { status, stdout, stderr } = spawnSync(cargo, ['--version'], { cwd: root, encoding: 'utf8' })
  // rustup's cargo needs a toolchain that is installed.
  if (status !== 0) throw new SetupError(`${cargo} does not work: ${stderr.trim()}`)
  const oldest = /^rust-version = "(.*)"/m.exec(fs.readFileSync(path.join(root, 'Cargo.toml'), 'utf8'))[1]
  const version = /\d+\.\d+\.\d+/.exec(stdout)?.[0] ?? stdout.trim()
  if (!isAtLeast(version, oldest)) {
    throw new SetupError(`building the addon requires Rust ${oldest} or later, ${cargo} is ${version}: ${where}`)
  }
  return path.dirname(cargo)
}

/** Where rustup puts it counts too: a shell that was open before the installation does not have that on its PATH. */
function findCargo() {
  const home = process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo')
  const installed = path.join(home, 'bin', windows ? 'cargo.exe' : 'cargo')
  return findOnPath('cargo') ?? (isExecutable(installed) ? installed : undefined)
}

function isAtLeast(version, oldest) {
  const [[major, minor], [wantedMajor, wantedMinor]] = [version, oldest].map((text) => text.split('.').map(Number))
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}

/** The addon of this platform, relative to the root; undefined where it was not built yet. */
function findAddon() {
  const prefix = `respipe.${process.platform}-${process.arch}`
  return fs.readdirSync(root).find((name) => name.startsWith(prefix) && name.endsWith('.node'))
}

function addonSources() {
  const sources = fs
    .readdirSync(path.join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)))
    .toSorted()
  return ['Cargo.toml', 'Cargo.lock', 'build.rs', ...sources]
}

/** Of the files' names and contents, and of how package.json has them built. */
function hash(files) {
  const { napi, scripts } = readJson('package.json')
  const sum = createHash('sha256').update(JSON.stringify([napi, scripts.build]))
  for (const file of files) {
    if (fs.existsSync(path.join(root, file))) sum.update(`\0${file}\0`).update(fs.readFileSync(path.join(root, file)))
  }
  return sum.digest('hex')
}

function installServer() {
  const missing = []
  if (!findRedisServer()) missing.push('redis-server')
  // The tests make their certificates with it.
  if (!isOnPath('openssl')) missing.push('openssl')
  if (missing.length === 0) return
  const byHand =
    `install with "sudo apt-get install ${missing.join(' ')}" (Debian, Ubuntu), "brew install redis openssl" (macOS) ` +
    `or your system's own means, or name a redis-server or valkey-server in RESPIPE_REDIS_SERVER`
  if (!isOnPath('apt-get') || process.getuid?.() !== 0) {
    throw new SetupError(`${missing.join(' and ')} missing: ${byHand}`)
  }
  say(`installing ${missing.join(' and ')}`)
  try {
    withoutServices(() => {
      run('apt-get', ['update'])
      run('apt-get', ['install', '-y', '--no-install-recommends', ...missing])
    })
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    throw new SetupError(`${error.message}. Without network: ${byHand}`)
  }
  if (!findRedisServer()) throw new SetupError('redis-server was installed, but is not on the PATH')
}

/** Debian starts what it installs, unless policy-rc.d forbids it (exit code 101). The tests start their own servers. */
function withoutServices(install) {
  const policy = '/usr/sbin/policy-rc.d'
  const ours = !fs.existsSync(policy)
  if (ours) fs.writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    install()
  } finally {
    if (ours) fs.rmSync(policy, { force: true })
  }
}

/** RESPIPE_REDIS_SERVER, else redis-server or valkey-server of the PATH, else undefined. */
function findRedisServer() {
  const named = process.env.RESPIPE_REDIS_SERVER
  if (!named) return findOnPath('redis-server') ?? findOnPath('valkey-server')
  if (!isExecutable(named)) throw new SetupError(`RESPIPE_REDIS_SERVER names no program: ${named}`)
  return path.resolve(named)
}

function isOnPath(name) {
  return findOnPath(name) !== undefined
}

function findOnPath(name) {
  return (process.env.PATH ?? '')
    .split(path.delimiter)
    .filter(Boolean)
    .map((folder) => path.join(folder, windows ? `${name}.exe` : name))
    .find(isExecutable)
}

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK)
    return fs.statSync(file).isFile()
  } catch {
    return false
  }
}

/** Runs a program in the root; what it says is shown only if it fails. */
function run(program, args, env = {}) {
  const result = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', ...env },
    maxBuffer: 256 * 1024 * 1024,
    // npm is a batch file on Windows, which only a shell runs.
    shell: windows,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.status === 0) return
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`)
  const how = result.error?.message ?? (result.signal ? `ended by ${result.signal}` : `exit code ${result.status}`)
  throw new SetupError(`"${program} ${args.join(' ')}" failed: ${how}`)
}

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(root, file), 'utf8'))
  } catch (error) {
    if (error.code === 'ENOENT' || error instanceof SyntaxError) return undefined
    throw error
  }
}

function say(text) {
  console.log(`setup: ${text}`)
}

module.exports = { SetupError, findCargo, findRedisServer, installPackages, installServer, requireCargo, setup }

if (require.main === module) {
  try {
    const names = process.argv.slice(2)
    setup(names.length > 0 ? names : undefined)
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`setup: ${error.message}`)
    process.exitCode = 1
  }
}
