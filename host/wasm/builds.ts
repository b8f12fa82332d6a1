/**
 * The engine's builds and how one is chosen: the first in the table that this platform validates.
 */
import { readFile } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { errors } from '../errors.ts'

export interface Build {
  name: string
  file: string
  /** What it needs, for `gta doctor`. */
  needs: string
}

export interface CompiledBuild {
  build: Build
  module: WebAssembly.Module
}

export const builds: readonly Build[] = [
  { name: 'relaxed-simd', file: 'engine-relaxed.wasm', needs: 'relaxed SIMD and shared memory' },
  { name: 'strict-simd', file: 'engine-strict.wasm', needs: 'SIMD and shared memory' },
]

/** With asserts, for tests; never chosen. */
export const debugBuild: Build = { name: 'debug', file: 'engine-debug.wasm', needs: 'SIMD and shared memory' }

/** Sources run from host/wasm/, the bundle from dist/ itself: the modules are in dist/ for both. */
export const distUrl = new URL(import.meta.url.endsWith('.ts') ? '../../dist/' : './', import.meta.url)

/** Does this platform accept the build's instructions? */
export async function runsHere(build: Build): Promise<boolean> {
  return WebAssembly.validate(new Uint8Array(await readFile(new URL(build.file, distUrl))))
}

/** Compiles the best build that runs here, or the one that is asked for. */
export async function chooseBuild(wanted?: Build): Promise<CompiledBuild> {
  const candidates = wanted ? [wanted] : builds
  for (const build of candidates) {
    const bytes = new Uint8Array(await readFile(new URL(build.file, distUrl)))
    // Not WebAssembly.compile(): Node does not stay alive for one that takes long. V8 compiles when functions are called.
    if (WebAssembly.validate(bytes)) return { build, module: new WebAssembly.Module(bytes) }
  }
  throw errors.noBuild(candidates.map(({ needs }) => needs).join(' or '))
}

/**
 * Has V8 compile the engine with its optimising compiler at once. On arm64 the first tier makes four instructions and
 * more of every SDOT, and a function stays in it until it is called again. The flag counts for the whole process and all
 * WebAssembly in it, so it is for programs that know what else they run; call it before the first `load()`.
 */
export function optimizeFromTheStart(): void {
  setFlagsFromString('--no-liftoff')
}
