// What the architecture promises about the sources, each promise a search of its own.

import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import test from './helpers/test.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

interface Source {
  path: string
  text: string
  /** Without the tests at its end. */
  code: string
}

const rust = sources('src', '.rs')
/** All of the simulation is a test. */
const product = rust.filter(({ path }) => !path.startsWith('src/simulation/'))
const script = [...sources('lib', '.js'), ...['index.js', 'index.mjs', 'cli.js'].map(read)]

test('only the binding names Node-API', (t) => {
  const named = rust.filter(({ code }) => /\bnapi\b/.test(code.replace(/feature = "napi"|feature `napi`/g, '')))
  t.true(named.length > 0)
  t.deepEqual(outside(named, /^src\/binding\//), [])
})

test('only the binding has unsafe code, each block with its reason', (t) => {
  const unsafe = rust.filter(({ code }) => /\bunsafe\s*(\{|fn|impl|extern)/.test(code))
  t.true(unsafe.length > 0)
  t.deepEqual(outside(unsafe, /^src\/binding\//), [])
  for (const { path, code } of unsafe) {
    const lines = code.split('\n')
    lines.forEach((line, at) => {
      if (!/\bunsafe\s*\{/.test(line)) return
      const before = lines.slice(Math.max(0, at - 6), at + 1).join('\n')
      t.regex(before, /SAFETY:/, `${path}:${at + 1}`)
    })
  }
})

test('no panic leaves what Node-API calls', (t) => {
  const callbacks = rust.flatMap(({ path, code }) => {
    const found = [...code.matchAll(/^( *)(?:pub\(super\) )?unsafe extern "C" fn (\w+)\([^{]*\{\n(.*?)^\1\}/gms)]
    return found.map(([, , name, body]) => ({ name: `${path}: ${name}`, body: body ?? '' }))
  })
  const declared = rust.flatMap(({ code }) => code.match(/extern "C" fn \w/g) ?? [])
  t.true(callbacks.length > 6)
  t.is(callbacks.length, declared.length)
  // All that a body does is one of these; before it, closures may be named.
  const guarded = /^ *(?:guarded\(|unsafe \{ enter\(|unsafe \{ \$crate::binding::call::Typed::answer\()/m
  t.deepEqual(
    callbacks.filter(({ body }) => !guarded.test(body)).map(({ name }) => name),
    [],
  )
})

test('nothing is looked up by the environment', (t) => {
  t.deepEqual(outside(rust.filter(({ code }) => code.includes('instance_data'))), [])
})

test('nothing grows without bound by a channel', (t) => {
  t.deepEqual(
    rust.filter(({ text }) => /unbounded_channel|mpsc::channel\(\)/.test(text)),
    [],
  )
})

test('sockets and tasks are the business of the loader, the connection and the binding', (t) => {
  const asynchronous = product.filter(({ code }) => /\basync (fn|move|\{)|\.await\b|tokio::net/.test(code))
  t.true(asynchronous.length > 0)
  t.deepEqual(outside(asynchronous, /^src\/(loader|connection|binding)\/(?!state\/)/), [])
})

test('dependencies go one way', (t) => {
  const allowed: Record<string, string[]> = {
    error: [],
    config: [],
    outcome: [],
    table: [],
    rows: ['error', 'outcome'],
    batch: ['rows'],
    resp: ['batch'],
    command: ['error'],
    template: ['command', 'error', 'pipeline', 'resp'],
    source: [
      'batch',
      'command',
      'config',
      'error',
      'load',
      'loader',
      'outcome',
      'pipeline',
      'resp',
      'rows',
      'template',
    ],
    retry: ['config', 'error'],
    connection: ['batch', 'command', 'config', 'error', 'outcome', 'resp', 'rows'],
    loader: ['batch', 'config', 'connection', 'error', 'outcome', 'resp', 'retry', 'rows'],
    pipeline: ['batch', 'config', 'error', 'loader', 'resp', 'rows'],
    load: ['batch', 'config', 'loader', 'outcome', 'pipeline', 'resp', 'rows'],
  }
  for (const { path, code } of product) {
    const module = /^src\/(\w+)/.exec(path)?.[1] ?? ''
    if (module === 'lib' || module === 'binding') continue
    // Where a simulated network takes the place of a real one, in builds for tests.
    const shipped = code.replace(/#\[cfg\(test\)\]\n *Simulated\(crate::simulation::\w+\),\n/, '')
    const used = [...shipped.matchAll(/\bcrate::(\w+)/g)].map((match) => match[1] ?? '')
    const wrong = used.filter((other) => other !== module && !allowed[module]?.includes(other))
    t.deepEqual(wrong, [], path)
  }
})

test('no file is too long to be read', (t) => {
  const long = rust.filter(({ path, text }) => path !== 'src/command/table.rs' && text.split('\n').length > 501)
  t.deepEqual(
    long.map(({ path }) => path),
    [],
  )
})

test('each Rust file says first what it is for', (t) => {
  t.deepEqual(
    outside(
      rust.filter(({ text }) => !/^\/\/!|^\/\/ @generated|^\/\/ GENERATED/.test(text)),
      /\/(tests|properties)\.rs$/,
    ),
    [],
  )
})

test('nothing is left to be done', (t) => {
  const stub = /\btodo!\(|\bunimplemented!\(|#\[ignore\]|\bTODO\b|\bFIXME\b/
  t.deepEqual(outside([...rust, ...script].filter(({ text }) => stub.test(text))), [])
})

test('every code of an error is in the README', (t) => {
  const codes = [...read('src/error.rs').text.matchAll(/"(RESPIPE_\w+)"/g)].map((match) => match[1] ?? '')
  t.true(codes.length > 10)
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  t.deepEqual(
    codes.filter((code) => !readme.includes(code)),
    [],
  )
})

function outside(found: Source[], home?: RegExp): string[] {
  return found.map(({ path }) => path).filter((path) => !home?.test(path))
}

function sources(folder: string, ending: string): Source[] {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => read(relative(root, join(entry.parentPath ?? entry.path, entry.name))))
}

function read(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8')
  return { path, text, code: text.split(/^#\[cfg\(test\)\]\nmod tests \{/m)[0] ?? '' }
}
