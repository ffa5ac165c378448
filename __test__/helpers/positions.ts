// Where a stream is: at which command going up, and at the reply to which one coming down.

/** Finds where commands end, and how they are called, in what comes piece by piece. */
export class CommandPositions {
  #header = ''
  /** Arguments of the present command that are yet to come; 0 between commands. */
  #arguments = 0
  /** Bytes of the present argument, its line end included, that are yet to come. */
  #left = 0
  /** The first argument, while it comes; undefined behind it. */
  #first: string | undefined
  #name = ''
  #opaque = false

  /** Ends of commands within the piece, as offsets behind them; each with the command's name in capitals. */
  feed(piece: Buffer): { end: number; name: string }[] {
    const found: { end: number; name: string }[] = []
    let at = 0
    while (at < piece.length && !this.#opaque) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, piece.length - at)
        if (this.#first !== undefined) this.#first += piece.toString('latin1', at, at + taken)
        this.#left -= taken
        at += taken
        if (this.#left > 0) break
        if (this.#first !== undefined) this.#name = this.#first.trimEnd().toUpperCase()
        this.#first = undefined
        this.#arguments -= 1
        if (this.#arguments === 0) found.push({ end: at, name: this.#name })
        continue
      }
      const end = piece.indexOf(10, at)
      this.#header += piece.toString('latin1', at, end < 0 ? Math.min(piece.length, at + 64) : end + 1)
      // TLS, or something else that is no RESP: nothing to count.
      if (this.#header.length > 64) this.#opaque = true
      if (end < 0) break
      at = end + 1
      const [, type, count] = /^([*$])(\d+)\r\n$/.exec(this.#header) ?? []
      this.#header = ''
      if (type === '*' && this.#arguments === 0) {
        this.#arguments = Number(count)
        this.#first = ''
      } else if (type === '$' && this.#arguments > 0) this.#left = Number(count) + 2
      else this.#opaque = true
    }
    return found
  }
}

/** Finds where whole replies of RESP2 end. */
export class ReplyPositions {
  #header = ''
  /** Values that are yet to come before the reply is whole: of nested arrays too. */
  #values = 1
  #left = 0
  #opaque = false

  /** Ends of replies within the piece, as offsets behind them. */
  feed(piece: Buffer): number[] {
    const found: number[] = []
    let at = 0
    while (at < piece.length && !this.#opaque) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, piece.length - at)
        this.#left -= taken
        at += taken
        if (this.#left === 0) this.#complete(at, found)
        continue
      }
      const end = piece.indexOf(10, at)
      this.#header += piece.toString('latin1', at, end < 0 ? piece.length : end + 1)
      if (end < 0) break
      at = end + 1
      const type = this.#header[0]
      const count = Number(this.#header.slice(1))
      this.#header = ''
      if (type === '*' && count > 0) this.#values += count - 1
      else if (type === '$' && count >= 0) this.#left = count + 2
      else if (type !== undefined && '+-:$*'.includes(type)) this.#complete(at, found)
      else this.#opaque = true
    }
    return found
  }

  #complete(at: number, found: number[]): void {
    this.#values -= 1
    if (this.#values > 0) return
    this.#values = 1
    found.push(at)
  }
}
