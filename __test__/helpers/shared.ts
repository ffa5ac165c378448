import test from './test.ts'
import { Redis } from 'ioredis'

import { startServer, type Server } from './server.ts'

/** A server for all tests of a file, and a client that has no part in it; both end with the file. */
export async function sharedServer(): Promise<{ server: Server; client: Redis }> {
  const server = await startServer()
  const client = new Redis(server.port)
  test.after.always(async () => {
    client.disconnect()
    await server.stop()
  })
  return { server, client }
}
