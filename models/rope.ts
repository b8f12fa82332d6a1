/**
 * RoPE frequencies (SPEC §1): inv_i = theta^(−2i/r), with the scalings that only change the frequencies. They are
 * computed once, at conversion, and lie in the packed file, so no platform's `Math.pow` is between two tokens.
 */
import type { Rope } from './spec.ts'

/** Radians per position for each of the `ropeDim / 2` pairs. */
export function invFreq(rope: Rope, ropeDim: number): Float64Array {
  return Float64Array.from({ length: ropeDim / 2 }, (_, i) => scaled(rope, rope.theta ** ((-2 * i) / ropeDim)))
}

function scaled(rope: Rope, frequency: number): number {
  const { scaling } = rope
  if (!scaling) return frequency
  if (scaling.type === 'linear') return frequency / scaling.factor
  // transformers, modeling_rope_utils.py, _compute_llama3_parameters
  const { factor, lowFreqFactor, highFreqFactor, originalContext } = scaling
  const wavelength = (2 * Math.PI) / frequency
  if (wavelength < originalContext / highFreqFactor) return frequency
  if (wavelength > originalContext / lowFreqFactor) return frequency / factor
  const smooth = (originalContext / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}
