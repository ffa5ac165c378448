// Programs that the TypeScript compiler checks, in the process of the test. They need no files.

import { join } from 'node:path'
import ts from 'typescript'

/** Parsed once: the declarations of JavaScript and of Node.js are most of what a program consists of. */
const parsed = new Map<string, ts.SourceFile | undefined>()

/**
 * What the compiler has to say of a program; nothing where it compiles. Declarations are checked too, but for those of the
 * compiler and of Node.js, which are others' and take most of the time.
 *
 * @param folder where its files would be
 * @param files their names and texts
 * @param compilerOptions as in a tsconfig.json
 */
export function complaints(
  folder: string,
  files: Record<string, string>,
  compilerOptions: Record<string, unknown>,
): string {
  const texts = new Map(Object.entries(files).map(([name, text]) => [join(folder, name), text]))
  const { options, errors } = ts.convertCompilerOptionsFromJson(compilerOptions, folder)
  const host = ts.createCompilerHost(options, true)
  const { fileExists, readFile, getSourceFile } = host
  host.getCurrentDirectory = () => folder
  host.fileExists = (name) => texts.has(name) || fileExists(name)
  host.readFile = (name) => texts.get(name) ?? readFile(name)
  host.getSourceFile = (name, how, ...rest) => {
    const text = texts.get(name)
    if (text !== undefined) return ts.createSourceFile(name, text, how, true)
    const key = JSON.stringify([name, how])
    if (!parsed.has(key)) parsed.set(key, getSourceFile(name, how, ...rest))
    return parsed.get(key)
  }
  const program = ts.createProgram([...texts.keys()], options, host)
  const found = [...errors, ...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics()]
  for (const file of program.getSourceFiles()) {
    found.push(...program.getSyntacticDiagnostics(file))
    if (!OTHERS.test(file.fileName)) found.push(...program.getSemanticDiagnostics(file))
  }
  return ts.formatDiagnostics(found, host)
}

const OTHERS = /\/node_modules\/(typescript|@types\/node|undici-types)\//
