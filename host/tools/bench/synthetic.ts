/**
 * Weights for any config without a checkpoint, for benchmarks: every size can be timed, and every machine times the same
 * bytes. They are random numbers with a spread that keeps activations of order 1, so nothing overflows and attention
 * looks at many tokens. What such a model writes means nothing.
 *
 * A gigabyte must not take long, and drawing each number would: a few MB are drawn for each kind of matrix and copied
 * from ever other places.
 */
import {
  derivedBytes,
  isKeptType,
  type ModelDescription,
  nLayers,
  type PackedTensor,
  type Plan,
  Q4_BYTES,
  Q4_COLS,
  Q4_ROWS,
  type WeightType,
} from '../../../models/index.ts'

/** Receives bytes; offsets count from the first packed tensor. */
type Sink = (offset: number, bytes: Uint8Array) => Promise<void> | void

type Matrix = Extract<PackedTensor['content'], { is: 'matrix' }>
type Random = () => number

/** Bytes drawn, more or less: a copy takes at most half of them, so that there is a choice of places. */
const POOL_BYTES = 2 ** 22

/** Standard deviation of whole numbers that are equally likely, `count` of them in a row. */
const spreadOfIntegers = (count: number) => Math.sqrt((count ** 2 - 1) / 12)

/** Makes all packed tensors of a plan, one after the other, and writes them. */
export async function fillSynthetic({ spec }: ModelDescription, plan: Plan, write: Sink): Promise<void> {
  const filler = new Filler(nLayers(spec))
  for (const tensor of plan.tensors) {
    const bytes = new Uint8Array(tensor.bytes)
    const { content } = tensor
    const derived = derivedBytes(plan, tensor)
    if (derived) bytes.set(derived)
    else if (content.is === 'vector') filler.vector(tensor, floatsOf(bytes))
    else if (content.is === 'matrix') filler.matrix(tensor, content, bytes)
    // Scales come with their matrix.
    else continue
    await write(tensor.offset, bytes)
    const scales = content.is === 'matrix' ? content.scales : undefined
    if (!scales) continue
    const scale = spreadOf(tensor, content as Matrix, nLayers(spec)) / spreadOfIntegers(127)
    await write(scales.offset, new Uint8Array(new Float32Array(scales.bytes / 4).fill(scale).buffer))
  }
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}

/** Standard deviation of a matrix's weights: outputs are as large as inputs, and the sum over all layers stays small. */
function spreadOf({ name }: PackedTensor, { cols }: Matrix, layers: number): number {
  const isAdded = name.endsWith('.out') || name.endsWith('.down')
  return 1 / Math.sqrt(isAdded ? cols * 2 * layers : cols)
}

class Filler {
  private readonly pools = new Map<string, Uint8Array>()
  private readonly random = xorshift(1)
  private readonly layers: number

  constructor(layers: number) {
    this.layers = layers
  }

  /** Norms are ones, biases small; padding is zeros. */
  vector({ name, content }: PackedTensor, floats: Float32Array): void {
    const sources = content.is === 'vector' ? content.sources : []
    const length = sources.reduce(
      (sum, { rows, shape }) => sum + (rows?.length ?? shape.reduce((product, n) => product * n, 1)),
      0,
    )
    const isNorm = name.endsWith('norm')
    floats.fill(0)
    for (let i = 0; i < length; i++) floats[i] = isNorm ? 1 : (this.random() - 0.5) / 5
  }

  matrix(tensor: PackedTensor, content: Matrix, bytes: Uint8Array): void {
    const { type } = content
    if (isKeptType(type)) throw new RangeError('kept types come from a file only')
    const { unit, draw, pad } = formats[type]
    const pool = this.pool(type, draw, spreadOf(tensor, content, this.layers))
    const most = unit * Math.floor(pool.length / unit / 2)
    for (let at = 0; at < bytes.length; at += most) {
      const length = Math.min(bytes.length - at, most)
      const from = unit * Math.floor((this.random() * (pool.length - length)) / unit)
      bytes.set(pool.subarray(from, from + length), at)
    }
    pad(bytes, content.rows, content.cols)
  }

