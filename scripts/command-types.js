'use strict'

// Renders commands.d.ts: one typed method per command, in overloads. Called by generate-commands.js with the grammar
// that the server gives. Whatever the grammar, a call that the server takes must type-check: where overloads would
// be too many, what is left of the arguments becomes one rest of all words and types that can occur there.

/** `commands` as generate-commands.js reads them, sorted, without those that are refused in every form. */
function renderTypes(commands, origin) {
  const methods = commands.filter(({ words }) => words.length === 1 && /^[A-Z_][A-Z0-9_]*$/.test(words[0]))
  const lines = methods.flatMap((command) => {
    const subcommands = commands.filter(({ words }) => words.length === 2 && words[0] === command.name)
    const alone = command.container && Math.abs(command.arity) > 1 ? [] : renderMethod(command)
    return [...alone, ...subcommands.flatMap(renderMethod)]
  })
  return `// ${origin}

import type { Argument, Fields } from './index.js'

/** A word of a command's grammar: servers take it in either case. */
type Word<T extends string> = T | Lowercase<T>
/** A 64-bit integer. Above 2^53 as a bigint or text. */
type Integer = number | bigint | string
type Double = number | string
/** An argument beside which words are still completed. */
type Value = number | bigint | Uint8Array | (string & {})
/** A number beside which words are still completed. */
type Numeric = number | bigint | (string & {})

/** One method per Redis command: appends it. What is missing here (modules, newer servers) goes through \`call\`. */
export interface Commands {
${lines.join('\n')}
}

export {}
`
}

function renderMethod(command) {
  const [method, subcommand] = command.words
  const first = subcommand ? [{ name: 'subcommand', type: word([subcommand]) }] : []
  return signatures(command.args).map((rest) => {
    const generic = rest.some((parameter) => parameter.type.includes('Fields<T>')) ? '<T extends object>' : ''
    const parameters = unique([...first, ...rest]).map(renderParameter)
    const head = `  ${method.toLowerCase()}${generic}(`
    const line = `${head}${parameters.join(', ')}): this`
    const broken = `${head}\n${parameters.map((parameter) => `    ${parameter},`).join('\n')}\n  ): this`
    return `${renderDoc(command)}\n${line.length <= 120 ? line : broken.replace(/(\.\.\.[^\n]*),\n {2}\)/, '$1\n  )')}`
  })
}

function renderDoc({ summary, since, deprecated, replacedBy }) {
  const lines = [summary]
  if (deprecated) lines.push(`@deprecated since Redis ${deprecated}${replacedBy ? `: use ${replacedBy}` : ''}`)
  lines.push(`@since Redis ${since}`)
  return ['  /**', ...lines.map((line) => `   * ${line.replaceAll('*/', '*\\/')}`), '   */'].join('\n')
}

const renderParameter = ({ name, type, optional, rest }) => `${rest ? '...' : ''}${name}${optional ? '?' : ''}: ${type}`

function unique(parameters) {
  const seen = new Map()
  return parameters.map((parameter) => {
    const times = (seen.get(parameter.name) ?? 0) + 1
    seen.set(parameter.name, times)
    return times === 1 ? parameter : { ...parameter, name: `${parameter.name}${times}` }
  })
}

/** The overloads for a list of arguments: lists of parameters. */
function signatures(args) {
  if (args.length === 0) return [[]]
  const [head, ...tail] = args
  const required = { ...head, optional: false }
  if (isRepeated(head)) return tail.length === 0 && !head.optional ? alternatives(head) : repeatedFirst(args)
  if (!head.optional) return cross(alternatives(head), signatures(tail))

  if (tail.length === 0) {
    const ways = alternatives(required)
    if (ways.length === 1 && ways[0].length === 1) return [[{ ...ways[0][0], optional: true }]]
    return [[], ...ways]
  }
  if (tail.every((arg) => arg.optional)) return [[rest('options', args)]]
  if (!tail[0].optional && isOneWord(head))
    return [...signatures(tail), ...cross(alternatives(required), signatures(tail))]
  return [...signatures(args.filter((arg) => !arg.optional)), ...anything(args)]
}

function repeatedFirst(args) {
  const [head, ...tail] = args
  if (tail.length === 0 && head.token === undefined) return alternatives({ ...head, optional: false })
  return anything(args)
}

const cross = (before, after) => before.flatMap((one) => after.map((other) => [...one, ...other]))

/** What one required argument can be. */
function alternatives(arg) {
  const token = arg.token === undefined || arg.type === 'pure-token' ? [] : [tokenParameter(arg)]
  return cross([token], alternativesBehindToken(arg))
}

function alternativesBehindToken(arg) {
  if (arg.multiple) return repeated(arg)
  if (arg.type === 'block') return signatures(arg.inner)
  if (arg.type !== 'oneof') return [[{ name: parameterName(arg.name), type: typeOf([arg]) }]]
  if (arg.inner.every(isOneWord)) return [[{ name: parameterName(arg.name), type: typeOf(arg.inner) }]]
  return arg.inner.flatMap((inner) => (isRepeated(inner) ? anything([inner]) : alternatives(inner)))
}

