// 200,000 random commands, read back by another client. RESPIPE_SEED repeats a run.

import test from '../helpers/test.ts'

import { arriveByteForByte } from '../helpers/random-commands.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server, client } = await sharedServer()

test('200,000 random commands arrive byte for byte', (t) => arriveByteForByte(t, client, server.port, 200_000, 5_000))