  private pool(type: WeightType, draw: Format['draw'], spread: number): Uint8Array {
    const key = `${type} ${spread}`
    const found = this.pools.get(key) ?? draw(spread, this.random)
    this.pools.set(key, found)
    return found
  }
}

interface Format {
  /** Bytes that belong together. */
  unit: number
  draw(spread: number, random: Random): Uint8Array
  /** Overwrites what is no weight with what a conversion leaves there. */
  pad(bytes: Uint8Array, rows: number, cols: number): void
}

/** Rows of numbers of `unit` bytes, `value` behind each. */
function padRows(bytes: Uint8Array, rows: number, width: number, value: number): void {
  const stride = bytes.length / rows
  if (width < stride)
    for (let end = stride; end <= bytes.length; end += stride) bytes.fill(value, end - stride + width, end)
}

const formats: Record<WeightType, Format> = {
  f32: {
    unit: 4,
    draw: (spread, random) => {
      const floats = new Float32Array(POOL_BYTES / 4)
      // Equally likely from −√3 to √3 spreads: that has the standard deviation.
      for (let i = 0; i < floats.length; i++) floats[i] = (random() * 2 - 1) * Math.sqrt(3) * spread
      return new Uint8Array(floats.buffer)
    },
    pad: (bytes, rows, cols) => padRows(bytes, rows, cols * 4, 0),
  },
  q8: {
    unit: 1,
    draw: (_, random) => {
      const bytes = new Uint8Array(POOL_BYTES)
      for (let i = 0; i < bytes.length; i++) bytes[i] = 1 + Math.floor(random() * 127)
      return bytes
    },
    pad: (bytes, rows, cols) => padRows(bytes, rows, cols, 64),
  },
  q4: { unit: Q4_BYTES, draw: drawBlocks, pad: padBlocks },
}

/** Blocks with one scale; a bf16 number is the upper half of an f32. */
function drawBlocks(spread: number, random: Random): Uint8Array {
  const bytes = new Uint8Array(Q4_BYTES * Math.floor(POOL_BYTES / Q4_BYTES))
  const [bits = 0] = new Uint32Array(Float32Array.of(spread / spreadOfIntegers(16)).buffer)
  const scales = new Uint8Array(new Uint16Array(Q4_ROWS).fill(bits >>> 16).buffer)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Math.floor(random() * 256)
  for (let end = Q4_BYTES; end <= bytes.length; end += Q4_BYTES) bytes.set(scales, end - scales.length)
  return bytes
}

/** Columns behind the last are weights 0, nibble 8; rows behind the last have scale 0; whole blocks are zeros. */
function padBlocks(bytes: Uint8Array, rows: number, cols: number): void {
  const across = Math.ceil(cols / Q4_COLS)
  const used = Math.ceil(rows / Q4_ROWS) * across * Q4_BYTES
  bytes.fill(0, used)
  for (let end = across * Q4_BYTES; cols % Q4_COLS > 0 && end <= used; end += across * Q4_BYTES)
    for (let column = cols % Q4_COLS; column < Q4_COLS; column++)
      for (let row = 0; row < Q4_ROWS / 2; row++)
        bytes[end - Q4_BYTES + (column >> 2) * 16 + row * 4 + (column & 3)] = 0x88
  const missing = (used / across / Q4_BYTES) * Q4_ROWS - rows
  for (let end = used; missing > 0 && end > used - across * Q4_BYTES; end -= Q4_BYTES)
    bytes.fill(0, end - 2 * missing, end)
}

/** Numbers in [0, 1) that a seed repeats (Marsaglia's xorshift32). */
function xorshift(seed: number): Random {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
