/** A switch of V8, in Node. */
import { setFlagsFromString } from 'node:v8'

/** V8 does not tell its flags. */
let isSet = false

/**
 * Has V8 compile the engine with its optimising compiler at once. On arm64 the first tier makes four instructions and
 * more of every SDOT, and a function stays in it until it is called again. The flag counts for the whole process and all
 * WebAssembly in it, so it is for programs that know what else they run; call it before the first `load()`.
 */
export function optimizeFromTheStart(): void {
  setFlagsFromString('--no-liftoff')
  isSet = true
}

export function isOptimizedFromTheStart(): boolean {
  return isSet
}
