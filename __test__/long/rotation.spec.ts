// Connections that change after so many batches, again and again.

import test from '../helpers/test.ts'
import { keepsOrder, leavesNothing, MODES, rotates } from '../helpers/rotations.ts'

for (const [what, options] of MODES) {
  test(`${what}: 2,000 batches over 200 connections`, (t) => rotates(t, options, 2_000))
}

for (const [mode, options] of [
  ['check', {}],
  ['transactions', { transaction: true }],
  ['off', { replies: 'off' }],
] as const) {
  test(`${mode}: what is written to the next connection comes behind all of the one before, 80 times`, (t) =>
    keepsOrder(t, options, { batches: 240, large: 3_000 }))
}

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

onLinux('10,000 rotations leave no descriptor and no thread behind', (t) => leavesNothing(t, 10_000))
