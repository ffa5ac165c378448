// Counts, sizes and times, for people.
'use strict'

/**
 * `1,234,567`, whatever the locale: a log is read by more than one person. By hand, as the first `Intl.NumberFormat` takes 18 ms,
 * a third of what Node.js needs to start.
 */
function count(number) {
  return String(Math.round(number)).replaceAll(/\B(?=(?:\d{3})+$)/g, ',')
}

/** `1 row`, `2 rows` */
function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? '' : 's'}`
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB']

/** Three digits, in powers of 1000 as file managers and disks have them: `999 B`, `1.23 MB`. */
function bytes(number) {
  let value = number
  let unit = 0
  // 999.5 would be shown as 1000.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${UNITS[unit]}`
}

/** `640 ms`, `12.3 s`, `2 min 5 s`, `1 h 2 min` */
function duration(ms) {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

/** `0:07`, `12:34`, `1:02:03` */
function clock(seconds) {
  const total = Math.round(seconds)
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60]
  return `${hours > 0 ? `${hours}:${two(minutes)}` : minutes}:${two(total % 60)}`
}

function two(number) {
  return String(number).padStart(2, '0')
}

module.exports = { bytes, clock, count, counted, duration }
