/** Rows as the engine reads them: assembly/rows.ts. */
import type { Row, Sampling } from '../engine.ts'

/** u32 fields of a row. */
export const ROW_WORDS = 13

/** Writes a row; the fields are those of assembly/rows.ts, in order. */
export function writeRow(words: Uint32Array, floats: Float32Array, index: number, row: Row): void {
  const at = index * ROW_WORDS
  words[at] = row.conversation
  words[at + 1] = row.position
  words[at + 2] = row.token
  words[at + 3] = row.sampling ? 1 : 0
  words[at + 12] = row.dropped ?? 0
  if (!row.sampling) return
  const { temperature, topK, topP, minP, repeatPenalty, repeatLastN, seed }: Sampling = row.sampling
  floats[at + 4] = temperature
  words[at + 5] = topK
  floats[at + 6] = topP
  floats[at + 7] = minP
  floats[at + 8] = repeatPenalty
  words[at + 9] = repeatLastN
  words[at + 10] = seed >>> 0
  words[at + 11] = Math.floor(seed / 2 ** 32)
}
