'use strict'

// What respipe promises in figures, and whether it is kept.

const { median } = require('./statistics.js')

const writes = ['hset', 'hset-new', 'hset-5', 'set-json', 'set-text']

/**
 * `of` and `beside` are a workload and a client; `figure` is one of `rate`, `cpu`, `thread`, `peak`, `delay`. The bound is for their ratio, taken
 * within each round, or for their difference, or with no `beside` for the figure itself; of the rounds the median counts.
 */
const promises = [
  ...writes.flatMap((workload) => [
    { of: [workload, 'respipe'], beside: [workload, 'limit'], figure: 'rate', least: 0.95 },
    { of: [workload, 'respipe-off'], beside: [workload, 'limit-off'], figure: 'rate', least: 0.95 },
  ]),
  ...Object.entries({ ioredis: 8, 'node-redis': 5, 'valkey-glide': 8, bun: 2 }).flatMap(([client, least]) =>
    [client, `${client}-awaited`].map((form) => ({
      of: ['hset', 'respipe'],
      beside: ['hset', form],
      figure: 'rate',
      least,
    })),
  ),
  { of: ['hset', 'respipe'], beside: ['hset', 'node-net'], figure: 'cpu', most: 0.45 },
  { of: ['hset', 'respipe'], beside: ['hset', 'ioredis'], figure: 'cpu', most: 0.05 },
  { of: ['batches', 'respipe'], beside: ['batches', 'ioredis'], figure: 'rate', least: 1.5 },
  { of: ['batches-flow', 'respipe'], beside: ['batches-flow', 'limit'], figure: 'rate', least: 0.9 },
  { of: ['get', 'respipe-collect'], beside: ['get', 'ioredis'], figure: 'rate', least: 3 },
  { of: ['get', 'respipe-collect'], beside: ['get', 'ioredis'], figure: 'peak', most: 0.5 },
  { of: ['tls', 'respipe'], beside: ['tls', 'ioredis'], figure: 'rate', least: 3 },
  { of: ['tls', 'respipe'], beside: ['plain', 'respipe'], figure: 'thread', most: 1.1 },
  { of: ['rows-1m', 'respipe'], minus: ['rows-1m', 'strings'], figure: 'peak', most: 12 },
  { of: ['rows-10m', 'respipe'], minus: ['rows-10m', 'strings'], figure: 'peak', most: 12 },
  { of: ['rows-1m', 'respipe'], beside: ['rows-100k', 'respipe'], figure: 'rate', least: 0.9, most: 1.1 },
  { of: ['rows-10m', 'respipe'], beside: ['rows-100k', 'respipe'], figure: 'rate', least: 0.9, most: 1.1 },
  { of: ['delay', 'respipe'], figure: 'delay', most: 5 },
]

/** Those that the figures of a run can tell: { what, promised, found, kept }. */
function judge(figures) {
  return promises.flatMap((promise) => {
    const { of, beside, minus, figure, least = -Infinity, most = Infinity } = promise
    const [ours, theirs] = [of, beside ?? minus].map((side) => side && figures[side[0]]?.[side[1]])
    if (!ours || ((beside ?? minus) && !theirs)) return []
    const found = median(
      ours.map((run, round) => {
        if (beside) return run[figure] / theirs[round][figure]
        return minus ? run[figure] - theirs[round][figure] : run[figure]
      }),
    )
    return [{ what: describe(promise), promised: bound(promise), found, kept: least <= found && found <= most }]
  })
}

function describe({ of, beside, minus, figure }) {
  const [workload, client] = of
  const other = beside ?? minus
  const named = other && (other[0] === workload ? other[1] : other.join(' '))
  const relation = beside ? ` / ${named}` : ''
  return `${workload}: ${FIGURES[figure]}, ${client}${minus ? ` - ${named}` : relation}`
}

const FIGURES = { rate: 'commands/s', cpu: 'CPU', thread: 'JS thread', peak: 'peak MB', delay: 'delay p99 ms' }

function bound({ least, most }) {
  if (least !== undefined && most !== undefined) return `${least} to ${most}`
  return least === undefined ? `<= ${most}` : `>= ${least}`
}

module.exports = { judge }
