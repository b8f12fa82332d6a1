/**
 * Mixers that keep a state, written down in f64 over whole texts: every output from all inputs before it, no state that goes from
 * one token to the next but the matrix of the delta rule. Nothing of models/.
 */
import { activations, at, join, part, type Rows, rmsNorm } from './reference.ts'

/** y[t] = bias + Σ w[tap] x[t − taps + 1 + tap] of each channel; w(tap, channel). */
export function causalConvolution(
  x: Rows,
  taps: number,
  w: (tap: number, channel: number) => number,
  bias: (channel: number) => number = () => 0,
): Rows {
  return x.map((row, t) =>
    row.map((_, channel) => {
      let sum = bias(channel)
      for (let tap = 0; tap < taps; tap++) sum += w(tap, channel) * (at(x[t - taps + 1 + tap], channel) || 0)
      return sum
    }),
  )
}

/** C ⊙ conv(B ⊙ x) of projected rows [B | C | x]. */
export function shortConvolution(projected: Rows, convolve: (x: Rows) => Rows): Rows {
  const channels = (projected[0]?.length ?? 0) / 3
  const [b, c, x] = [0, 1, 2].map((i) => part(projected, i * channels, channels)) as [Rows, Rows, Rows]
  const convolved = convolve(b.map((row, t) => row.map((value, i) => value * at(x[t], i))))
  return c.map((row, t) => row.map((value, i) => value * at(convolved[t], i)))
}

export interface DeltaHeads {
  keyHeads: number
  keyDim: number
  valueHeads: number
  valueDim: number
  /** The key head of a value head. */
  keyHeadOf(head: number): number
  eps: number
  /** ln of how fast each head fades; the weight of the norm. */
  decay: ArrayLike<number>
  norm: ArrayLike<number>
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const unit = (x: Float64Array) => {
  const length = Math.sqrt(x.reduce((sum, value) => sum + value * value, 0) + 1e-6)
  return x.map((value) => value / length)
}

/** Of qkv behind its convolution and silu, of z, and of b and a, whose bias is added already. */
export function deltaNet(is: DeltaHeads, qkv: Rows, z: Rows, b: Rows, a: Rows): Rows {
  const { keyHeads, keyDim, valueHeads, valueDim } = is
  const heads = Array.from({ length: valueHeads }, (_, head) => {
    const keyHead = is.keyHeadOf(head)
    const q = part(qkv, keyHead * keyDim, keyDim)
    const k = part(qkv, (keyHeads + keyHead) * keyDim, keyDim)
    const v = part(qkv, 2 * keyHeads * keyDim + head * valueDim, valueDim)
    const state = Array.from({ length: keyDim }, () => new Float64Array(valueDim))
    return v.map((value, t) => {
      const keep = Math.exp(-Math.exp(at(is.decay, head)) * Math.log1p(Math.exp(at(a[t], head))))
      const [key, query] = [unit(k[t] as Float64Array), unit(q[t] as Float64Array)]
      for (const row of state) for (let i = 0; i < valueDim; i++) row[i] = at(row, i) * keep
      const known = value.map((_, i) => state.reduce((sum, row, j) => sum + at(row, i) * at(key, j), 0))
      const beta = sigmoid(at(b[t], head))
      for (const [j, row] of state.entries())
        for (let i = 0; i < valueDim; i++) row[i] = at(row, i) + at(key, j) * beta * (at(value, i) - at(known, i))
      const out = value.map((_, i) => state.reduce((sum, row, j) => sum + at(row, i) * at(query, j), 0) / keyDim ** 0.5)
      const gate = (z[t] as Float64Array).subarray(head * valueDim, (head + 1) * valueDim)
      return rmsNorm(out, is.norm, is.eps).map((x, i) => x * activations.silu(at(gate, i)))
    })
  })
  return join(heads)
}
