'use strict'

// The fault proxy of the tests in a process of its own: node proxy.js PORT. Tells its port, then does what the parent says.

async function main(port) {
  // Reads TypeScript.
  await import('../../__test__/helpers/register.js')
  const { startProxy } = await import('../../__test__/helpers/proxy.ts')
  const proxy = await startProxy({ port })
  process.on('message', async ({ id, method, args }) => {
    const member = proxy[method]
    process.send({ id, value: typeof member === 'function' ? await member.apply(proxy, args) : member })
  })
  process.send({ port: proxy.port })
}

// Whoever started it is gone.
process.once('disconnect', () => process.exit())

main(Number(process.argv[2]))
