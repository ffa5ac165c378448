'use strict'

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** The median, the least and the greatest. */
function spread(numbers) {
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers) }
}

/** Of each round's own figures: rounds differ more than clients do. */
function ratio(numerators, denominators) {
  return spread(numerators.map((numerator, round) => numerator / denominators[round]))
}

module.exports = { median, ratio, spread }
