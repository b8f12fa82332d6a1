/** Memory that is reserved, and hardly ever given back: from the end of the constants on, growing as it is asked for. */
import { TOP } from './addresses'
import { beginError, EXIT_FAILED, endError, megabytes, text } from './output'

const WASM_PAGE: u64 = 65536
/** As on the host: the last page is left alone, so that an end address never wraps to 0. */
const MAX_MEMORY: u64 = 0xffff0000

export function beginMemory(): void {
  store<usize>(TOP, (__heap_base + 63) & ~63)
}

/** The first address that is not reserved. */
export function top(): usize {
  return load<usize>(TOP)
}

/** Makes addresses below `end` usable, or ends the command. */
export function growTo(end: u64): void {
  if (end > MAX_MEMORY) {
    beginError()
    text('the model must fit in ')
    megabytes(MAX_MEMORY as f64)
    text(', it needs ')
    megabytes(end as f64)
    text(': that is the address space of one engine; use a smaller -c, or a smaller model')
    endError(EXIT_FAILED)
  }
  const pages = ((end + WASM_PAGE - 1) / WASM_PAGE) as i32
  const has = memory.size()
  if (pages > has && memory.grow(pages - has) < 0) {
    beginError()
    text('the engine must give the command ')
    megabytes(end as f64)
    text(' of memory, it refused: raise its memory limit, use a smaller -c, or a smaller model')
    endError(EXIT_FAILED)
  }
}

/** Gives back what was reserved from here on. */
export function release(at: usize): void {
  store<usize>(TOP, at)
}

/** The address of `bytes` fresh bytes, 64 byte aligned; all zero where nothing was given back. */
export function reserve(bytes: u64): usize {
  const at = load<usize>(TOP)
  const end = ((at as u64) + bytes + 63) & ~63
  growTo(end)
  store<usize>(TOP, end as usize)
  return at
}
