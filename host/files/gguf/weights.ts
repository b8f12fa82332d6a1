/** The tensors of a GGUF file under the names, and in the order, of the checkpoint that it was made from. */
import { errors } from '../../errors.ts'
import type { StoredTensor, TensorStore } from '../store.ts'
import { decodeBlocks } from './blocks.ts'
import type { Layout } from './config.ts'
import type { GgufFile, GgufTensor } from './file.ts'
import { keptAs, splitBlocks } from './integers.ts'

const outer: Record<string, string> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
}

const inner: Record<string, string> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
  attn_q_a: 'self_attn.q_a_proj',
  attn_q_a_norm: 'self_attn.q_a_layernorm',
  attn_q_b: 'self_attn.q_b_proj',
  attn_kv_a_mqa: 'self_attn.kv_a_proj_with_mqa',
  attn_kv_a_norm: 'self_attn.kv_a_layernorm',
  attn_kv_b: 'self_attn.kv_b_proj',
}

interface Place {
  tensor: GgufTensor
  /** Rows of a head, where they lie in pairs. */
  pairs: number | undefined
  /** Added to each number. */
  plus: number
}

export function storeOf({ path, file, tensors }: GgufFile, layout: Layout): TensorStore {
  const places = new Map<string, Place>()
  for (const tensor of tensors.values()) {
    // It is in the config.
    if (/^rope_(?:freqs|factors_short|factors_long)\.weight$/.test(tensor.name)) continue
    const name = nameOf(tensor.name, layout)
    if (places.has(name)) throw errors.badFile(path, `tensor "${tensor.name}"`, 'the only one for its place', 'two')
    places.set(name, { tensor, pairs: headRows(tensor, layout), plus: isNorm(tensor) ? -(layout.normPlus ?? 0) : 0 })
  }
  const stored = new Map<string, StoredTensor>(
    Array.from(places, ([name, { tensor }]) => [
      name,
      {
        shape: tensor.shape,
        type: tensor.type.name,
        isReadable: tensor.type.decode !== undefined,
        keptAs: keptAs(tensor.type),
      },
    ]),
  )
  const joined = layout.isSplit ? joinHeads(tensors, stored) : new Map<string, Joined>()
  return {
    tensors: stored,
    async read(name, from, count) {
      const place = places.get(name)
      if (place) return readNumbers(file, place, from, count)
      const pair = joined.get(name)
      if (!pair) throw errors.missingTensors(path, [name])
      return readJoined(file, pair, from, count)
    },
    async readKept(name, rows) {
      const place = places.get(name)
      if (!place) throw errors.missingTensors(path, [name])
      return splitBlocks(place.tensor.type, await readRows(file, place, rows), place.tensor.shape.at(-1) as number)
    },
    close: () => file.close(),
  }
}

/** The bytes of some rows of a matrix, in this order. */
async function readRows(
  file: GgufFile['file'],
  { tensor: { shape, type, begin }, pairs }: Place,
  wanted: readonly number[],
): Promise<Uint8Array> {
  const rows = pairs === undefined ? wanted : wanted.map((row) => pairedRow(row, pairs))
  const rowBytes = ((shape.at(-1) as number) / type.values) * type.bytes
  const [low, behind] = spanOf(rows)
  const bytes = new Uint8Array((behind - low) * rowBytes)
  await file.read(bytes, begin + low * rowBytes)
  if (rows.every((row, i) => row === low + i)) return bytes
  const result = new Uint8Array(rows.length * rowBytes)
  for (const [i, row] of rows.entries())
    result.set(bytes.subarray((row - low) * rowBytes, (row - low + 1) * rowBytes), i * rowBytes)
  return result
}

/** blk.3.attn_q.weight: model.layers.3.self_attn.q_proj.weight. What is not known keeps its name, and is found to be unused. */
function nameOf(name: string, { names }: Layout): string {
  const [, layer, stem = '', end = ''] = /^(?:blk\.(\d+)\.)?([\w.]+)\.(weight|bias)$/.exec(name) ?? []
  const table = layer === undefined ? outer : { ...inner, ...names }
  // The stem is the file's: only what is in the table counts, not what every object has.
  if (!Object.hasOwn(table, stem)) return name
  return `${layer === undefined ? '' : `model.layers.${layer}.`}${table[stem]}.${end}`
}

const isNorm = ({ name }: GgufTensor) => /norm\.weight$/.test(name)

/** Rows of a head of q or k; undefined where they lie as in the checkpoint. */
function headRows({ name, shape }: GgufTensor, { pairs }: Layout): number | undefined {
  const which = /\.attn_([qk])\.(?:weight|bias)$/.exec(name)?.[1]
  if (!pairs || !which) return undefined
  return (shape[0] as number) / (which === 'q' ? pairs.heads : pairs.kvHeads)
}

