'use strict'

/** Of a cell, and around all of them, in pixels. */
const [WIDTH, HEIGHT, MARGIN] = [8.4, 19, 16]
const BASELINE = 14

/** A window of its own: it looks the same on a light page and on a dark one. */
const [PAPER, INK, EDGE] = ['#161b22', '#e6edf3', '#30363d']
const COLORS = { 31: '#ff7b72', 32: '#3fb950' }
const FAINT = 0.45

/**
 * What `tmux capture-pane -e -p` prints, as a picture. The blocks of a bar are drawn: fonts leave gaps between them.
 *
 * @param {string} capture
 * @param {number} columns
 */
function svgOf(capture, columns) {
  const lines = capture.trimEnd().split('\n').map(runsOf)
  const [width, height] = [round(columns * WIDTH + 2 * MARGIN), lines.length * HEIGHT + 2 * MARGIN]
  const body = lines.flatMap((runs, line) => runs.flatMap((run) => drawn(run, MARGIN + line * HEIGHT)))
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" \
font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" fill="${INK}">
<rect x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8" fill="${PAPER}" stroke="${EDGE}"/>
${body.join('\n')}
</svg>
`
}

/** A line as texts of one look each: `{ text, column, style }`. */
function runsOf(line) {
  const runs = []
  let style = {}
  let column = 0
  // oxlint-disable-next-line no-control-regex -- that is what colours begin with
  for (const [, codes, text] of line.matchAll(/\x1b\[([\d;]*)m|([^\x1b]+)/g)) {
    if (text === undefined) {
      style = codes.split(';').reduce(styled, style)
      continue
    }
    for (const [part] of text.matchAll(/█+|░+|[▉▊▋▌▍▎▏▕]|[^█▉▊▋▌▍▎▏▕░]+/g)) {
      runs.push({ text: part, column, style })
      column += part.length
    }
  }
  return runs
}

function styled(style, code) {
  if (code === '' || code === '0') return {}
  if (code === '2') return { ...style, opacity: FAINT }
  if (code === '39') return { ...style, fill: undefined }
  return { ...style, fill: COLORS[code] ?? style.fill }
}

/** Which part of its cell a block fills, from its left. */
const FILLED = Object.fromEntries(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].map((block, at) => [block, (at + 1) / 8]))

function drawn({ text, column, style }, y) {
  const x = MARGIN + column * WIDTH
  const look = Object.entries(style).map(([name, value]) => (value === undefined ? '' : ` ${name}="${value}"`))
  const block = (from, part, more = '') =>
    `<rect x="${round(from)}" y="${y + 2}" width="${round(part * WIDTH)}" height="${HEIGHT - 4}"${look.join('')}${more}/>`
  if (text === '▕') return [block(x + (7 / 8) * WIDTH, 1 / 8)]
  if (text.startsWith('░')) return [block(x, text.length, ' fill-opacity="0.5"')]
  if (text.startsWith('█')) return [block(x, text.length)]
  if (FILLED[text] !== undefined) return [block(x, FILLED[text])]
  if (text.trim() === '') return []
  const blanks = text.length - text.trimStart().length
  const shown = text.trim()
  const [from, length] = [round(x + blanks * WIDTH), round(shown.length * WIDTH)]
  return [
    `<text x="${from}" y="${y + BASELINE}" textLength="${length}" lengthAdjust="spacingAndGlyphs" xml:space="preserve"${look.join('')}>${escaped(shown)}</text>`,
  ]
}

function round(number) {
  return Math.round(number * 100) / 100
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

module.exports = { svgOf }
