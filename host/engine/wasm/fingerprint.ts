/** What the contents of cache pages depend on besides the tokens, as one number: pages of another one are of no use. */
import { platform } from '#platform'
import { type CacheType, PAGE_TOKENS, type Plan } from '../../../models/index.ts'

/** Changes with what the cache holds for the same tokens: then pages of another version are of no use. */
const CACHE_VERSION = 1
/** Bytes of each of the sixteen pieces that are sampled of a large tensor. */
const SAMPLE_BYTES = 1024

/** Of each tensor what tells it from another one; all of the small ones, among them the frequencies of RoPE. */
export function fingerprint(weights: Uint8Array, plan: Plan, cache: CacheType): string {
  const hash = platform.createHash().update(`gta-edge cache ${CACHE_VERSION} ${PAGE_TOKENS} ${cache}`)
  for (const { offset, bytes } of plan.tensors) {
    const tensor = weights.subarray(offset, offset + bytes)
    const pieces = bytes <= 16 * SAMPLE_BYTES ? 1 : 16
    const size = pieces === 1 ? bytes : SAMPLE_BYTES
    for (let i = 0; i < pieces; i++) {
      const from = Math.floor((i * (bytes - size)) / Math.max(1, pieces - 1))
      hash.update(tensor.subarray(from, from + size))
    }
  }
  return hash.digest('hex')
}
