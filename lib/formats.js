'use strict'

// What a file holds, by its name.

/** By the end of a name, without that of its packing. */
const ENDINGS = {
  csv: 'csv',
  tsv: 'tsv',
  tab: 'tsv',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  resp: 'resp',
  aof: 'resp',
  redis: 'commands',
  txt: 'commands',
}

/** Formats of commands, which take no template. */
const OF_COMMANDS = ['resp', 'commands']

/** Undefined where the name does not tell. */
function formatOf(path) {
  const ending = /\.([a-z]+)(?:\.(?:gz|zst))?$/i.exec(path)?.[1]?.toLowerCase() ?? ''
  return Object.hasOwn(ENDINGS, ending) ? ENDINGS[ending] : undefined
}

module.exports = { ENDINGS, OF_COMMANDS, formatOf }
