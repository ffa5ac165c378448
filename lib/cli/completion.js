// Completion for shells, from the table of flags: commands, flags, the values of flags, and files.
'use strict'

const { ALONE, COMMANDS, FLAGS, flagsOf } = require('./flags.js')

function completionScript(shell) {
  return { bash, zsh, fish }[shell]()
}

/** Works with bash 3.2, which macOS has: no mapfile, no associative arrays. */
function bash() {
  const valued = [...new Set(FLAGS.values())].filter(({ reads }) => reads !== undefined)
  const withChoices = valued.filter(({ reads }) => reads.choices !== undefined)
  const withFiles = valued.filter(({ reads }) => reads.isFile)
  const others = valued.filter((flag) => !withChoices.includes(flag) && !withFiles.includes(flag))
  const cases = Object.entries(COMMANDS).map(([command, { operands }]) => {
    const behind = operands.takesFiles ? '_respipe_files' : `_respipe_words '${operands.choices.join(' ')}'`
    return `    ${command}) if [[ $cur == -* ]]; then _respipe_words '${longNames(flagsOf(command)).join(' ')}'; else ${behind}; fi ;;`
  })
  return `# Completion of respipe for bash: respipe completion bash
_respipe_words() {
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -W "$1" -- "$cur")
}

_respipe_files() {
  compopt -o filenames 2> /dev/null
  while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur")
}

_respipe() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} command= word
  COMPREPLY=()
  # Bash parts words at "=".
  if [[ $cur == = ]]; then
    cur=
  elif [[ $prev == = ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  case $prev in
${withChoices.map(({ names, reads }) => `    ${names.join(' | ')}) _respipe_words '${reads.choices.join(' ')}'; return ;;`).join('\n')}
    ${allNames(withFiles).join(' | ')}) _respipe_files; return ;;
    ${allNames(others).join(' | ')}) return ;;
  esac
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD - 1}"; do
    case $word in
      ${Object.keys(COMMANDS).join(' | ')}) command=$word; break ;;
    esac
  done
  case $command in
${cases.join('\n')}
    *) _respipe_words '${[...Object.keys(COMMANDS), ...longNames(ALONE)].join(' ')}' ;;
  esac
}

complete -F _respipe respipe
`
}

function zsh() {
  const cases = Object.entries(COMMANDS).map(([command, { operands }]) => {
    const behind = operands.takesFiles ? "'1:file:_files' '*:template: '" : `'1:word:(${operands.choices.join(' ')})'`
    return `        ${command}) _arguments ${[...flagsOf(command).map(zshFlag), behind].join(' \\\n          ')} ;;`
  })
  return `#compdef respipe
# Completion of respipe for zsh: respipe completion zsh
_respipe() {
  local state line
  local -a commands=(
${Object.entries(COMMANDS)
  .map(([name, { about }]) => `    ${single(`${name}:${about}`)}`)
  .join('\n')}
  )
  _arguments -C '(- *)--help[help]' '(- *)--version[version]' '1: :->command' '*:: :->arguments'
  case $state in
    command) _describe command commands ;;
    arguments)
      case $words[1] in
${cases.join('\n')}
      esac ;;
  esac
}

if [ "$funcstack[1]" = _respipe ]; then _respipe "$@"; else compdef _respipe respipe; fi
`
}

function zshFlag({ names, about, value, reads }) {
  const text = about.replaceAll(/[[\]:\\]/g, String.raw`\$&`)
  const action = reads?.choices !== undefined ? `(${reads.choices.join(' ')})` : reads?.isFile ? '_files' : ' '
  const takes = value === undefined ? '' : `:${value}:${action}`
  // Of a long name the value may stand behind "=" or in the next word.
  const specs = names.map((name) => `${name}${value !== undefined && name.startsWith('--') ? '=' : ''}`)
  const [one] = specs
  if (specs.length === 1) return single(`${one}[${text}]${takes}`)
  return `${single(`(${names.join(' ')})`)}{${specs.join(',')}}${single(`[${text}]${takes}`)}`
}

function fish() {
  const commands = Object.keys(COMMANDS).join(' ')
  const lines = Object.entries(COMMANDS).flatMap(([command, { about, operands }]) => {
    const behind = `-n '__fish_seen_subcommand_from ${command}'`
    const words = operands.takesFiles ? [`${behind} -F`] : [`${behind} -a '${operands.choices.join(' ')}'`]
    const flags = flagsOf(command).map((flag) => `${behind} ${fishFlag(flag)}`)
    return [`-n __fish_use_subcommand -a ${command} -d ${fishQuoted(about)}`, ...words, ...flags]
  })
  const alone = ALONE.map((flag) => `-n 'not __fish_seen_subcommand_from ${commands}' ${fishFlag(flag)}`)
  const all = ['-f', ...lines, ...alone].map((line) => `complete -c respipe ${line}\n`)
  return `# Completion of respipe for fish: respipe completion fish\n${all.join('')}`
}

function fishFlag({ names, about, reads }) {
  const spelled = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`))
  const values =
    reads === undefined
      ? []
      : reads.choices !== undefined
        ? [`-xa '${reads.choices.join(' ')}'`]
        : [reads.isFile ? '-rF' : '-x']
  return [...spelled, ...values, `-d ${fishQuoted(about)}`].join(' ')
}

function allNames(flags) {
  return flags.flatMap(({ names }) => names)
}

function longNames(flags) {
  return allNames(flags).filter((name) => name.startsWith('--'))
}

function single(text) {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`
}

function fishQuoted(text) {
  return `'${text.replaceAll(/['\\]/g, String.raw`\$&`)}'`
}

module.exports = { completionScript }
