/**
 * The engine's builds and how one is chosen: the first in the table that this platform validates.
 */
import { platform } from '#platform'
import { errors } from '../../errors.ts'

export interface Build {
  name: string
  file: string
  /** What it needs, for `gta doctor`. */
  needs: string
  /** Is its memory shared, so that there can be a team? Else its one rank runs where the host does. */
  isShared: boolean
  /** Has it instructions of relaxed SIMD? */
  isRelaxed?: true
}

export interface CompiledBuild {
  build: Build
  module: WebAssembly.Module
}

export const builds: readonly Build[] = [
  {
    name: 'relaxed-simd',
    file: 'engine-relaxed.wasm',
    needs: 'relaxed SIMD and shared memory',
    isShared: true,
    isRelaxed: true,
  },
  { name: 'strict-simd', file: 'engine-strict.wasm', needs: 'SIMD and shared memory', isShared: true },
]

/** For pages that may not share memory, and engines that cannot: one thread, the same bits. */
export const singleBuilds: readonly Build[] = [
  {
    name: 'relaxed-simd single',
    file: 'engine-relaxed-single.wasm',
    needs: 'relaxed SIMD',
    isShared: false,
    isRelaxed: true,
  },
  { name: 'strict-simd single', file: 'engine-strict-single.wasm', needs: 'SIMD', isShared: false },
]

/** With asserts, for tests; never chosen. */
export const debugBuild: Build = {
  name: 'debug',
  file: 'engine-debug.wasm',
  needs: 'SIMD and shared memory',
  isShared: true,
}

/** Does this platform accept the build's instructions, and compute what they say? */
export async function runsHere(build: Build): Promise<boolean> {
  return isRightHere(build) && WebAssembly.validate(await platform.readKernel(build.file))
}

function isRightHere({ isRelaxed }: Build): boolean {
  return isRelaxed === undefined || platform.isRelaxedRight()
}

/** Compiled once: all engines of a build run the same code. */
const modules = new Map<string, WebAssembly.Module>()

/** Compiles the best build that runs here, or the one that is asked for. */
export async function chooseBuild(wanted?: Build): Promise<CompiledBuild> {
  const candidates = wanted ? [wanted] : platform.unshared === undefined ? builds : singleBuilds
  for (const build of candidates) {
    const module = modules.get(build.file) ?? (await compile(build))
    if (module) return { build, module }
  }
  throw errors.noBuild(candidates.map(({ needs }) => needs).join(' or '), platform.advice)
}

async function compile(build: Build): Promise<WebAssembly.Module | undefined> {
  const { file } = build
  if (!isRightHere(build)) return undefined
  const bytes = await platform.readKernel(file)
  if (!WebAssembly.validate(bytes)) return undefined
  // Not WebAssembly.compile(): Node does not stay alive for one that takes long. V8 compiles when functions are called.
  const module = new WebAssembly.Module(bytes)
  modules.set(file, module)
  return module
}
