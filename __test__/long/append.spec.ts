// Many workers that append at the same time, end, and are ended meanwhile.

import test from '../helpers/test.ts'
import { sharedServer } from '../helpers/shared.ts'
import { workersThatAppend } from '../helpers/workers.ts'

const { server } = await sharedServer()

test('ten workers append, execute and are terminated meanwhile, five times', async (t) => {
  const scale = { rounds: 5, workers: 10, rows: 2_000 }
  const { code, signal, stdout, stderr } = await workersThatAppend(server.port, scale)
  t.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: 'done\n', stderr: '' })
})
