/** What one engine can address. */

const WASM_PAGE = 65536
/** A 32-bit engine cannot address more; the last page is left alone, so that an end address never wraps to 0. */
export const MAX_MEMORY = 2 ** 32 - WASM_PAGE

/** What the system, Node and its heap take of a board's memory; an estimate, on the careful side. */
export const SYSTEM_BYTES = 400e6
