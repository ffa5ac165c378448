// The test function of all specs: ava's, with what keeps the trouble of one test from all others. A test that hangs fails
// alone and names what it waited for; one that fails prints its seeds and the end of its servers' logs; and of one file
// only a few run at the same time, so that a test's time does not depend on how many others there are.

import ava, { type ExecutionContext, registerCompletionHandler, type TestFn } from 'ava'
import { AsyncLocalStorage } from 'node:async_hooks'

/** A guard against hangs, and nothing else: many times what the slowest test takes on a busy machine. */
const LIMIT_MS = Number(process.env.RESPIPE_TEST_LIMIT_MS ?? 300_000)

/** Tests of one file that run at the same time: they wait most of the time, so more than there are cores. */
const AT_ONCE = 4

interface Running {
  /** Descriptions of what the test waits for at the moment. */
  readonly waits: Set<() => string>
  /** Texts that are printed if it fails. */
  readonly notes: (() => string)[]
}

const running = new AsyncLocalStorage<Running>()
/** Texts that every test of the file prints if it fails: the log of a server that they share. */
const ofFile: (() => string)[] = []

/** Waits for `promise`; a test that runs out of time meanwhile says that it waited for `what`. */
export async function waitingFor<T>(what: string | (() => string), promise: Promise<T>): Promise<T> {
  const waits = running.getStore()?.waits
  const wait = typeof what === 'string' ? () => what : what
  waits?.add(wait)
  try {
    return await promise
  } finally {
    waits?.delete(wait)
  }
}

/** Printed where the test fails; outside of a test, where any of the file does. */
export function noteForFailure(note: () => string): void {
  const notes = running.getStore()?.notes ?? ofFile
  notes.push(note)
}

type Implementation = (t: ExecutionContext, ...args: unknown[]) => unknown

function guarded(implementation: Implementation): Implementation {
  return async (t, ...args) => {
    await enter()
    const state: Running = { waits: new Set(), notes: [] }
    try {
      await running.run(state, () => inTime(state, Promise.resolve(implementation(t, ...args))))
    } catch (error) {
      for (const note of [...state.notes, ...ofFile]) t.log(note())
      throw error
    } finally {
      leave()
    }
  }
}

// A test that hangs leaves things running, which would keep the process alive.
let hasHung = false
registerCompletionHandler(() => {
  if (hasHung) process.exit()
})

async function inTime(state: Running, ended: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      hasHung = true
      const waits = [...state.waits].map((wait) => wait()).join('; ') || 'nothing that a helper knows of'
      reject(new Error(`not over after ${LIMIT_MS / 1_000} s; it waits for: ${waits}`))
    }, LIMIT_MS)
  })
  try {
    await Promise.race([ended, late])
  } finally {
    clearTimeout(timer)
  }
}

let free = AT_ONCE
const queue: (() => void)[] = []

function enter(): Promise<void> {
  if (free > 0) {
    free -= 1
    return Promise.resolve()
  }
  return new Promise((resolve) => queue.push(resolve))
}

function leave(): void {
  const next = queue.shift()
  if (next) next()
  else free += 1
}

/** Not tests: what ava has under these names stays as it is. */
const UNGUARDED = new Set(['before', 'after', 'beforeEach', 'afterEach', 'macro', 'todo'])

type Declare = (...args: unknown[]) => unknown

function wrapped(declare: Declare): Declare {
  return new Proxy(declare, {
    apply(target, self, args: unknown[]) {
      const place = typeof args[0] === 'string' ? 1 : 0
      const what = args[place]
      if (typeof what === 'function') args[place] = guarded(what as Implementation)
      else if (isMacro(what)) args[place] = { ...what, exec: guarded(what.exec) }
      return Reflect.apply(target, self, args)
    },
    get(target, name, receiver) {
      const value: unknown = Reflect.get(target, name, receiver)
      return typeof value === 'function' && typeof name === 'string' && !UNGUARDED.has(name) && name in ava
        ? wrapped(value as Declare)
        : value
    },
  })
}

function isMacro(what: unknown): what is { exec: Implementation } {
  return typeof what === 'object' && what !== null && 'exec' in what && typeof what.exec === 'function'
}

export default wrapped(ava as unknown as Declare) as unknown as TestFn
export type { ExecutionContext } from 'ava'
