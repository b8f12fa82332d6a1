/**
 * Weights for any config without a checkpoint, for benchmarks: every size can be timed, and every run of every machine
 * has the same bytes. They are random numbers with a spread that keeps activations of order 1, so nothing overflows and
 * attention looks at many tokens. What such a model writes means nothing.
 *
 * A gigabyte must not take long, and drawing each number would: a few MB are drawn once per kind of matrix and copied
 * from ever other places.
 */
import {
  derivedBytes,
  type ModelDescription,
  type PackedTensor,
  type Plan,
  type WeightType,
} from '../../models/index.ts'

type Matrix = Extract<PackedTensor['content'], { is: 'matrix' }>

/** Bytes drawn; a copy takes at most half of them, so that there is a choice of places. */
const POOL_BYTES = 2 ** 22

/** Standard deviation of whole numbers that are equally likely from −63 to 63. */
const Q8_SPREAD = Math.sqrt((127 ** 2 - 1) / 12)

/** Writes all packed tensors of a plan. */
export function fillSynthetic({ spec }: ModelDescription, plan: Plan, target: Uint8Array): void {
  const filler = new Filler(spec.nLayers)
  for (const tensor of plan.tensors) {
    const bytes = target.subarray(tensor.offset, tensor.offset + tensor.bytes)
    const { content } = tensor
    const derived = derivedBytes(plan, spec, tensor)
    if (derived) bytes.set(derived)
    else if (content.is === 'vector') filler.vector(tensor, floatsOf(bytes))
    else if (content.is === 'matrix') {
      filler.matrix(tensor, content, bytes)
      // Scales come with their matrix.
      const { scales } = content
      if (scales)
        floatsOf(target.subarray(scales.offset, scales.offset + scales.bytes)).fill(
          filler.spread(tensor, content) / Q8_SPREAD,
        )
    }
  }
}

function floatsOf(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
}

class Filler {
  private readonly pools = new Map<string, Uint8Array>()
  private readonly random = xorshift(1)
  private readonly nLayers: number

  constructor(nLayers: number) {
    this.nLayers = nLayers
  }

  /** Standard deviation of a matrix's weights: outputs as large as inputs; sums over all layers stay small. */
  spread({ name }: PackedTensor, { cols }: Matrix): number {
    const isAdded = name.endsWith('.out') || name.endsWith('.down')
    return 1 / Math.sqrt(isAdded ? cols * 2 * this.nLayers : cols)
  }

  /** Norms are ones, biases small; padding is zeros. */
  vector({ name, content }: PackedTensor, floats: Float32Array): void {
    const sources = content.is === 'vector' ? content.sources : []
    const length = sources.reduce((sum, { rows, shape }) => sum + (rows?.length ?? shape[0] ?? 0), 0)
    const isNorm = name.endsWith('norm')
    floats.fill(0)
    for (let i = 0; i < length; i++) floats[i] = isNorm ? 1 : (this.random() - 0.5) / 5
  }

  matrix(tensor: PackedTensor, content: Matrix, bytes: Uint8Array): void {
    const { type, rows, cols } = content
    const { unit, draw, padding } = formats[type]
    const spread = this.spread(tensor, content)
    const key = `${type} ${spread}`
    const pool = this.pools.get(key) ?? draw(POOL_BYTES, spread, this.random)
    this.pools.set(key, pool)
    for (let at = 0; at < bytes.length; ) {
      const length = Math.min(bytes.length - at, pool.length / 2)
      const from = unit * Math.floor((this.random() * (pool.length - length)) / unit)
      bytes.set(pool.subarray(from, from + length), at)
      at += length
    }
    const width = cols * unit
    const stride = bytes.length / rows
    if (width < stride)
      for (let row = 0; row < rows; row++) bytes.fill(padding, row * stride + width, (row + 1) * stride)
  }
}

interface Format {
  /** Bytes that belong together. */
  unit: number
  padding: number
  draw(bytes: number, spread: number, random: () => number): Uint8Array
}

const formats: Record<WeightType, Format> = {
  f32: {
    unit: 4,
    padding: 0,
    draw: (bytes, spread, random) => {
      // Equally likely in ±√3 spreads: that has the standard deviation.
      const floats = Float32Array.from({ length: bytes / 4 }, () => (random() * 2 - 1) * Math.sqrt(3) * spread)
      return new Uint8Array(floats.buffer)
    },
  },
  q8: {
    unit: 1,
    padding: 64,
    draw: (bytes, _, random) => Uint8Array.from({ length: bytes }, () => 1 + Math.floor(random() * 127)),
  },
}

/** Numbers in [0, 1) that a seed repeats (Marsaglia's xorshift32). */
function xorshift(seed: number): () => number {
  let state = seed
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
