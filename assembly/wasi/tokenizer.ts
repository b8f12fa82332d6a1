/**
 * The tokenizer alone, a module for hosts with JavaScript (host/text/table-encoder.ts): tables, text and ids lie in its
 * memory. It ends as the command does, with fd_write() and proc_exit(), for tables that are none and where memory ends.
 */
import { encodePart } from './encode'
import { beginMemory, reserve, top } from './memory'
import { openTables, tokenizer } from './tables'
import { prepareEncoding } from './vocabulary'

export { release } from './memory'

/** Reserves room for `bytes` bytes. */
export function room(bytes: u32): usize {
  if (!top()) beginMemory()
  return reserve(bytes)
}

/** Takes the tables of tensor "tokenizer.tables" at `at`. */
export function prepare(at: usize, bytes: u32): void {
  openTables(at, bytes)
  prepareEncoding()
}

/**
 * Ids of text that is UTF-8 and holds no added tokens, u32 at `ids`, four for each byte and eight more at most; returns how
 * many. `isFirst`: no token stands before the text.
 */
export function encodeSection(at: usize, length: u32, ids: usize, isFirst: u32): u32 {
  const t = tokenizer()
  t.ids = ids
  t.count = 0
  t.scratch = 0
  if (length) encodePart(at, at + length, isFirst != 0)
  return t.count
}
