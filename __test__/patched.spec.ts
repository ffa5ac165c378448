// What somebody patches once the package is loaded: functions on prototypes, and names on Object.prototype. None of it runs
// between the package and its addon, or stands in for a value.

import { evaluating } from './helpers/evaluations.ts'
import { sharedServer } from './helpers/shared.ts'
import test, { type ExecutionContext } from './helpers/test.ts'

const { server } = await sharedServer()

/** Runs a script with a pipeline `bulk`, whose `ran` lists what has run of what it has patched. */
async function tells(t: ExecutionContext, script: string, ...expected: unknown[]) {
  const prelude = `
    const { bulkPipeline, RespipeError } = required()
    const bulk = bulkPipeline({ port })
    const ran = []
    /** Patches, until the function that is returned is called. */
    const patched = (...patches) => {
      const before = patches.map(([object, name]) => object[name])
      for (const [object, name, value] of patches) object[name] = value
      return () => patches.forEach(([object, name], at) => (object[name] = before[at]))
    }
    const quietly = (look) => {
      try {
        return look()
      } catch ({ code, message }) {
        return code + ': ' + message
      }
    }`
  const { told, code, stderr } = await evaluating(prelude + script, server.port)
  t.is(stderr, '')
  t.deepEqual(told, expected)
  t.is(code, 0)
}

test('an empty byte array is looked at without Function.prototype.call, or a patched at', async (t) => {
  const script = `
    const { call } = Function.prototype
    const { apply } = Reflect
    const patch = (object, name) => [object, name, function (...args) {
      ran.push(name)
      bulk.set('patched:within', name)
      return apply(call, this, args)
    }]
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const restore = patched(
      patch(Function.prototype, 'call'),
      patch(Function.prototype, 'apply'),
      patch(Reflect, 'apply'),
      patch(Object.getPrototypeOf(Uint8Array.prototype), 'at'),
    )
    const empty = quietly(() => bulk.set('patched:empty', new Uint8Array(0)).length)
    const gone = quietly(() => bulk.set('patched:gone', detached).length)
    restore()
    tell([ran, empty, gone.slice(0, 25)])
    tell((await bulk.exec()).succeeded)
    tell(await bulk.query('EXISTS', 'patched:empty', 'patched:within'))
    bulk.destroy()`
  await tells(t, script, [[], 1, 'RESPIPE_INVALID_ARGUMENT:'], 1, 1)
})

test('Maps and dates are read without what is patched on their prototypes', async (t) => {
  const script = `
    const patch = (object, name) => [object, name, () => {
      ran.push(String(name))
      throw new Error('patched')
    }]
    const ofMaps = ['entries', 'forEach', 'get', 'keys', 'values', Symbol.iterator]
    const restore = patched(
      ...ofMaps.map((name) => patch(Map.prototype, name)),
      patch(Object.getPrototypeOf(new Map().entries()), 'next'),
      patch(Date.prototype, 'getTime'),
      patch(Function.prototype, 'call'),
    )
    const told = [
      quietly(() => bulk.hset('patched:map', new Map([['a', 1], ['b', 2]])).length),
      quietly(() => bulk.template('SET patched:{a.b} {at|ms}')({ a: new Map([['b', 'c']]), at: new Date(1000) }).length),
      quietly(() => bulk.template('SET patched:json {map|json}')({ map: new Map([['x', 1]]) }).length),
    ]
    restore()
    tell([told, ran])
    tell((await bulk.exec()).succeeded)
    tell(await bulk.query('MGET', 'patched:c', 'patched:json'))
    bulk.destroy()`
  await tells(t, script, [[1, 2, 3], []], 3, ['1000', '{"x":1}'])
})

test('a name on Object.prototype is no option, and a setter there hears of no outcome', async (t) => {
  const script = `
    Object.prototype.path = '/nowhere.sock'
    Object.prototype.password = 'secret'
    Object.prototype.checkpoint = 'planted'
    Object.prototype.tls = {}
    const other = bulkPipeline({ port })
    tell(await other.set('patched:own', 1).exec().then(({ succeeded }) => succeeded, ({ message }) => message))
    other.destroy()
    for (const name of ['path', 'password', 'checkpoint', 'tls']) delete Object.prototype[name]
    const names = ['commands', 'failed', 'errors', 'failures', 'index', 'key', 'code', 'message', 'wrongType', 'holes', 'number', 'WRONGTYPE']
    for (const name of names) {
      Object.defineProperty(Object.prototype, name, { configurable: true, set: () => ran.push(name), get: () => undefined })
    }
    const template = bulk.template('LPUSH {key} {value}')
    const refused = quietly(() => bulk.set('patched:own', Symbol('none')))
    const { failed, errors, failures } = await bulk.lpush('patched:own', 1).exec()
    const seen = { holes: template.holes, refused, failed, errors, code: failures[0].code }
    for (const name of names) delete Object.prototype[name]
    tell(seen)
    tell(ran)
    bulk.destroy()`
  const seen = {
    holes: ['key', 'value'],
    refused: 'RESPIPE_INVALID_ARGUMENT: argument 2 of set is a symbol',
    failed: 1,
    errors: { WRONGTYPE: 1 },
    code: 'WRONGTYPE',
  }
  await tells(t, script, 1, seen, [])
})

test('a notice is told without a patched iterator', async (t) => {
  const script = `
    const iterate = Array.prototype[Symbol.iterator]
    const exec = bulk.lpush('patched:list', 1).set('patched:text', 1).lpush('patched:text', 1).exec()
    let settled
    const told = exec.then((outcome) => {
      settled = ran.length
      restore()
      return outcome
    })
    const restore = patched([Array.prototype, Symbol.iterator, function () {
      ran.push('iterator')
      return iterate.bind(this)()
    }])
    const { failed } = await told
    tell([failed, settled])
    bulk.destroy()`
  await tells(t, script, [1, 0])
})
