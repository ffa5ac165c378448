// The command line: words come in, a command with its operands and flags goes out. Nothing is looked up, no file is opened.
'use strict'

const { nearest } = require('../nearest.js')
const { COMMANDS, FLAGS, properName } = require('./flags.js')
const { shellQuoted } = require('./quote.js')
const { UsageError } = require('./usage.js')

/**
 * Flags may stand anywhere; behind `--` all is operands.
 *
 * @param {string[]} argv without the names of Node.js and of the script
 * @returns {{ command: string, operands: string[], flags: Map<string, { flag: object, text?: string, value: unknown }> }}
 *   `flags` by proper name, in the order of the line. `--help` and `--version` come as the commands `help` and `version`.
 * @throws {UsageError}
 */
function readArguments(argv) {
  const alone = standingAlone(argv)
  if (alone !== undefined) return alone
  const { words, flags } = parted(argv)
  const [command, ...operands] = words
  if (command === undefined)
    throw new UsageError(`a command is missing, ${Object.keys(COMMANDS).join(', ')}: respipe --help tells more`)
  if (!Object.hasOwn(COMMANDS, command)) throw unknownCommand(command)
  for (const { flag } of flags.values()) checkPlace(flag, command)
  checkTogether(flags)
  checkOperands(command, operands)
  return { command, operands, flags }
}

/** The same line again, to be pasted into a shell: without what is secret, with the switches `more`. */
function lineOf({ command, operands, flags }, more = []) {
  const words = operands.map(shellQuoted)
  const given = [...flags.values()].map(({ flag, text }) => shownFlag(flag, text)).filter((word) => word !== null)
  given.push(...more.filter((name) => !flags.has(name)))
  const needsEnd = operands.some((operand) => /^-./.test(operand))
  return ['respipe', command, ...(needsEnd ? [...given, '--', ...words] : [...words, ...given])].join(' ')
}

function shownFlag(flag, text) {
  const name = properName(flag)
  if (text === undefined) return name
  const shown = flag.isSecret ? withoutSecret(flag, text) : text
  if (shown === null) return null
  return `${name}${shown.startsWith('-') ? '=' : ' '}${shellQuoted(shown)}`
}

/** A url without its password; null where nothing is left. */
function withoutSecret(flag, text) {
  if (properName(flag) !== '--url') return null
  const [, scheme, authority, rest] = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#]*)(.*)$/is.exec(text) ?? []
  if (scheme === undefined) return null
  const at = authority.lastIndexOf('@')
  const [name] = authority.slice(0, Math.max(at, 0)).split(':')
  return `${scheme}${name === '' ? '' : `${name}@`}${authority.slice(at + 1)}${rest}`
}

function standingAlone(argv) {
  const end = argv.indexOf('--')
  const words = end < 0 ? argv : argv.slice(0, end)
  const none = new Map()
  if (words.includes('--help') || words.at(-1) === '-h') {
    const about = words.find((word) => Object.hasOwn(COMMANDS, word) && word !== 'help')
    return { command: 'help', operands: about === undefined ? [] : [about], flags: none }
  }
  const version = FLAGS.get('--version').names.includes(words[0])
  return version ? { command: 'version', operands: [], flags: none } : undefined
}

function parted(argv) {
  const words = []
  const flags = new Map()
  const rest = argv.values()
  for (const word of rest) {
    if (word === '--') {
      words.push(...rest)
      break
    }
    if (!/^-./.test(word)) {
      words.push(word)
      continue
    }
    const [name, joined] = nameAndValue(word)
    const flag = FLAGS.get(name)
    if (flag === undefined) throw unknownFlag(word, name)
    const earlier = flags.get(properName(flag))
    if (earlier !== undefined) {
      throw new UsageError(
        earlier.name === name ? `${name} is given twice` : `${earlier.name} and ${name} are the same, given twice`,
      )
    }
    flags.set(properName(flag), { flag, name, ...valueOf(flag, name, joined, rest) })
  }
  return { words, flags }
}

/** `--name=value` */
function nameAndValue(word) {
  const at = word.startsWith('--') ? word.indexOf('=') : -1
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)]
}

function valueOf(flag, name, joined, rest) {
  if (flag.reads === undefined) {
    if (joined !== undefined) throw new UsageError(`${name} takes no value`)
    return { value: flag.means ?? true }
  }
  const text = joined ?? rest.next().value
  // Another flag was meant as such: a value that looks like one is written behind "=".
  if (text === undefined || (joined === undefined && (text === '--' || FLAGS.has(nameAndValue(text)[0])))) {
    throw new UsageError(`${name} needs a value: ${flag.reads.expected}`)
  }
  const value = flag.reads.read(text)
  if (value === undefined) {
    const got = flag.isSecret ? '' : `, got ${JSON.stringify(text.slice(0, 64))}`
    throw new UsageError(`${name} must be ${flag.reads.expected}${got}`)
  }
  return { text, value }
}

function unknownFlag(word, name) {
  const short = word.slice(0, 2)
  if (!word.startsWith('--') && FLAGS.get(short)?.reads !== undefined) {
    // What stands behind it may be a password.
    return new UsageError(`unknown flag ${short}…: write a blank between ${short} and its value`)
  }
  const near = nearest(
    name,
    [...FLAGS.keys()].filter((known) => known.startsWith('--')),
  )
  const help = near === undefined ? ': respipe --help lists them' : `, did you mean ${near}?`
  return new UsageError(`unknown flag ${name.slice(0, 64)}${help}`)
}

function unknownCommand(word) {
  const names = Object.keys(COMMANDS)
  const near = nearest(word, names)
  const shown = JSON.stringify(word.slice(0, 64))
  // The name of a file is what people forget the command before.
  const help = near === undefined ? `known are ${names.join(', ')}` : `did you mean ${near}?`
  return new UsageError(`unknown command ${shown}, ${help}`)
}

function checkPlace(flag, command) {
  if (flag.commands.includes(command) || flag.unused.includes(command)) return
  throw new UsageError(`${properName(flag)} is not for ${command}, but for ${flag.commands.join(', ')}`)
}

function checkTogether(flags) {
  for (const { flag, name } of flags.values()) {
    const other = flags.get(flag.excludes)
    if (other !== undefined) throw new UsageError(`${name} and ${other.name} exclude each other`)
    if (flag.needs !== undefined && !flags.has(flag.needs)) throw new UsageError(`${name} needs ${flag.needs}`)
  }
}

function checkOperands(command, operands) {
  const { min, max, shown, choices } = COMMANDS[command].operands
  const usage = `respipe ${command} ${shown}`
  if (operands.length < min)
    throw new UsageError(`${command} needs ${choices === undefined ? 'a file' : 'a word more'}: ${usage}`)
  if (operands.length > max) {
    throw new UsageError(
      `${command} takes ${max === 1 ? 'one word' : `${max} words`}, not ${operands.length}: ${usage}`,
    )
  }
  if (choices !== undefined && operands.length > 0 && !choices.includes(operands[0])) {
    throw new UsageError(`${command} takes ${choices.join(', ')}, not ${JSON.stringify(operands[0].slice(0, 64))}`)
  }
}

module.exports = { lineOf, readArguments }
