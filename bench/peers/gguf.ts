/**
 * Writes a GGUF file (version 3, architecture llama) with synthetic weights from a config of models/configs, so that
 * llama.cpp can be timed on the very shapes of a model of ours: MHA, MQA and GQA; it cannot run the other kinds.
 * All matrices have one type, as `llama-quantize --pure` writes them; norms and biases are F32. Pieces are written one
 * after the other: a file of a gigabyte takes a few megabytes of memory.
 *
 *     "GGUF" version tensors entries ┃ metadata ┃ tensor table ┃ padding ┃ tensor data, each padded to 32
 *     Q8_0   ┃ f16 scale ┃ 32 × int8 ┃                      34 bytes, weight = scale · q
 *     Q4_0   ┃ f16 scale ┃ 16 bytes: q[i] | q[i + 16] << 4 ┃ 18 bytes, weight = scale · (q − 8)
 *
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import {
  type AttentionSpec,
  attentionOf,
  type LayerSpec,
  type ModelDescription,
  mismatch,
  nLayers,
  type Rope,
  slotOf,
} from '../../models/index.ts'

export type GgufWeights = 'Q8_0' | 'Q4_0'
type TensorType = GgufWeights | 'F32'

export interface GgufTensor {
  name: string
  type: TensorType
  /** (rows, cols) or (cols); the file has them the other way round. */
  shape: number[]
  bytes: number
  /** From the start of the tensor data. */
  offset: number
}

const ALIGNMENT = 32
const BLOCK = 32
/** GGML's number of a type, weights and bytes of a block, spread of its random integers, its name as a file type. */
const types = {
  F32: { id: 0, weights: 1, bytes: 4, deviation: 1, fileType: 0 },
  Q4_0: { id: 2, weights: BLOCK, bytes: 18, deviation: 4.61, fileType: 2 },
  Q8_0: { id: 8, weights: BLOCK, bytes: 34, deviation: 73.3, fileType: 7 },
} as const

const align = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

/** Returns the size of the file. */
export function writeGguf(path: string, model: ModelDescription, weights: GgufWeights): number {
  const tensors = tensorsOf(model, weights)
  const header = encodeHeader(model, weights, tensors)
  const file = openSync(path, 'w')
  let at = writeAll(file, header)
  const pad = () => {
    at += writeAll(file, new Uint8Array(align(at) - at))
  }
  pad()
  for (const [index, tensor] of tensors.entries()) {
    for (const piece of contentOf(tensor, index + 1)) at += writeAll(file, piece)
    pad()
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

/** llama.cpp's names, in the order of its own files. */
export function tensorsOf({ spec }: ModelDescription, weights: GgufWeights): GgufTensor[] {
  const { hiddenDim, vocabSize } = spec
  const { mixer: attention, ffn } = llamaLayer({ spec })
  const { heads, kvHeads, headDim } = headsOf(attention)
  const tensors: GgufTensor[] = []
  let offset = 0
  const add = (name: string, shape: number[], type: TensorType) => {
    const cols = shape.at(-1) as number
    if (cols % types[type].weights !== 0)
      throw mismatch(`the width of ${name}`, `a multiple of ${BLOCK}`, cols, `${type} has no smaller blocks`)
    const bytes = (shape.reduce((a, b) => a * b) / types[type].weights) * types[type].bytes
    tensors.push({ name, type, shape, bytes, offset })
    offset += align(bytes)
  }
  const norm = (name: string) => add(`${name}.weight`, [hiddenDim], 'F32')
  const linear = (name: string, rows: number, cols: number, hasBias = false) => {
    add(`${name}.weight`, [rows, cols], weights)
    if (hasBias) add(`${name}.bias`, [rows], 'F32')
  }
  linear('token_embd', vocabSize, hiddenDim)
  norm('output_norm')
  if (!spec.head.isTied) linear('output', vocabSize, hiddenDim)
  for (let layer = 0; layer < nLayers(spec); layer++) {
    const prefix = `blk.${layer}`
    norm(`${prefix}.attn_norm`)
    linear(`${prefix}.attn_q`, heads * headDim, hiddenDim, attention.bias.in)
    linear(`${prefix}.attn_k`, kvHeads * headDim, hiddenDim, attention.bias.in)
    linear(`${prefix}.attn_v`, kvHeads * headDim, hiddenDim, attention.bias.in)
    linear(`${prefix}.attn_output`, hiddenDim, heads * headDim, attention.bias.out)
    norm(`${prefix}.ffn_norm`)
    linear(`${prefix}.ffn_gate`, ffn.width, hiddenDim)
    linear(`${prefix}.ffn_up`, ffn.width, hiddenDim)
    linear(`${prefix}.ffn_down`, hiddenDim, ffn.width)
  }
  return tensors
}

/** Only what LlamaForCausalLM can be; anything else would be another model under the same name. */
function llamaLayer({ spec }: Pick<ModelDescription, 'spec'>): LayerSpec & { mixer: AttentionSpec; rope: Rope } {
  const [layer, ...others] = spec.layers
  const mixer = layer && attentionOf(layer)
  const rope = mixer?.rope
  if (!mixer || !rope || others.length > 0 || mixer.queryNorm || !['mha', 'mqa', 'gqa'].includes(spec.kind))
    throw mismatch('the attention of a GGUF file', 'MHA, MQA or GQA', spec.kind, 'give the peer a config of its own')
  if (rope.scaling) throw mismatch('"rope_scaling"', 'absent', rope.scaling.type, 'the GGUF writer has no word for it')
  return { ...layer, mixer, rope }
}

function headsOf(attention: AttentionSpec): { heads: number; kvHeads: number; headDim: number } {
  return { heads: attention.maps, kvHeads: slotOf(attention, attention.value).heads, headDim: attention.outDim }
}

// Metadata: every number is little-endian, a string is its length (u64) and its bytes.

const valueTypes = { u32: 4, i32: 5, f32: 6, string: 8, array: 9 } as const

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer)
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer)
const f32 = (value: number) => Buffer.from(Float32Array.of(value).buffer)
function string(value: string): Uint8Array {
  const bytes = Buffer.allocUnsafe(8 + Buffer.byteLength(value))
  bytes.writeBigUInt64LE(BigInt(bytes.length - 8))
  bytes.write(value, 8)
  return bytes
}

