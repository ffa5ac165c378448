import type { ExecutionContext } from 'ava'

import { bulkPipeline, type BulkPipeline, type BulkPipelineOptions, type Commands } from '../../index.js'

/** A pipeline whose types take whatever a test throws at it. */
export type Loose = Omit<BulkPipeline, keyof Commands | 'call'> & {
  [name in keyof Commands | 'call']: (...args: any[]) => Loose
} & Record<string, (...args: any[]) => any>

/** A pipeline that is destroyed when the test is over. */
export function pipelineFor(t: ExecutionContext, options: BulkPipelineOptions): Loose {
  const bulk = bulkPipeline(options)
  t.teardown(() => bulk.destroy())
  return bulk as unknown as Loose
}

/** One command in RESP. */
export function encoded(...words: (string | Uint8Array)[]): Buffer {
  const parts = words.map((word) => Buffer.from(word as string))
  return Buffer.concat([
    Buffer.from(`*${parts.length}\r\n`),
    ...parts.flatMap((part) => [Buffer.from(`$${part.length}\r\n`), part, Buffer.from('\r\n')]),
  ])
}
