/** Switches of V8, in Node. */
import { setFlagsFromString } from 'node:v8'

/**
 * V8 before 11.4 has relaxed SIMD behind a flag; so has Node 20. Its second tier is right. The first one is not: on x64 it
 * takes the operands of a dot product for others, and the model says other words (*seen* with Node 20.20).
 */
const isRelaxedHidden = isBefore(process.versions.v8 ?? '', [11, 4])

/** V8 does not tell its flags. */
let isSet = false

/**
 * Has V8 compile the engine with its optimising compiler at once, and gives Node 20 relaxed SIMD, which it has behind a flag.
 * On arm64 the first tier makes four instructions and more of every SDOT, and a function stays in it until it is called
 * again. The flags count for the whole process and all WebAssembly in it, so this is for programs that know what else they
 * run; call it before the first `load()`.
 */
export function optimizeFromTheStart(): void {
  setFlagsFromString('--no-liftoff')
  if (isRelaxedHidden) setFlagsFromString('--experimental-wasm-relaxed-simd')
  isSet = true
}

export function isOptimizedFromTheStart(): boolean {
  return isSet || process.execArgv.includes('--no-liftoff')
}

/** Is what this Node makes of relaxed SIMD right? Where somebody gives the flag alone, Node 20 accepts it and is wrong. */
export function isRelaxedRight(): boolean {
  return !isRelaxedHidden || isOptimizedFromTheStart()
}

/** Does a program gain by `optimizeFromTheStart()`? On x64 both tiers have the same instructions, and compiling twice is sooner ready. */
export function gainsByOptimizing(): boolean {
  return process.arch === 'arm64' || isRelaxedHidden
}

function isBefore(version: string, wanted: readonly [number, number]): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  // Another engine than V8 tells no version of it.
  return major > 0 && (major < wanted[0] || (major === wanted[0] && minor < wanted[1]))
}
