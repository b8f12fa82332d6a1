/**
 * A model whose answers are known: whatever came before, the next byte is "a" with probability 1/2, "b" 1/4, a space 1/8, "c"
 * 1/16, and "d", "e" and the two bytes of "é" 1/64 each. Its tokens are bytes. A text costs as many bits as its bytes do:
 * "a" 1, "b" 2, a space 3, "c" 4, the others 6.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Config, encode, gqaConfig, sourcesOf, type Tensors, writeCheckpoint } from './checkpoints.ts'

const config: Config = { ...gqaConfig, vocab_size: 256, max_position_embeddings: 1024 }

const bits: Record<string, number> = { a: 1, b: 2, ' ': 3, c: 4, d: 6, e: 6, '\u{c3}': 6, '\u{a9}': 6 }

/** Every layer adds nothing to ones, which the head meets with its first column. */
export function writeUnigram(): string {
  const tensors: Tensors = new Map()
  for (const { tensor, shape } of sourcesOf(config)) {
    const count = shape.reduce((product, n) => product * n, 1)
    const values = new Float32Array(count).fill(/norm|embed/.test(tensor) ? 1 : 0)
    if (tensor === 'lm_head.weight')
      for (let id = 0; id < 256; id++) values[(id * count) / 256] = -Math.LN2 * (bits[String.fromCharCode(id)] ?? 60)
    tensors.set(tensor, { dtype: 'F32', shape, data: encode(values, 'F32') })
  }
  const directory = writeCheckpoint(config, tensors)
  const vocab = Object.fromEntries(Array.from({ length: 256 }, (_, id) => [letterOf(id), id]))
  const model = { type: 'BPE', vocab, merges: [] }
  const pre_tokenizer = { type: 'ByteLevel', add_prefix_space: false, use_regex: false }
  const stages = { normalizer: null, pre_tokenizer, post_processor: null, decoder: { type: 'ByteLevel' } }
  const tokenizer = { version: '1.0', added_tokens: [], ...stages, model }
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(tokenizer))
  return directory
}

/** GPT-2's letter for a byte: itself where it can be seen, else one from 256 on. */
function letterOf(byte: number): string {
  const isSeen = (b: number) => (b > 32 && b < 127) || (b > 160 && b !== 173)
  const unseen = Array.from({ length: byte }, (_, b) => b).filter((b) => !isSeen(b)).length
  return String.fromCodePoint(isSeen(byte) ? byte : 256 + unseen)
}
