/**
 * Writes a GGUF file with synthetic weights from a config of models/configs, so that llama.cpp can be timed on the very shapes of
 * a model of ours: all that `gta convert DIR FILE.gguf` writes. All matrices have one type, as `llama-quantize --pure` writes
 * them; norms and biases are F32. Pieces are written one after the other: a file of a gigabyte takes a few megabytes of memory.
 *
 *     Q8_0   ┃ f16 scale ┃ 32 × int8 ┃                      34 bytes, weight = scale · q
 *     Q4_0   ┃ f16 scale ┃ 16 bytes: q[i] | q[i + 16] << 4 ┃ 18 bytes, weight = scale · (q − 8)
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { ALIGNMENT, align, encodeHeader, entries } from '../../host/files/gguf/write/header.ts'
import { type BlockShape, type LaidTensor, layOut, planGguf } from '../../host/files/gguf/write/plan.ts'
import { f16Bits } from '../../host/files/half.ts'
import { describe, mismatch } from '../../models/index.ts'

export type GgufWeights = 'Q8_0' | 'Q4_0'

interface Block extends BlockShape {
  /** Spread of its random integers. */
  deviation: number
}

const BLOCK = 32
const f32: Block = { id: 0, values: 1, bytes: 4, deviation: 1 }
const types: Record<GgufWeights, Block & { fileType: number }> = {
  Q4_0: { id: 2, values: BLOCK, bytes: 18, deviation: 4.61, fileType: 2 },
  Q8_0: { id: 8, values: BLOCK, bytes: 34, deviation: 73.3, fileType: 7 },
}

/** Returns the size of the file; `config` is a config.json. */
export async function writeGguf(path: string, config: unknown, weights: GgufWeights): Promise<number> {
  const model = describe(config)
  const plan = await planGguf(path, model, config)
  const tensors = layOut(plan.tensors, f32, ({ name, shape }) => {
    const cols = shape.at(-1) as number
    if (cols % BLOCK !== 0)
      throw mismatch(`the width of ${name}`, `a multiple of ${BLOCK}`, cols, `${weights} has no smaller blocks`)
    return types[weights]
  })
  const general = [
    entries.text('general.name', 'synthetic'),
    entries.integer('general.alignment', ALIGNMENT),
    entries.integer('general.quantization_version', 2),
    entries.integer('general.file_type', types[weights].fileType),
  ]
  const file = openSync(path, 'w')
  let at = writeAll(file, encodeHeader([...plan.values, ...general, ...vocabulary(model.spec.vocabSize)], tensors))
  for (const [index, tensor] of tensors.entries()) {
    for (const piece of contentOf(tensor, index + 1)) at += writeAll(file, piece)
    at += writeAll(file, new Uint8Array(align(at) - at))
  }
  // Else the system would write the file back while somebody measures.
  fsyncSync(file)
  closeSync(file)
  return at
}

function writeAll(file: number, bytes: Uint8Array): number {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
  return bytes.length
}

/** As small as a SentencePiece vocabulary can be: three special tokens, the 256 bytes, then words that mean nothing. */
function vocabulary(size: number) {
  const ids = Array.from({ length: size }, (_, id) => id)
  const key = (name: string) => `tokenizer.ggml.${name}`
  return [
    entries.text(key('model'), 'llama'),
    entries.texts(key('tokens'), ids.map(tokenText)),
    entries.numbers(
      key('scores'),
      ids.map((id) => -id),
    ),
    entries.integers(key('token_type'), ids.map(tokenType)),
    entries.integer(key('unknown_token_id'), 0),
    entries.integer(key('bos_token_id'), 1),
    entries.integer(key('eos_token_id'), 2),
  ]
}

const special = ['<unk>', '<s>', '</s>']
const tokenTypes = { normal: 1, unknown: 2, control: 3, byte: 6 }

function tokenText(id: number): string {
  const byte = id - special.length
  const hex = byte.toString(16).toUpperCase().padStart(2, '0')
  return special[id] ?? (byte < 256 ? `<0x${hex}>` : `▁t${id}`)
}

function tokenType(id: number): number {
  if (id < special.length) return id === 0 ? tokenTypes.unknown : tokenTypes.control
  return id < special.length + 256 ? tokenTypes.byte : tokenTypes.normal
}

/** Weights of variance 1 / cols keep activations of order 1 through all layers. */
function* contentOf({ name, block, shape, bytes }: LaidTensor<Block>, seed: number): Generator<Uint8Array> {
  if (block === f32) {
    const fill = name.endsWith('norm.weight') ? 1 : 0
    yield new Uint8Array(new Float32Array(bytes / 4).fill(fill).buffer)
    return
  }
  const scale = f16Bits(1 / block.deviation / Math.sqrt(shape.at(-1) as number))
  const piece = new Uint8Array(block.bytes * 2 ** 15)
  const words = new Uint32Array(piece.buffer)
  const next = xorshift(seed)
  for (let done = 0; done < bytes; done += piece.length) {
    for (let i = 0; i < words.length; i++) words[i] = next()
    // −128 has no positive twin: llama.cpp never writes it, and its kernels may take absolute values.
    if (block === types.Q8_0) for (let i = 0; i < piece.length; i++) if (piece[i] === 0x80) piece[i] = 0x81
    for (let at = 0; at < piece.length; at += block.bytes) {
      piece[at] = scale
      piece[at + 1] = scale >>> 8
    }
    yield piece.subarray(0, Math.min(piece.length, bytes - done))
  }
}

/** Marsaglia's xorshift32: 32 bits, never 0, and quick enough for a gigabyte. */
function xorshift(seed: number): () => number {
  let state = Math.imul(seed, 0x9e3779b1) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state
  }
}
