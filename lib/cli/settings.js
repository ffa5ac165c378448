// Flags and the environment, as options of `bulkPipeline()` and `importFile()`.
'use strict'

const { readFileSync } = require('node:fs')

const { FLAGS, optionOf, properName } = require('./flags.js')
const { reason, UsageError } = require('./usage.js')

/** Word for word as redis-cli says it. */
const PASSWORD_WARNING =
  "Warning: Using a password with '-a' or '-u' option on the command line interface may not be safe."

/** The options that flags of `target` (pipeline, load or cli) set, as one object; absent where no flag says so. */
function optionsOf(flags, target) {
  const options = {}
  for (const { flag, value } of flags.values()) {
    const { target: its, path } = optionOf(flag)
    if (its === target) assign(options, path, value)
  }
  return options
}

function assign(options, [name, ...rest], value) {
  if (rest.length === 0) options[name] = value
  else assign((options[name] ??= {}), rest, value)
}

/**
 * The options of the pipeline: flags, then the environment, as redis-cli reads them. What the line says of the server wins
 * over the environment as a whole: a password for one server must not be sent to another one.
 *
 * @param {Map<string, object>} flags
 * @param {{ ceiling?: number }} source
 * @returns {Promise<{ options: object, warning?: string, urlFrom: string }>} `urlFrom`: who gave the url, for messages
 * @throws {UsageError}
 */
async function pipelineOptions(flags, { ceiling }, { env, stderr, openTerminal }) {
  const options = optionsOf(flags, 'pipeline')
  if (ceiling !== undefined) options.maxBufferedBytes ??= ceiling
  const cli = optionsOf(flags, 'cli')
  const isNamed = ['--url', '--host', '--port', '--socket'].some((name) => flags.has(name))
  const found = isNamed ? undefined : urlOf(env)
  if (found !== undefined) options.url = found.url

  const isShown = options.password !== undefined || (found === undefined && hasPassword(options.url))
  if (cli.askpass) options.password = await require('./askpass.js').askPassword(stderr, openTerminal)
  else if (options.password === undefined && env.REDISCLI_AUTH && !hasPassword(options.url)) {
    options.password = env.REDISCLI_AUTH
  }

  const tls = tlsOf(flags, options, cli)
  if (tls !== undefined) options.tls = tls
  if (options.waitReplicas !== undefined) {
    options.waitReplicas.timeoutMs ??= Number(FLAGS.get('--wait-replicas-timeout-ms').fallback)
  }
  const warning = isShown && !cli.noAuthWarning ? PASSWORD_WARNING : undefined
  return { options, warning, urlFrom: found?.from ?? '--url' }
}

/** Two that differ may be two servers: loading into the wrong one is worse than asking. */
function urlOf(env) {
  const [first, second] = ['REDIS_URL', 'VALKEY_URL']
    .filter((name) => env[name])
    .map((from) => ({ from, url: env[from] }))
  if (second !== undefined && first.url !== second.url) {
    throw new UsageError(`${first.from} and ${second.from} differ: say with --url which server is meant`)
  }
  return first
}

function hasPassword(url) {
  return url !== undefined && /^[a-z][a-z0-9+.-]*:\/\/[^/?#:]*:[^/?#]+@/i.test(url)
}

function tlsOf(flags, { url = '', tls }, cli) {
  if (cli.tls) return tls === undefined ? true : withFiles(flags, tls)
  if (tls === undefined) return undefined
  const first = [...flags.values()].find(({ flag }) => flag.sets.startsWith('pipeline.tls.'))
  if (!/^(rediss|valkeys):/i.test(url))
    throw new UsageError(`${first.name} needs --tls, or a url that begins with rediss://`)
  return withFiles(flags, tls)
}

function withFiles(flags, tls) {
  const read = { ...tls }
  for (const { flag, name, text } of flags.values()) {
    const { target, path } = optionOf(flag)
    if (target !== 'pipeline' || path[0] !== 'tls' || !flag.reads?.isFile) continue
    try {
      read[path[1]] = readFileSync(text)
    } catch (error) {
      throw new UsageError(`${name}: cannot read ${text}: ${reason(error)}`)
    }
  }
  return read
}

/** A message about an option, with the flag that the user knows it by. */
function inFlags(message, urlFrom = '--url') {
  const [option] = /^[\w.]+/.exec(message) ?? []
  if (option === 'url') return `${urlFrom}${message.slice(3)}`
  let text = message
  for (const [name, flag] of BY_OPTION) {
    text = text.replaceAll(`the option ${name}`, properName(flag))
    if (option === name) text = `${properName(flag)}${text.slice(name.length)}`
    // Only names that are no words of a sentence.
    else if (/[A-Z.]/.test(name)) text = text.replaceAll(new RegExp(`\\b${name}\\b`, 'g'), properName(flag))
  }
  return text
}

/** Longer names first: `retry.attempts` before anything that is a part of it. */
const BY_OPTION = [...new Set(FLAGS.values())]
  .filter((flag) => /^(pipeline|load)\./.test(flag.sets))
  .map((flag) => [optionOf(flag).path.join('.'), flag])
  .toSorted(([a], [b]) => b.length - a.length)

module.exports = { hasPassword, inFlags, optionsOf, pipelineOptions }
