/**
 * A vocabulary in slices: tokens made of one kind of characters. Where a text goes on with any characters of a kind, all
 * tokens of its slice may come, and their mask is there already; only the other slices are walked. The sets are those that
 * patterns and tokens are mostly made of. The idea is llguidance's ("slicer", guidance-ai/llguidance, docs/optimizations.md).
 */
import { type CharacterSet, setOf } from './character-sets.ts'

const LOWER = [97, 122] as const
const UPPER = [65, 90] as const
const DIGITS = [48, 57] as const
const SPACE = [32, 32] as const
const UNDERSCORE = [95, 95] as const

/** A token belongs to the first that has all its characters; the last one has all that JSON strings hold as they are. */
export const slices: readonly CharacterSet[] = [
  setOf([LOWER]),
  setOf([LOWER, UPPER]),
  setOf([LOWER, UPPER, SPACE]),
  setOf([LOWER, UPPER, DIGITS, UNDERSCORE]),
  setOf([[0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7e]]), // biome-ignore format: one line
  setOf([[0x20, 0x21], [0x23, 0x5b], [0x5d, 0x10ffff]]), // biome-ignore format: one line
]

/** Characters of a slice's longest token; those with more are in none. */
export const LONGEST_IN_SLICE = 24
