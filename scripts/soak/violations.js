'use strict'

/** Promises that were not kept: by kind, how often, and one example. */
class Violations {
  #found = new Map()

  add(what, example, count = 1) {
    const found = this.#found.get(what)
    if (found) found.count += count
    else this.#found.set(what, { what, count, example })
  }

  /** As many of these are explained. */
  count(...kinds) {
    return kinds.reduce((sum, what) => sum + (this.#found.get(what)?.count ?? 0), 0)
  }

  remove(...kinds) {
    for (const what of kinds) this.#found.delete(what)
  }

  list() {
    return [...this.#found.values()]
  }
}

module.exports = { Violations }
