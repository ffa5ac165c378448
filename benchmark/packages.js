'use strict'

// Installs the other clients, where they are missing. They never enter the package's own dependencies.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

function installPackages() {
  if (areInstalled()) return
  console.log('benchmark: installing the other clients')
  const windows = process.platform === 'win32'
  const options = { cwd: __dirname, encoding: 'utf8', shell: windows, stdio: ['ignore', 'pipe', 'pipe'] }
  const { status, stdout, stderr } = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], options)
  if (status === 0) return
  throw new Error(`"npm ci" failed in ${__dirname}\n${stdout ?? ''}${stderr ?? ''}`)
}

/** Compares the lock file with the one that npm keeps of what it installed. */
function areInstalled() {
  const installed = path.join(__dirname, 'node_modules', '.package-lock.json')
  if (!fs.existsSync(installed)) return false
  const found = read(installed)
  return Object.entries(read(path.join(__dirname, 'package-lock.json'))).every(([name, { version, optional }]) => {
    // Optional: made for another platform.
    return name === '' || (optional && !found[name]) || found[name]?.version === version
  })
}

function read(file) {
  return JSON.parse(fs.readFileSync(file, 'utf8')).packages
}

module.exports = { installPackages }
