'use strict'

/** It has on the disk whatever it has acknowledged. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always']

/** Runs `work` beside a server of the tests, which can be killed and started again. */
async function withServer(args, work) {
  // Reads TypeScript.
  await import('../../__test__/helpers/register.js')
  const { startServer } = await import('../../__test__/helpers/server.ts')
  const server = await startServer({ args })
  try {
    return await work(server)
  } finally {
    await server.stop()
  }
}

/** Stopped while `work` runs. */
async function whileStopped(server, work) {
  await server.kill('SIGSTOP')
  try {
    return await work()
  } finally {
    await server.kill('SIGCONT')
  }
}

module.exports = { DURABLE, whileStopped, withServer }
