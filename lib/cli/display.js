// Where progress goes: one line of a terminal drawn again and again, a line now and then in a log, JSON, or nowhere.
// All have `progress`, `note` (a line of its own above it) and `end`.
'use strict'

const { Meter, plainLine, styleOf, terminalLine } = require('./progress.js')

/** In milliseconds; the flag --progress-interval-ms wins. */
const INTERVALS = { terminal: 250, json: 1_000, lines: 10_000 }

/**
 * @param {object} cli the options `quiet` and `json`
 * @param {string} noun what the file is made of
 * @param {number} [intervalMs] from the flag
 */
function displayOf(cli, noun, intervalMs, { stdout, stderr, env, now }) {
  const style = styleOf(stderr, env)
  if (cli.quiet) return new Silent(stderr)
  if (cli.json) return new JsonLines(stdout, stderr, intervalMs ?? INTERVALS.json)
  if (style.isTerminal) return new TerminalLine(stderr, noun, style, now, intervalMs ?? INTERVALS.terminal)
  return new PlainLines(stderr, noun, now, intervalMs ?? INTERVALS.lines)
}

class Silent {
  intervalMs = INTERVALS.lines
  #stderr

  constructor(stderr) {
    this.#stderr = stderr
  }

  progress() {}

  note(text) {
    this.#stderr.write(`${text}\n`)
  }

  end() {}
}

class JsonLines extends Silent {
  #stdout

  constructor(stdout, stderr, intervalMs) {
    super(stderr)
    this.#stdout = stdout
    this.intervalMs = intervalMs
  }

  progress(stats) {
    this.#stdout.write(`${JSON.stringify({ event: 'progress', ...stats })}\n`)
  }
}

class PlainLines extends Silent {
  #stderr
  #noun
  #meter = new Meter()
  #now
  #next

  constructor(stderr, noun, now, intervalMs) {
    super(stderr)
    this.#stderr = stderr
    this.#noun = noun
    this.#now = now
    this.intervalMs = intervalMs
    this.#next = now() + intervalMs
  }

  /** The summary says the rest: a load of less than an interval has no line. */
  progress(stats) {
    const now = this.#now()
    const view = this.#meter.read(stats, now)
    // Timers come a little early or late.
    if (now < this.#next - this.intervalMs / 10) return
    this.#next = now + this.intervalMs
    this.#stderr.write(`${plainLine(view, this.#noun)}\n`)
  }
}

const ERASE_BELOW = '\x1b[J'

class TerminalLine {
  #stream
  #noun
  #style
  #now
  #meter = new Meter()
  #view
  /** Columns of what stands there now. */
  #drawn = 0
  #resized = () => this.#draw()

  constructor(stream, noun, style, now, intervalMs) {
    this.#stream = stream
    this.#noun = noun
    this.#style = style
    this.#now = now
    this.intervalMs = intervalMs
    stream.on('resize', this.#resized)
  }

  progress(stats) {
    this.#view = this.#meter.read(stats, this.#now())
    this.#draw()
  }

  note(text) {
    this.#stream.write(`${this.#erased()}${text}\n`)
    this.#drawn = 0
    this.#draw()
  }

  end() {
    this.#stream.off('resize', this.#resized)
    if (this.#drawn > 0) this.#stream.write('\n')
    this.#drawn = 0
  }

  #draw() {
    if (this.#view === undefined) return
    const erased = this.#erased()
    const style = { ...this.#style, width: this.#width() }
    this.#stream.write(erased + terminalLine(this.#view, this.#noun, style))
    this.#drawn = terminalLine(this.#view, this.#noun, { ...style, color: false }).length
  }

  /** Where the terminal became narrower, what was one line is several by now. */
  #erased() {
    const above = Math.max(Math.ceil(this.#drawn / this.#width()) - 1, 0)
    return `${above > 0 ? `\x1b[${above}A` : ''}\r${ERASE_BELOW}`
  }

  #width() {
    return this.#stream.columns || 80
  }
}

module.exports = { displayOf }