/** The repeated argument that ends a list: flat, and as an array, an object or a Map. */
function repeated(arg) {
  if (arg.multipleToken || arg.type === 'oneof') return anything([arg])
  if (arg.type !== 'block') {
    const name = plural(parameterName(arg.name))
    const type = typeOf([arg])
    return [[{ name, type: `${type}[]`, rest: true }], [{ name, type: `readonly ${type}[]` }]]
  }
  const group = arg.inner.map((inner) => ({ name: parameterName(inner.name), type: typeOf([inner]) }))
  const more = group.map((parameter) => plural(parameter.name))
  const types = [...new Set(group.map((parameter) => parameter.type))]
  const type = types.length === 1 ? types[0] : 'Argument'
  const flat = [...group, { name: joined(more), type: `${type}[]`, rest: true }]
  if (group.length !== 2) return [flat]
  return [
    flat,
    [
      type === 'Integer'
        ? { name: flat.name, type: 'readonly Integer[]' }
        : { name: fieldsName(arg), type: 'Fields<T>' },
    ],
  ]
}

/** Members of ZADD, fields of all others. */
const fieldsName = ({ inner }) => {
  if (inner[0].type === 'key') return 'entries'
  return plural(parameterName(inner[inner[0].type === 'double' ? 1 : 0].name))
}

/** Any words and values that can occur from here on, in any order; objects and arrays where the list ends in values. */
function anything(args) {
  const last = deepest(args.at(-1))
  const flat = rest(nameOf(args, namesOf(last)), args)
  if (isGroup(last) && last.inner.length === 2) {
    const fields = fieldsName(last)
    const type = `[...options: ${flat.type}, ${fields}: Fields<T>]`
    return [[flat], [{ name: nameOf(args, [fields]), type, rest: true }]]
  }
  return tokens(args).length === 0 ? [[flat], [{ name: flat.name, type: `readonly ${flat.type}` }]] : [[flat]]
}

function nameOf(args, last) {
  if (args.length === 1) return joined(last)
  if (!args[0].multiple) return args.every((arg) => arg.optional) ? 'options' : joined(['options', ...last])
  return joined([...namesOf(args[0]), ...(tokens(args).length > 0 ? ['options'] : last)])
}

const isGroup = (arg) => arg.multiple && !arg.multipleToken && arg.type === 'block'
const namesOf = (arg) => (isGroup(arg) ? arg.inner : [arg]).map((inner) => plural(parameterName(inner.name)))

const deepest = (arg) => (arg.type === 'block' && !arg.multiple ? deepest(arg.inner.at(-1)) : arg)

const rest = (name, args) => {
  const type = typeOf(args, true)
  return { name, type: type.includes('|') ? `(${type})[]` : `${type}[]`, rest: true }
}

/** `mixed`: words and values of several arguments, among which words are to be completed. */
function typeOf(args, mixed = false) {
  const words = [...new Set(tokens(args))]
  const kinds = new Set(args.flatMap(kindsOf))
  const bare = words.length === 0
  if (kinds.has('Argument')) return bare || !mixed ? 'Argument' : `${word(words)} | Value`
  if (kinds.size === 0) return word(words)
  if (mixed && !bare) return `${word(words)} | Numeric`
  return kinds.has('Integer') ? 'Integer' : 'Double'
}

function kindsOf(arg) {
  if (arg.type === 'pure-token') return []
  if (arg.type === 'block' || arg.type === 'oneof') return arg.inner.flatMap(kindsOf)
  return [{ integer: 'Integer', 'unix-time': 'Integer', double: 'Double' }[arg.type] ?? 'Argument']
}

const tokens = (args) => args.flatMap((arg) => [...(arg.token ? [arg.token] : []), ...tokens(arg.inner)])
const word = (words) => `Word<${words.map((one) => `'${one}'`).join(' | ')}>`
const tokenParameter = (arg) => ({ name: `${parameterName(arg.token)}Token`, type: word([arg.token]) })

function isOneWord(arg) {
  if (arg.multiple || arg.type === 'block') return false
  if (arg.type === 'oneof') return arg.token === undefined && arg.inner.every(isOneWord)
  return arg.type === 'pure-token' || arg.token === undefined
}

const isRepeated = (arg) => arg.multiple || arg.inner.some(isRepeated)

const parameterName = (name) => {
  const camel = name.toLowerCase().replace(/[^a-z0-9]+([a-z0-9])/g, (_, letter) => letter.toUpperCase())
  return ['function', 'arguments', 'default', 'delete', 'in', 'new', 'with'].includes(camel) ? `${camel}Name` : camel
}
const plural = (name) => (name.endsWith('s') ? name : `${name}s`)
const joined = (names) =>
  names.map((name, at) => (at === 0 ? name : `And${name[0].toUpperCase()}${name.slice(1)}`)).join('')

module.exports = { renderTypes }
