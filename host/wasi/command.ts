/**
 * Runs gta.wasm (assembly/wasi.ts), the command without JavaScript, on Node's own WASI. It blocks until the command ends,
 * and reads files from the given directories only.
 */
import { readFile } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { platform } from '#platform'
import { errors } from '../errors.ts'
import { distUrl } from '../platform/dist.ts'
import { isRelaxedRight } from '../platform/optimize.ts'

export const commandBuilds = ['relaxed', 'strict'] as const

export interface CommandOptions {
  /** Default: the first one that this platform validates. */
  build?: (typeof commandBuilds)[number]
  /** Directories that the command may read: their names to it, and where they are. */
  directories?: Record<string, string>
}

/** Its exit code: 0 good, 1 failed, 2 wrong usage. */
export async function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<number> {
  const module = await compileCommand(options.build)
  // nodejs/node#53087: a fast call into WASI crashes Node 22, and Node 20 where a process runs the command many times.
  if (Number.parseInt(process.versions.node, 10) < 24) setFlagsFromString('--no-turbo-fast-api-calls')
  const { WASI } = await withoutWarning(() => import('node:wasi'))
  const wasi = await withoutWarning(
    () =>
      new WASI({
        version: 'preview1',
        args: ['gta.wasm', ...args],
        preopens: { ...options.directories },
        returnOnExit: true,
      }),
  )
  const instance = new WebAssembly.Instance(module, wasi.getImportObject() as WebAssembly.Imports)
  return wasi.start(instance)
}

async function compileCommand(wanted: CommandOptions['build']): Promise<WebAssembly.Module> {
  for (const name of wanted ? [wanted] : commandBuilds) {
    const bytes = new Uint8Array(await readFile(new URL(`gta-${name}.wasm`, distUrl)))
    if ((name === 'strict' || isRelaxedRight()) && WebAssembly.validate(bytes)) return new WebAssembly.Module(bytes)
  }
  throw errors.noBuild(wanted === 'relaxed' ? 'relaxed SIMD' : 'SIMD', platform.advice)
}

/** Node warns that its WASI is experimental; who starts this command knows. */
async function withoutWarning<T>(work: () => T | Promise<T>): Promise<T> {
  const { emitWarning } = process
  process.emitWarning = () => undefined
  try {
    return await work()
  } finally {
    process.emitWarning = emitWarning
  }
}