/** Numbers of whole rows are read, those that are asked for are given. */
async function readNumbers(
  file: GgufFile['file'],
  { tensor, pairs, plus }: Place,
  from: number,
  count: number,
): Promise<Float32Array> {
  const { shape, type, begin } = tensor
  // Of a vector that is permuted, each number is a row.
  const cols = shape.length === 1 && pairs !== undefined ? 1 : (shape.at(-1) as number)
  const [first, end] = [Math.floor(from / cols), Math.ceil((from + count) / cols)]
  const rows =
    pairs === undefined ? undefined : Array.from({ length: end - first }, (_, i) => pairedRow(first + i, pairs))
  const [low, behind] = rows ? spanOf(rows) : [first, end]
  const rowBytes = (cols / type.values) * type.bytes
  const bytes = new Uint8Array((behind - low) * rowBytes)
  await file.read(bytes, begin + low * rowBytes)
  const read = decodeBlocks(type, bytes)
  const values = rows ? new Float32Array(rows.length * cols) : read
  for (const [i, row] of rows?.entries() ?? [])
    values.set(read.subarray((row - low) * cols, (row - low + 1) * cols), i * cols)
  if (plus !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + plus
  return values.slice(from - first * cols, from - first * cols + count)
}

/** The first row, and the one behind the last. */
function spanOf(rows: readonly number[]): [low: number, behind: number] {
  const [low, high] = rows.reduce(([a, b], row) => [Math.min(a, row), Math.max(b, row)], [Number.POSITIVE_INFINITY, 0])
  return [low, high + 1]
}

/** Row of the file for a row of the checkpoint: of d rows of a head, j lies at 2 j, and j + d/2 at 2 j + 1. */
function pairedRow(row: number, dim: number): number {
  const [head, at] = [Math.floor(row / dim), row % dim]
  return head * dim + 2 * (at % (dim / 2)) + Math.floor(at / (dim / 2))
}

/** Two tensors of the file that are one of the checkpoint: (heads, rank, plain) of keys, (heads, value, rank) of values. */
interface Joined {
  keys: GgufTensor
  values: GgufTensor
}

/** kv_b_proj of DeepSeek's attention, which llama.cpp keeps as attn_k_b and attn_v_b. */
function joinHeads(tensors: GgufFile['tensors'], stored: Map<string, StoredTensor>): Map<string, Joined> {
  const joined = new Map<string, Joined>()
  for (const [name, keys] of tensors) {
    const layer = /^blk\.(\d+)\.attn_k_b\.weight$/.exec(name)?.[1]
    const values = tensors.get(`blk.${layer}.attn_v_b.weight`)
    const [heads = 0, rank = 0, plain = 0] = keys.shape
    const [valueHeads, width = 0, valueRank] = values?.shape ?? []
    if (layer === undefined || !values || keys.shape.length !== 3 || valueHeads !== heads || valueRank !== rank)
      continue
    const whole = `model.layers.${layer}.self_attn.kv_b_proj.weight`
    for (const part of ['k', 'v']) stored.delete(`blk.${layer}.attn_${part}_b.weight`)
    const isReadable = keys.type.decode !== undefined && values.type.decode !== undefined
    stored.set(whole, { shape: [heads * (plain + width), rank], type: keys.type.name, isReadable })
    joined.set(whole, { keys, values })
  }
  return joined
}

/** Rows of a head: those of its keys, which are columns in the file, then those of its values. */
async function readJoined(file: GgufFile['file'], { keys, values }: Joined, from: number, count: number) {
  const [, rank = 0, plain = 0] = keys.shape
  const width = values.shape[1] ?? 0
  const headNumbers = (plain + width) * rank
  const [first, end] = [Math.floor(from / headNumbers), Math.ceil((from + count) / headNumbers)]
  const whole = new Float32Array((end - first) * headNumbers)
  const ofHead = (tensor: GgufTensor, head: number, size: number) =>
    readNumbers(file, { tensor, pairs: undefined, plus: 0 }, head * size, size)
  for (let head = first; head < end; head++) {
    const at = (head - first) * headNumbers
    const turned = await ofHead(keys, head, plain * rank)
    for (let row = 0; row < plain; row++)
      for (let col = 0; col < rank; col++) whole[at + row * rank + col] = turned[col * plain + row] as number
    whole.set(await ofHead(values, head, width * rank), at + plain * rank)
  }
  return whole.slice(from - first * headNumbers, from - first * headNumbers + count)
}
