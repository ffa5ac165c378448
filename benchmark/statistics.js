'use strict'

function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Of each round's own figures: rounds differ more than clients do. */
function ratio(numerators, denominators) {
  const ratios = numerators.map((numerator, round) => numerator / denominators[round])
  return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) }
}

module.exports = { median, ratio }
