'use strict'

const WIDTH = 720
/** For the longest name, and for the number behind the longest bar. */
const LEFT = 140
const RIGHT = 90
const TOP = 44
const STEP = 28
const BAR = 18

/** An SVG of horizontal bars, in the colours of a light or a dark page. Bars are { name, value, ours }. */
function barChart(title, bars) {
  const height = TOP + bars.length * STEP + 8
  const greatest = Math.max(...bars.map(({ value }) => value))
  const lines = bars.map(({ name, value, ours }, place) => {
    const top = TOP + place * STEP
    const width = Math.round(((WIDTH - LEFT - RIGHT) * value) / greatest)
    const middle = top + BAR - 4
    return [
      `  <text x="${LEFT - 10}" y="${middle}" text-anchor="end">${escape(name)}</text>`,
      `  <rect x="${LEFT}" y="${top}" width="${width}" height="${BAR}" rx="2"${ours ? ' class="ours"' : ''}/>`,
      `  <text x="${LEFT + width + 8}" y="${middle}">${Math.round(value).toLocaleString('en-US')}</text>`,
    ].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
  <title>${escape(title)}</title>
${STYLE}
  <text x="${LEFT}" y="24" class="title">${escape(title)}</text>
${lines.join('\n')}
</svg>
`
}

const STYLE = `  <style>
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .title { font-weight: 600 }
    rect { fill: #8c959f }
    .ours { fill: #cf222e }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } rect { fill: #6e7681 } .ours { fill: #f85149 } }
  </style>`

function escape(text) {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}

module.exports = { barChart }
