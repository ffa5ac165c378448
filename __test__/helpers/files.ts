import type { ExecutionContext } from 'ava'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The path of a file that ends with its test. */
export function fileFor(t: ExecutionContext, name: string, content?: string | Uint8Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'respipe-file-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, name)
  if (content !== undefined) writeFileSync(path, content)
  return path
}

/** The path of a FIFO that ends with its test. */
export function fifoFor(t: ExecutionContext, name: string): string {
  const path = fileFor(t, name)
  execFileSync('mkfifo', [path])
  return path
}

/** The words of a command in RESP. */
export function wordsOf(command: Uint8Array): string[] {
  const bytes = Buffer.from(command)
  const words: string[] = []
  let at = bytes.indexOf('\n') + 1
  while (at < bytes.length) {
    const start = bytes.indexOf('\n', at) + 1
    const length = Number(bytes.toString('latin1', at + 1, start - 2))
    words.push(bytes.toString('utf8', start, start + length))
    at = start + length + 2
  }
  return words
}
