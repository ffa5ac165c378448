// How far a load is: the figures of `onProgress` come in, one line of text goes out. No clock and no stream in here.
'use strict'

const { bytes, clock, count, counted } = require('./numbers.js')

/** Rate and time left are those of the last seconds: a server that slows down must show. */
const WINDOW_MS = 5_000
/** Two figures closer than this tell of chance, not of a rate. */
const MIN_SPAN_MS = 200

/** Keeps what the last seconds brought. */
class Meter {
  #samples = []

  /**
   * @param {object} stats as `onProgress` has them: rows, failed, bytes, bytesRead, bytesTotal, connected
   * @param {number} now in milliseconds
   * @returns what a line shows; undefined where it is not known
   */
  read(stats, now) {
    const { rows, failed, bytesRead, bytesTotal, connected } = stats
    const done = bytesRead ?? stats.bytes
    this.#samples.push({ now, rows, done })
    // The last one from before the window is its beginning.
    while (this.#samples.length > 2 && this.#samples[1].now <= now - WINDOW_MS) this.#samples.shift()

    const [first] = this.#samples
    const seconds = (now - first.now) / 1000
    const isRate = now - first.now >= MIN_SPAN_MS
    const rate = isRate ? (rows - first.rows) / seconds : undefined
    const isKnown = bytesRead !== undefined && bytesTotal > 0
    const fraction = isKnown ? Math.min(bytesRead / bytesTotal, 1) : undefined
    const speed = isRate ? (done - first.done) / seconds : 0
    const secondsLeft = fraction < 1 && speed > 0 ? (bytesTotal - bytesRead) / speed : undefined
    return { rows, failed, done, bytesTotal: isKnown ? bytesTotal : undefined, rate, fraction, secondsLeft, connected }
  }
}

/** What a line may show, in its order. `rank`: the higher, the sooner it gives way where the line is too narrow. */
function parts({ rows, failed, done, bytesTotal, rate, fraction, secondsLeft, connected }, noun) {
  const all = [
    { rank: 0, text: fraction === undefined ? undefined : `${percent(fraction)} %`.padStart(5) },
    { rank: 1, text: counted(rows, noun) },
    { rank: 3, text: rate === undefined ? undefined : `${count(rate)}/s` },
    { rank: 4, text: bytesTotal === undefined ? bytes(done) : `${bytes(done)} of ${bytes(bytesTotal)}` },
    { rank: 2, text: secondsLeft === undefined ? undefined : `${clock(secondsLeft)} left` },
    { rank: 0, text: failed > 0 ? `${count(failed)} failed` : undefined, paint: 'red' },
    // What is read is not what has arrived.
    { rank: 0, text: connected === false && rows > 0 ? 'not connected' : undefined, paint: 'red' },
  ]
  return all.filter(({ text }) => text !== undefined)
}

/** 100 only when all is read. */
function percent(fraction) {
  return Math.floor(fraction * 100)
}

/**
 * A line without colours, for a log: `612,345 rows  61 %  …`
 */
function plainLine(view, noun) {
  return parts(view, noun)
    .map(({ text }) => text.trim())
    .join(', ')
}

const SEPARATOR = '  '
/** In the last column some terminals begin a new line, and before it there must be room for the ^C that they show. */
const SPARED = 3
/** In cells. In steps, or it would grow and shrink with every digit behind it. */
const [MIN_BAR, MAX_BAR, BAR_STEP] = [10, 40, 5]

/**
 * A line for a terminal that is `width` wide: a bar where the end is known, and as many of the figures as there is room for.
 *
 * @param {{ width: number, color: boolean, unicode: boolean }} style
 */
function terminalLine(view, noun, { width, color, unicode }) {
  const room = Math.max(width - SPARED, 1)
  const hasBar = view.fraction !== undefined
  let shown = parts(view, noun)
  const taken = () => shown.map(({ text }) => text).join(SEPARATOR).length
  const wanted = hasBar ? MIN_BAR + 2 + SEPARATOR.length : 0
  while (shown.length > 1 && taken() + wanted > room) {
    const rank = Math.max(...shown.map((part) => part.rank))
    if (rank === 0) break
    shown = shown.filter((part) => part.rank !== rank)
  }

  const bare = shown.map(({ text }) => text).join(SEPARATOR)
  const line = shown.map(({ text, paint }) => (paint && color ? painted(text, paint) : text)).join(SEPARATOR)
  const cells = Math.min(room - bare.length - SEPARATOR.length - 2, MAX_BAR)
  if (hasBar && cells >= MIN_BAR)
    return bar(view.fraction, cells - (cells % BAR_STEP), color, unicode) + SEPARATOR + line
  return bare.length <= room ? line : bare.slice(0, room)
}

/** From an eighth of a cell to the whole. */
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

function bar(fraction, cells, color, unicode) {
  const eighths = Math.floor(fraction * cells * 8)
  const whole = Math.floor(eighths / 8)
  const filled = unicode ? '█'.repeat(whole) + EIGHTHS[eighths % 8] : '#'.repeat(whole)
  const empty = (unicode ? '░' : '-').repeat(cells - filled.length)
  const [open, close] = unicode ? '▕▏' : '[]'
  return open + (color ? painted(filled, 'green') + painted(empty, 'dim') : filled + empty) + close
}

const PAINTS = { red: 31, green: 32, dim: 2 }

function painted(text, paint) {
  return text === '' ? '' : `\x1b[${PAINTS[paint]}m${text}\x1b[0m`
}

/**
 * What a stream can show: nothing but text where it is no terminal.
 *
 * @param {{ isTTY?: boolean }} stream
 * @param {Record<string, string | undefined>} env
 */
function styleOf(stream, env) {
  const isTerminal = Boolean(stream.isTTY) && env.TERM !== 'dumb'
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || ''
  return {
    isTerminal,
    color: isTerminal && !env.NO_COLOR,
    unicode: /utf-?8/i.test(locale) || Boolean(env.WT_SESSION),
  }
}

module.exports = { Meter, plainLine, styleOf, terminalLine }
