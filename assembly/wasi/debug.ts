/** The parts of the command that tests look at alone: tokenizer, numbers and digests, in memory instead of files. */
import { SHA256_SCRATCH, sha256Prefix } from '../kernels/sha256'
import { encode } from './encode'
import { reserve } from './memory'
import { normalise, Text } from './nfc'
import { parseNumber } from './number'
import { tokenizer } from './tables'
import { isUtf8 } from './utf8'

export { prepare, release, room } from './tokenizer'

/** Ids of text that is UTF-8, u32 at `ids`; returns how many. */
export function encodeText(at: usize, length: u32, ids: usize): u32 {
  const t = tokenizer()
  t.ids = ids
  t.count = 0
  t.scratch = 0
  encode(at, length)
  return t.count
}

/** The text in normal form C, where the tables have it: its address in the low half, its length in the high one. */
export function normaliseText(at: usize, length: u32): u64 {
  const text = changetype<Text>(reserve(offsetof<Text>()))
  text.at = at
  text.end = at + length
  normalise(text)
  return (((text.end - text.at) as u64) << 32) | text.at
}

export function number(at: usize, length: u32): f64 {
  return parseNumber(at, length)
}

export function digest(at: usize, length: u32): u64 {
  return sha256Prefix(at, length, reserve(SHA256_SCRATCH))
}

export function isText(at: usize, length: u32): u32 {
  return isUtf8(at, length) ? 1 : 0
}
