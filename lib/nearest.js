// The known name that somebody probably meant.
'use strict'

/** A name that contains the other one, or differs in a third of its letters at most, whatever their case. */
function nearest(key, names) {
  const wanted = key.slice(0, 64).toLowerCase()
  const rated = names.map((name) => ({ name, edits: distance(wanted, name.toLowerCase()) }))
  const near = rated.filter(({ name, edits }) => edits <= Math.max(1, Math.floor(name.length / 3)))
  return near.toSorted((a, b) => a.edits - b.edits)[0]?.name
}

function distance(a, b) {
  const [short, long] = a.length < b.length ? [a, b] : [b, a]
  return short.length >= 3 && long.includes(short) ? 1 : editDistance(short, long)
}

/** Levenshtein, and two letters changed about count as one. */
function editDistance(a, b) {
  const rows = [Array.from({ length: b.length + 1 }, (_, column) => column)]
  for (let i = 1; i <= a.length; i++) {
    rows[i] = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = rows[i - 1][j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = i > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? rows[i - 2][j - 2] + 1 : Infinity
      rows[i][j] = Math.min(replaced, swapped, rows[i - 1][j] + 1, rows[i][j - 1] + 1)
    }
  }
  return rows[a.length][b.length]
}

module.exports = { nearest }
