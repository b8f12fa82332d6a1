/** The golden models of test/golden and what their references say. See test/README.md for where they come from. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { AttentionSpec, ModelSpec, Rope } from '../models/index.ts'

/** Path of a file or folder in test/golden. */
export const golden = (name: string) => fileURLToPath(new URL(`golden/${name}`, import.meta.url))

export const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

/** A little-endian f32 file. */
export function readFloats(path: string): Float32Array {
  return new Float32Array(new Uint8Array(readFileSync(path)).buffer)
}

/** Largest absolute difference; NaN if there is one. */
export function worst(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let result = 0
  for (let i = 0; i < b.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number))
    if (!(difference <= result)) result = difference
  }
  return result
}

export interface GoldenCase {
  prompt_ids: number[]
  prefill_logits_last: number[]
  greedy_ids: number[]
  logits_after_8: number[]
}

export interface Golden {
  layer0_attention: { input: number[][]; output: number[][] }
  cases: GoldenCase[]
}

/** Two-layer models with random f32 weights, one per attention kind; results of a float64 reference. */
export const kinds = [
  'mha',
  'mqa',
  'gqa',
  'gva',
  'gha',
  'gha-block',
  'gta',
  'gta-e1',
  'gta-multi',
  'tied',
  'mla',
  'mla-qlora',
  'gla',
] as const
export const readGolden = (kind: string): Golden => readJson(golden(`${kind}/golden.json`))

/** The attention of a model's first layer. */
export function attentionOf({ layers }: ModelSpec): AttentionSpec {
  const mixer = layers[0]?.mixer
  if (mixer?.is !== 'attention') throw new Error('the first layer has no attention')
  return mixer
}

/** How the first layer rotates. */
export function ropeOf(spec: ModelSpec): Rope {
  const { rope } = attentionOf(spec)
  if (!rope) throw new Error('the first layer does not rotate')
  return rope
}
