// Children that never outlive the process of the test, however that ends: by itself, by Ctrl-C, killed, out of time.

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/** Spawns a child that is killed, and its folder removed, once this process is gone. */
export function spawnKept(program: string, args: string[], options: SpawnOptions, folder = ''): ChildProcess {
  const child = spawn(program, args, options)
  const { pid } = child
  if (pid === undefined) return child
  keeper ??= startKeeper()
  keeper.stdin?.write(`+ ${pid} ${folder}\n`)
  child.once('exit', () => keeper?.stdin?.write(`- ${pid}\n`))
  return child
}

/** Kills what is left of its list when its input ends, which the system sees to when this process ends. */
const KEEPER = `
  $1 == "+" { line = $0; sub(/^\\+ [0-9]+ /, "", line); folders[$2] = line }
  $1 == "-" { delete folders[$2] }
  END {
    for (pid in folders) system("kill -9 " pid " 2>/dev/null")
    for (pid in folders) if (folders[pid] != "") system("rm -rf '" folders[pid] "'")
  }
`

let keeper: ChildProcess | undefined

function startKeeper(): ChildProcess {
  // A session of its own: the signals of the terminal do not reach it.
  const child = spawn('awk', [KEEPER], { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  child.unref()
  const input = child.stdin as typeof child.stdin & { unref(): void }
  input.unref()
  input.on('error', () => {})
  return child
}
