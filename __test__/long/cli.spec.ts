// `respipe pipe` with a command that is larger than other loads take: files of commands have a higher ceiling.

import { gzipSync } from 'node:zlib'
import test from '../helpers/test.ts'
import { respipe } from '../helpers/command.ts'
import { sharedServer } from '../helpers/shared.ts'

const { server, client } = await sharedServer()

test('a command of 70 MiB, packed', async (t) => {
  const value = Buffer.alloc(70 * 1024 * 1024, '0123456789\r\n')
  const set = [
    Buffer.from(`*3\r\n$3\r\nSET\r\n$1\r\na\r\n$${value.length}\r\n`),
    value,
    Buffer.from('\r\nSTRLEN a\r\n'),
  ]
  const input = gzipSync(Buffer.concat(set), { level: 1 })
  const { code, stdout, stderr } = await respipe(t, ['pipe', '-u', server.url], { input })
  t.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  t.true(stdout.endsWith('\nerrors: 0, replies: 2\n'))
  t.is(await client.strlen('a'), value.length)
})

test('such a command with the ceiling of other loads', async (t) => {
  const value = Buffer.alloc(70 * 1024 * 1024, '0')
  const set = [Buffer.from(`*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$${value.length}\r\n`), value, Buffer.from('\r\n')]
  const input = gzipSync(Buffer.concat(set), { level: 1 })
  const { code, stderr } = await respipe(t, ['pipe', '-u', server.url, '--max-buffered-bytes', '64MiB'], { input })
  t.is(code, 2)
  t.regex(stderr, /^respipe: .*: a command of more than --max-buffered-bytes \(67108864 bytes\)\n$/)
})
