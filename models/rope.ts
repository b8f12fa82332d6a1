/**
 * RoPE frequencies (SPEC §1): inv_i = theta^(−2i/r), with the scalings that only change the frequencies. They are
 * computed once, at conversion, and lie in the packed file, by arithmetic that is the same everywhere, so no platform's `Math.pow` is between two tokens.
 */
import { ln, power } from './arithmetic.ts'
import type { Rope } from './attention.ts'

/** Radians per position for each of the `dim / 2` pairs. */
export function invFreq(rope: Rope): Float64Array {
  const { dim, theta } = rope
  const scale = rope.scaling?.type === 'yarn' ? yarn(rope, rope.scaling) : scaled
  return Float64Array.from({ length: dim / 2 }, (_, i) => scale(rope, power(theta, (-2 * i) / dim), i))
}

function scaled(rope: Rope, frequency: number, pair: number): number {
  const { scaling } = rope
  if (!scaling || scaling.type === 'yarn') return frequency
  if (scaling.type === 'linear') return frequency / scaling.factor
  if (scaling.type === 'longrope') return frequency / (scaling.factors[pair] as number)
  // transformers, modeling_rope_utils.py, _compute_llama3_parameters
  const { factor, lowFreqFactor, highFreqFactor, originalContext } = scaling
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength < originalContext / highFreqFactor) return frequency
  if (wavelength > originalContext / lowFreqFactor) return frequency / factor
  const smooth = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}

/** Slow pairs are interpolated, fast ones stay, with a ramp between: transformers, _compute_yarn_parameters. */
function yarn({ dim, theta }: Rope, scaling: Extract<Rope['scaling'], { type: 'yarn' }>) {
  const { factor, betaFast, betaSlow, isTruncated, originalContext } = scaling
  const pairOf = (rotations: number) => (dim * ln(originalContext / (rotations * 2 * Math.PI))) / (2 * ln(theta))
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)]
  const low = Math.max(isTruncated ? Math.floor(first) : first, 0)
  const high = Math.min(isTruncated ? Math.ceil(last) : last, dim - 1)
  const width = high === low ? 0.001 : high - low
  return (_: Rope, frequency: number, pair: number) => {
    const ramp = Math.min(1, Math.max(0, (pair - low) / width))
    return (frequency / factor) * ramp + frequency * (1 - ramp)
  }
}
