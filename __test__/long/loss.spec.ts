// Connections that are lost, again and again, and in larger loads than in the first ring.

import test from '../helpers/test.ts'
import { columns } from '../helpers/loads.ts'
import { cutsAnywhere, cutsIncrements, killsClient, killsServer } from '../helpers/losses.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server } = await sharedServer()

for (const column of columns) {
  test(`fault 9, ${column}: kill -9 in a load of 200,000 commands, ten times: all is there`, (t) =>
    killsServer(t, column, { commands: 200_000, losses: 10 }))

  test(`fault 9, ${column}: CLIENT KILL a hundred times: all is there`, (t) =>
    killsClient(t, column, { commands: 200_000, losses: 100 }))

  test(`fault 9, ${column}: FIN and RST at 500 bytes, either way: all is there`, (t) =>
    cutsAnywhere(t, column, { rounds: 500, seed: 900 }))
}

test('fault 9: what cannot be repeated, cut at 500 bytes, either way: totals add up', (t) =>
  cutsIncrements(t, server, { rounds: 500, seed: 901 }))
