/**
 * Kinds of characters that patterns and tokens are mostly made of. Where a text goes on with any characters of a kind, all
 * tokens of them may come: they are taken at once, and only others are walked (see trie.ts, masks.ts). The idea is
 * llguidance's ("slicer", guidance-ai/llguidance, docs/optimizations.md).
 */
import { Budget } from './budget.ts'
import { Alphabet, type CharacterSet, setOf } from './character-sets.ts'

const LOWER = [97, 122] as const
const UPPER = [65, 90] as const
const DIGITS = [48, 57] as const
const SPACE = [32, 32] as const
const UNDERSCORE = [95, 95] as const
/** Letters of the scripts that write most words, without gaps and marks. */
const LETTERS = [[0xc0, 0xd6], [0xd8, 0xf6], [0xf8, 0x24f], [0x391, 0x3a1], [0x3a3, 0x3f5], [0x400, 0x481], [0x48a, 0x52f], [0x5d0, 0x5ea], [0x620, 0x64a], [0x904, 0x939], [0xe01, 0xe30], [0x3041, 0x3096], [0x30a1, 0x30fa], [0x4e00, 0x9fff], [0xac00, 0xd7a3]] as const // biome-ignore format: one line
/** Without the two that end lines. */
const NOT_ASCII = [[0x80, 0x2027], [0x202a, 0x10ffff]] as const // biome-ignore format: one line
const PLAIN_ASCII = [[0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7e]] as const // biome-ignore format: one line

/** Smaller ones first; the last one has all that JSON strings hold as they are, but for ends of lines and U+007F. */
export const slices: readonly CharacterSet[] = [
  setOf([SPACE]),
  setOf([LOWER]),
  setOf([DIGITS]),
  setOf([LOWER, UPPER]),
  setOf([LOWER, SPACE]),
  setOf([LOWER, UPPER, SPACE]),
  setOf([LOWER, UPPER, DIGITS, UNDERSCORE]),
  setOf(LETTERS),
  setOf([LOWER, UPPER, ...LETTERS]),
  setOf(NOT_ASCII),
  setOf([LOWER, UPPER, SPACE, ...NOT_ASCII]),
  setOf(PLAIN_ASCII),
  setOf([...PLAIN_ASCII, ...NOT_ASCII]),
]

/** Which slices have a character: a bit for each. */
export function slicesOf(character: number): number {
  return bits[alphabet.classOf(character)] as number
}

const alphabet = new Alphabet(slices, new Budget())
const bits = alphabet.members.map((slices) => [...slices].reduce((found, i) => found | (1 << i), 0))
