/** Rows as the engine reads them: Row of assembly/abi.ts. */
import * as abi from '../../../assembly/abi.ts'
import { placesOf } from '../../../models/records.ts'
import type { Row } from '../engine.ts'

/** Where the fields of a row are, in words. */
const ROW = placesOf(new abi.Row())
export const ROW_WORDS = Object.keys(ROW).length

/** Writes a row where the engine reads it. */
export function writeRow(words: Uint32Array, floats: Float32Array, index: number, row: Row): void {
  const at = index * ROW_WORDS
  words[at + ROW.conversation] = row.conversation
  words[at + ROW.position] = row.position
  words[at + ROW.token] = row.token
  words[at + ROW.wantsLogits] = row.sampling ? 1 : 0
  words[at + ROW.wantsState] = row.wantsState ? 1 : 0
  words[at + ROW.dropped] = row.dropped ?? 0
  const { sampling } = row
  if (!sampling) return
  const { temperature, topK, topP, minP, repeatPenalty, repeatLastN, seed } = sampling
  floats[at + ROW.temperature] = temperature
  words[at + ROW.topK] = topK
  floats[at + ROW.topP] = topP
  floats[at + ROW.minP] = minP
  floats[at + ROW.repeatPenalty] = repeatPenalty
  words[at + ROW.penaltyWindow] = repeatLastN
  floats[at + ROW.presencePenalty] = sampling.presencePenalty
  floats[at + ROW.frequencyPenalty] = sampling.frequencyPenalty
  words[at + ROW.generatedFrom] = row.generatedFrom ?? row.position + 1
  words[at + ROW.isMasked] = row.mask ? 1 : 0
  words[at + ROW.biases] = row.bias?.tokens.length ?? 0
  words[at + ROW.seedLow] = seed >>> 0
  words[at + ROW.seedHigh] = Math.floor(seed / 2 ** 32)
}

/** Rows among the first `count` that want logits, and that want their state. */
export function countWanted(words: Uint32Array, count: number): { logits: number; states: number } {
  let [logits, states] = [0, 0]
  for (let at = 0; at < count * ROW_WORDS; at += ROW_WORDS) {
    logits += words[at + ROW.wantsLogits] as number
    states += words[at + ROW.wantsState] as number
  }
  return { logits, states }
}

/** Conversations of the first `count` rows that have a mask, and those that have biases, with how many. */
export function steered(
  words: Uint32Array,
  count: number,
): { conversation: number; isMasked: boolean; biases: number }[] {
  const found = []
  for (let at = 0; at < count * ROW_WORDS; at += ROW_WORDS) {
    const [isMasked, biases] = [words[at + ROW.isMasked] === 1, words[at + ROW.biases] as number]
    if (words[at + ROW.wantsLogits] && (isMasked || biases > 0))
      found.push({ conversation: words[at + ROW.conversation] as number, isMasked, biases })
  }
  return found
}
