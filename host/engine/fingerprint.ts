/** What the contents of cache pages depend on besides the tokens, as one number: pages of another one are of no use. */
import { platform } from '#platform'
import { type CacheType, PAGE_TOKENS, type Plan } from '../../models/index.ts'

/**
 * Changes with what the cache holds for the same tokens: then pages of another version are of no use. 2: an int8 cache keeps
 * large biases of keys apart, which can be only where there are biases.
 */
const cacheVersion = (plan: Plan, cache: CacheType) =>
  cache === 'int8' && plan.tensors.some(({ name }) => name.endsWith('.in_bias')) ? 2 : 1
/** Bytes of each of the sixteen pieces that are sampled of a large tensor. */
const SAMPLE_BYTES = 1024

/** A part of the packed tensors. */
export interface WeightRange {
  offset: number
  bytes: number
}

/**
 * Of each tensor what tells it from another one; all of the small ones, among them the frequencies of RoPE. `read` gives the
 * bytes of some ranges one behind the other, of no more than `most` bytes in all. Every engine has the same one, as pages are
 * laid out alike: where another one rounded, a conversation goes on with its rounding.
 */
export async function fingerprint(
  plan: Plan,
  cache: CacheType,
  {
    most,
    read,
  }: {
    most: number
    read: (ranges: readonly WeightRange[], use: (bytes: Uint8Array) => void) => Promise<void>
  },
): Promise<string> {
  const hash = platform.createHash().update(`gta-edge cache ${cacheVersion(plan, cache)} ${PAGE_TOKENS} ${cache}`)
  const ranges = plan.tensors.flatMap(({ offset, bytes }) => {
    const pieces = bytes <= 16 * SAMPLE_BYTES ? 1 : 16
    const size = pieces === 1 ? bytes : SAMPLE_BYTES
    const from = (i: number) => Math.floor((i * (bytes - size)) / Math.max(1, pieces - 1))
    return Array.from({ length: pieces }, (_, i) => ({ offset: offset + from(i), bytes: size }))
  })
  // None is longer than 16 samples.
  const count = Math.floor(most / (16 * SAMPLE_BYTES))
  for (let i = 0; i < ranges.length; i += count) await read(ranges.slice(i, i + count), (bytes) => hash.update(bytes))
  return hash.digest('hex')
}
