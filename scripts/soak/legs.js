'use strict'

// What is tried: the options of the pipeline, what it writes, the faults, and what it promises under them.
//
//   unknown   'none': every command is answered in the end; 'some': not all of them; 'all': nobody asks
//   refusals  codes that commands may fail with
//   rejects   codes that exec() may reject with

const { faults } = require('./faults.js')
const counters = require('./workloads/counters.js')
const log = require('./workloads/log.js')
const transactions = require('./workloads/transactions.js')
const versions = require('./workloads/versions.js')

/** The end of the writer is only for those that go on where they stopped. */
const outside = Object.keys(faults).filter((name) => !name.startsWith('writer-'))

/** Defaults of a leg. LOADING: a server that starts again lets clients log in and refuses their commands for a while. */
const usual = { options: {}, faults: outside, unknown: 'some', refusals: ['OOM', 'LOADING'], rejects: [] }

const legs = {
  control: {
    ...usual,
    title: 'no faults at all',
    workload: versions,
    faults: [],
    unknown: 'none',
    refusals: [],
  },
  idempotent: {
    ...usual,
    title: 'defaults, commands that can be repeated: all arrive, and none late',
    workload: versions,
    unknown: 'none',
  },
  increments: {
    ...usual,
    title: 'defaults, INCR: between what succeeded and what is unknown',
    workload: counters,
  },
  checkpoint: {
    ...usual,
    title: 'checkpoint, INCR, LPUSH and XADD: exactly once, over ends of the writer too',
    workload: log,
    options: { checkpoint: 'soak:checkpoint' },
    faults: Object.keys(faults),
    unknown: 'none',
    refusals: [],
    resumes: true,
  },
  off: {
    ...usual,
    title: "replies: 'off': nothing is missing that serverErrorReplies does not tell of",
    workload: versions,
    options: { replies: 'off' },
    unknown: 'all',
    refusals: [],
    // What was under way when a connection was lost may be given up, aloud.
    rejects: ['RESPIPE_CONNECTION_LOST', 'RESPIPE_STALLED'],
  },
  transactions: {
    ...usual,
    title: 'transactions: a batch is done as a whole or not at all',
    workload: transactions,
    options: { transaction: true },
    refusals: [...usual.refusals, 'EXECABORT'],
  },
  rotation: {
    ...usual,
    title: 'reconnectEvery, INCR: none twice and none lost at a change of connections',
    workload: counters,
    options: { reconnectEvery: 10 },
  },
}

module.exports = { legs }
