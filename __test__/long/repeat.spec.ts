// Commands that can be repeated, in thousands of random orders. RESPIPE_SEED draws others.

import test from '../helpers/test.ts'
import { areRepeated, FAMILIES } from '../helpers/repeats.ts'
import { sharedServer } from '../helpers/shared.ts'

const { client } = await sharedServer()

for (const [name, family] of Object.entries(FAMILIES)) {
  test.serial(`${name}: any number of commands, and then all of them again, leave what all leave once`, async (t) => {
    await areRepeated(client, family, 5_000)
    t.pass()
  })
}
