/** The tensors of a GGUF file under the names, and in the order, of the checkpoint that it was made from. */
import { ln } from '../../../models/arithmetic.ts'
import { errors } from '../../errors.ts'
import type { StoredTensor, TensorStore } from '../store.ts'
import { decodeBlocks } from './blocks.ts'
import type { GgufFile, GgufTensor } from './file.ts'
import { keptAs, splitBlocks } from './integers.ts'
import { checkpointName, checkpointShape, fileRows, isExponent, isTurned, type Layout, plusOf } from './layout.ts'

interface Place {
  tensor: GgufTensor
  /** Row of the file for one of the checkpoint, where they are not the same. */
  rowOf?: ((row: number) => number) | undefined
  /** Turned round. */
  isTurned?: boolean
  /** Added to each number. */
  plus?: number
  /** The numbers are −e^x of those of the checkpoint. */
  isExponent?: boolean
}

export function storeOf({ path, file, tensors }: GgufFile, layout: Layout): TensorStore {
  const places = new Map<string, Place>()
  for (const tensor of tensors.values()) {
    const { name, shape } = tensor
    // It is in the config.
    if (/^rope_(?:freqs|factors_short|factors_long)\.weight$/.test(name)) continue
    const own = checkpointName(name, layout.names)
    if (places.has(own)) throw errors.badFile(path, `tensor "${name}"`, 'the only one for its place', 'two')
    places.set(own, {
      tensor,
      rowOf: fileRows(name, shape[0] as number, layout),
      isTurned: isTurned(name, layout),
      plus: plusOf(name, layout),
      isExponent: isExponent(name, layout),
    })
  }
  const stored = new Map<string, StoredTensor>(
    Array.from(places, ([name, { tensor, rowOf, isTurned, isExponent }]) => [
      name,
      {
        shape: isTurned ? tensor.shape.toReversed() : checkpointShape(tensor, layout),
        type: tensor.type.name,
        // Numbers of a vector are not taken out of blocks one by one.
        isReadable: tensor.type.decode !== undefined && !(rowOf && tensor.shape.length === 1 && tensor.type.values > 1),
        keptAs: isTurned || isExponent || tensor.shape.length !== 2 ? undefined : keptAs(tensor.type),
      },
    ]),
  )
  const joined = layout.isSplit ? joinHeads(tensors, stored) : new Map<string, Joined>()
  return {
    tensors: stored,
    refusesOthers: true,
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
      const { tensor, rowOf } = place
      const cols = tensor.shape.at(-1) as number
      return splitBlocks(tensor.type, await gatherBytes(file, tensor, rowOf ? rows.map(rowOf) : rows, cols), cols)
    },
    close: () => file.close(),
  }
}

/** Numbers of whole rows are read, those that are asked for are given. */
async function readNumbers(file: GgufFile['file'], place: Place, from: number, count: number): Promise<Float32Array> {
  const { tensor, rowOf, isTurned, isExponent, plus = 0 } = place
  if (isTurned) return (await readTurned(file, tensor)).slice(from, from + count)
  // Of a vector whose order is another, each number is a row.
  const cols = tensor.shape.length === 1 && rowOf ? 1 : (tensor.shape.at(-1) as number)
  const [first, end] = [Math.floor(from / cols), Math.ceil((from + count) / cols)]
  const bytes = rowOf
    ? await gatherBytes(
        file,
        tensor,
        Array.from({ length: end - first }, (_, i) => rowOf(first + i)),
        cols,
      )
    : await readBytes(file, tensor, first, end, cols)
  const values = decodeBlocks(tensor.type, bytes)
  if (plus !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] as number) + plus
  if (isExponent) for (let i = 0; i < values.length; i++) values[i] = ln(-(values[i] as number))
  return values.slice(from - first * cols, from - first * cols + count)
}

const bytesOfRow = ({ type }: GgufTensor, cols: number) => (cols / type.values) * type.bytes

async function readBytes(file: GgufFile['file'], tensor: GgufTensor, from: number, end: number, cols: number) {
  const size = bytesOfRow(tensor, cols)
  const bytes = new Uint8Array((end - from) * size)
  await file.read(bytes, tensor.begin + from * size)
  return bytes
}

/** Rows that nothing is wanted of are read along rather than skipped, if they are so few. */
const MAX_GAP = 64

/** Rows of the file in the order that is asked for, each run of neighbours in one read. */
async function gatherBytes(file: GgufFile['file'], tensor: GgufTensor, rows: readonly number[], cols: number) {
  const size = bytesOfRow(tensor, cols)
  const bytes = new Uint8Array(rows.length * size)
  const sorted = rows.map((row, at) => ({ row, at })).sort((a, b) => a.row - b.row)
  for (let i = 0; i < sorted.length; ) {
    let end = i + 1
    while (end < sorted.length && (sorted[end]?.row ?? 0) - (sorted[end - 1]?.row ?? 0) <= MAX_GAP) end++
    const run = sorted.slice(i, end)
    const low = run[0]?.row ?? 0
    const read = await readBytes(file, tensor, low, (run.at(-1)?.row ?? 0) + 1, cols)
    for (const { row, at } of run) bytes.set(read.subarray((row - low) * size, (row - low + 1) * size), at * size)
    i = end
  }
  return bytes
}

/** (rows, cols) of the file as (cols, rows): all of it, for that is how it is asked for. */
async function readTurned(file: GgufFile['file'], tensor: GgufTensor): Promise<Float32Array> {
  const [rows = 0, cols = 0] = tensor.shape
  const values = decodeBlocks(tensor.type, await readBytes(file, tensor, 0, rows, cols))
  const turned = new Float32Array(values.length)
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) turned[c * rows + r] = values[r * cols + c] as number
  return turned
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
  const ofHead = (tensor: GgufTensor, head: number, size: number) => readNumbers(file, { tensor }, head * size, size)
  for (let head = first; head < end; head++) {
    const at = (head - first) * headNumbers
    const turned = await ofHead(keys, head, plain * rank)
    for (let row = 0; row < plain; row++)
      for (let col = 0; col < rank; col++) whole[at + row * rank + col] = turned[col * plain + row] as number
    whole.set(await ofHead(values, head, width * rank), at + plain * rank)
  }
  return whole.slice(from - first * headNumbers, from - first * headNumbers + count)
}
