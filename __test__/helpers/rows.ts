// Rows that tests load, as objects and as files.

import { setImmediate as turn } from 'node:timers/promises'
import type { BulkPipeline } from '../../index.js'

export interface Row {
  at: number
  key: string
}

export function* rows(count: number): Generator<Row> {
  for (let at = 0; at < count; at++) yield { at, key: `row:${at}` }
}

/** Rows of a source that gives the event loop a turn behind every `each` of them. */
export async function* slowRows(count: number, each = 500): AsyncGenerator<Row> {
  for (const row of rows(count)) {
    if (row.at % each === 0) await turn()
    yield row
  }
}

/** A mapper that appends each row to a list. */
export const push = (key: string) => (row: Row, bulk: BulkPipeline) => void bulk.rpush(key, row.at)

/** Whether a list holds rows from the first one on, each once, in order. */
export function inOrder(list: string[]): boolean {
  return list.every((text, at) => text === String(at))
}

/** A CSV file with the columns `id` and `name`. */
export function csvOf(count: number): string {
  return `id,name\n${Array.from({ length: count }, (_, at) => `${at},name ${at}\n`).join('')}`
}