const entry = (key: string, type: keyof typeof valueTypes, value: Uint8Array) =>
  Buffer.concat([string(key), u32(valueTypes[type]), value])
const array = (key: string, type: keyof typeof valueTypes, length: number, values: Uint8Array) =>
  entry(key, 'array', Buffer.concat([u32(valueTypes[type]), u64(length), values]))

function encodeHeader(model: ModelDescription, weights: GgufWeights, tensors: GgufTensor[]): Uint8Array {
  const entries = [...modelEntries(model, weights), ...tokenizerEntries(model)]
  const table = tensors.map(({ name, type, shape, offset }) =>
    Buffer.concat([string(name), u32(shape.length), ...shape.toReversed().map(u64), u32(types[type].id), u64(offset)]),
  )
  return Buffer.concat([Buffer.from('GGUF'), u32(3), u64(table.length), u64(entries.length), ...entries, ...table])
}

function modelEntries({ spec }: ModelDescription, weights: GgufWeights): Uint8Array[] {
  const { mixer, ffn, norms, rope } = llamaLayer({ spec })
  const { heads, kvHeads, headDim } = headsOf(mixer)
  return [
    entry('general.architecture', 'string', string('llama')),
    entry('general.name', 'string', string('synthetic')),
    entry('general.alignment', 'u32', u32(ALIGNMENT)),
    entry('general.quantization_version', 'u32', u32(2)),
    entry('general.file_type', 'u32', u32(types[weights].fileType)),
    entry('llama.vocab_size', 'u32', u32(spec.vocabSize)),
    entry('llama.context_length', 'u32', u32(spec.maxContext)),
    entry('llama.embedding_length', 'u32', u32(spec.hiddenDim)),
    entry('llama.feed_forward_length', 'u32', u32(ffn.width)),
    entry('llama.block_count', 'u32', u32(nLayers(spec))),
    entry('llama.attention.head_count', 'u32', u32(heads)),
    entry('llama.attention.head_count_kv', 'u32', u32(kvHeads)),
    entry('llama.attention.key_length', 'u32', u32(headDim)),
    entry('llama.attention.value_length', 'u32', u32(headDim)),
    entry('llama.attention.layer_norm_rms_epsilon', 'f32', f32(norms.mixerIn?.eps ?? 0)),
    entry('llama.rope.dimension_count', 'u32', u32(headDim)),
    entry('llama.rope.freq_base', 'f32', f32(rope.theta)),
  ]
}

/** As small as a SentencePiece vocabulary can be: three special tokens, the 256 bytes, then words that mean nothing. */
function tokenizerEntries({ spec: { vocabSize } }: ModelDescription): Uint8Array[] {
  const tokens = Array.from({ length: vocabSize }, (_, id) => string(tokenText(id)))
  const scores = Float32Array.from(tokens, (_, id) => -id)
  const kinds = Int32Array.from(tokens, (_, id) => tokenType(id))
  return [
    entry('tokenizer.ggml.model', 'string', string('llama')),
    array('tokenizer.ggml.tokens', 'string', vocabSize, Buffer.concat(tokens)),
    array('tokenizer.ggml.scores', 'f32', vocabSize, new Uint8Array(scores.buffer)),
    array('tokenizer.ggml.token_type', 'i32', vocabSize, new Uint8Array(kinds.buffer)),
    entry('tokenizer.ggml.unknown_token_id', 'u32', u32(0)),
    entry('tokenizer.ggml.bos_token_id', 'u32', u32(1)),
    entry('tokenizer.ggml.eos_token_id', 'u32', u32(2)),
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
function* contentOf({ name, type, shape, bytes }: GgufTensor, seed: number): Generator<Uint8Array> {
  if (type === 'F32') {
    const fill = name.endsWith('norm.weight') ? 1 : 0
    yield new Uint8Array(new Float32Array(bytes / 4).fill(fill).buffer)
    return
  }
  const scale = halfBits(1 / types[type].deviation / Math.sqrt(shape.at(-1) as number))
  const block = types[type].bytes
  const piece = new Uint8Array(block * 2 ** 15)
  const words = new Uint32Array(piece.buffer)
  const next = xorshift(seed)
  for (let done = 0; done < bytes; done += piece.length) {
    for (let i = 0; i < words.length; i++) words[i] = next()
    // −128 has no positive twin: llama.cpp never writes it, and its kernels may take absolute values.
    if (type === 'Q8_0') for (let i = 0; i < piece.length; i++) if (piece[i] === 0x80) piece[i] = 0x81
    for (let at = 0; at < piece.length; at += block) {
      piece[at] = scale
      piece[at + 1] = scale >>> 8
    }
    yield piece.subarray(0, Math.min(piece.length, bytes - done))
  }
}

/** f16 bits of a positive number of its normal range, rounded to the nearest. */
function halfBits(value: number): number {
  const [bits = 0] = new Uint32Array(Float32Array.of(value).buffer)
  return (bits - (112 << 23) + 0x1000) >>> 13
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
