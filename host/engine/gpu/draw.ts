/**
 * Draws a token from logits that came from the device: assembly/sample.ts with the same arithmetic, number by number, so that
 * the same logits give the same token in every engine. f32 is Math.fround around each operation.
 */
import { NO_TOKEN, type Row, type Sampling } from '../engine.ts'

/** Candidates (f32 logit, u32 id); a heap while they are sorted, the best first, the lower id first among equals. */
export interface Candidates {
  logits: Float32Array
  ids: Uint32Array
}

/** How a token is drawn. */
export interface Drawn {
  sampling: Sampling
  /** Of the row in its conversation, with tokens that the cache has no more. */
  position: number
}

const f32 = Math.fround
const LOG2E = f32(Math.LOG2E)
const LN2_HI = f32(0.693359375)
const LN2_LO = f32(-2.1219444e-4)
const POLYNOMIAL = [
  1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
].map(f32)
const MAGIC = 12582912
const LOWEST = f32(-87.33654)
const HIGHEST = f32(88.02969)

/** e^x of an f32, with the bits of assembly/kernels/exp.ts. */
export function exp1(value: number): number {
  const x = Math.min(Math.max(value, LOWEST), HIGHEST)
  const n = f32(f32(f32(x * LOG2E) + MAGIC) - MAGIC)
  const r = f32(f32(x - f32(n * LN2_HI)) - f32(n * LN2_LO))
  let p = POLYNOMIAL[0] as number
  for (const next of POLYNOMIAL.slice(1)) p = f32(f32(p * r) + next)
  const y = f32(f32(f32(f32(p * r) * r) + r) + 1)
  return f32(y * 2 ** n)
}

/** Has a row biases or penalties? All in f32, as the other engine has them. */
export function isAdjusted({ sampling, bias }: Row): boolean {
  const { repeatPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = sampling ?? {}
  return (
    (bias?.tokens.length ?? 0) > 0 ||
    f32(repeatPenalty) !== 1 ||
    f32(presencePenalty) !== 0 ||
    f32(frequencyPenalty) !== 0
  )
}

/** The limit of small temperatures, where 1 / temperature would overflow, is the most likely token. */
export const isGreedy = ({ temperature }: Sampling): boolean => f32(temperature) < 1e-30

/** Chooses a row's token from all of its logits, which are finite; `tokenAt`: of its conversation. NO_TOKEN if none is allowed. */
export function chooseToken(logits: Float32Array, row: Row, tokenAt: (position: number) => number): number {
  const { sampling, mask, position, dropped = 0 } = row
  if (!sampling) throw new RangeError('a row without sampling has no token')
  const adjusted = isAdjusted(row) ? adjust(logits, row, sampling, tokenAt) : logits.slice()
  const all: Candidates = { logits: adjusted, ids: Uint32Array.from(logits, (_, i) => i) }
  const candidates = mask ? keepAllowed(all, mask) : all
  if (candidates.ids.length === 0) return NO_TOKEN
  if (isGreedy(sampling)) return bestOf(candidates)
  return drawFrom(candidates, true, { sampling, position: dropped + position })
}

/**
 * Logits with biases and penalties: of CTRL (arXiv 1909.05858) once for each token among the last ones, then those of OpenAI
 * for tokens that were generated.
 */
function adjust(
  logits: Float32Array,
  { position, bias, generatedFrom = position + 1 }: Row,
  { repeatPenalty, repeatLastN, presencePenalty, frequencyPenalty }: Sampling,
  tokenAt: (position: number) => number,
): Float32Array<ArrayBuffer> {
  const adjusted = new Float32Array(logits)
  const [penalty, presence, frequency] = [f32(repeatPenalty), f32(presencePenalty), f32(frequencyPenalty)]
  for (const [i, id] of bias?.tokens.entries() ?? [])
    adjusted[id] = (adjusted[id] as number) + f32(bias?.values[i] as number)
  const end = position + 1
  const repeated = new Set<number>()
  if (penalty !== 1) for (let i = end - Math.min(end, repeatLastN); i < end; i++) repeated.add(tokenAt(i))
  const generated = new Map<number, number>()
  if (presence !== 0 || frequency !== 0)
    for (let i = Math.min(end, generatedFrom); i < end; i++)
      generated.set(tokenAt(i), (generated.get(tokenAt(i)) ?? 0) + 1)
  for (const id of new Set([...repeated, ...generated.keys()])) {
    let logit = adjusted[id] as number
    if (repeated.has(id)) logit = f32(logit > 0 ? logit / penalty : logit * penalty)
    const count = generated.get(id) ?? 0
    adjusted[id] = count === 0 ? logit : logit - f32(f32(count * frequency) + presence)
  }
  return adjusted
}

/** Candidates 0 … n−1 without those whose bit a mask has not, or that are behind its end. */
function keepAllowed({ logits, ids }: Candidates, mask: Uint32Array): Candidates {
  const kept = ids.filter((id) => ((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1)
  return { ids: kept, logits: Float32Array.from(kept, (id) => logits[id] as number) }
}

/** The most likely one. */
function bestOf({ logits, ids }: Candidates): number {
  let winner = 0
  for (let i = 1; i < logits.length; i++) if ((logits[i] as number) > (logits[winner] as number)) winner = i
  return ids[winner] as number
}

/** Chooses one of the candidates, which are all tokens, or the `topK` best of more: `isAll` false. Reorders them. */
export function drawFrom(candidates: Candidates, isAll: boolean, { sampling, position }: Drawn): number {
  const n = candidates.logits.length
  for (let i = n >> 1; i-- > 0; ) siftDown(candidates, n, i, logitAt(candidates, i), idAt(candidates, i))
  const kept = select(candidates, isAll, sampling)
  const peak = logitAt(candidates, n - 1)
  const inverse = f32(1 / f32(sampling.temperature))
  const weight = (k: number) => exp1(f32(f32(logitAt(candidates, n - 1 - k) - peak) * inverse))
  let total = 0
  for (let k = 0; k < kept; k++) total += weight(k)
  const goal = randomOf(sampling.seed, position) * total
  let sum = 0
  for (let k = 0; k < kept; k++) {
    sum += weight(k)
    if (sum > goal) return idAt(candidates, n - 1 - k)
  }
  return idAt(candidates, n - kept)
}

/**
 * Takes the best off the heap until top-k, top-p or min-p says stop, and returns how many. The heap shrinks from its end, so
 * they lie at n−1, n−2, … in falling order.
 */
function select(heap: Candidates, isAll: boolean, { topK, topP, minP }: Sampling): number {
  const n = heap.logits.length
  const [share, least] = [f32(topP), f32(minP)]
  const most = topK > 0 ? Math.min(topK, n) : n
  const peak = logitAt(heap, 0)
  const isPopped = share < 1 && (most < n || !isAll)
  let total = 0
  if (isPopped) {
    for (let k = 0; k < most; k++) {
      pop(heap, n - k)
      total += exp1(f32(logitAt(heap, n - 1 - k) - peak))
    }
  } else if (share < 1) for (let i = 0; i < n; i++) total += exp1(f32(logitAt(heap, i) - peak))
  let mass = 0
  let kept = 0
  while (kept < most) {
    if (!isPopped) pop(heap, n - kept)
    const weight = exp1(f32(logitAt(heap, n - 1 - kept) - peak))
    if (kept > 0 && weight < least) break
    kept++
    mass += weight
    if (share < 1 && mass >= share * total) break
  }
  return kept
}

/** Uniform in [0, 1): SplitMix64, for a seed its n-th output. */
function randomOf(seed: number, position: number): number {
  const mix = (z: bigint) => BigInt.asUintN(64, z)
  let z = mix(BigInt(seed) + (BigInt(position) + 1n) * 0x9e3779b97f4a7c15n)
  z = mix((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
  z = mix((z ^ (z >> 27n)) * 0x94d049bb133111ebn)
  z ^= z >> 31n
  return Number(z >> 11n) / 9007199254740992
}

const logitAt = ({ logits }: Candidates, i: number) => logits[i] as number
const idAt = ({ ids }: Candidates, i: number) => ids[i] as number

function put({ logits, ids }: Candidates, i: number, logit: number, id: number): void {
  logits[i] = logit
  ids[i] = id
}

/** Is candidate (logit, id) before the one at i? */
function isBefore(logit: number, id: number, list: Candidates, i: number): boolean {
  const other = logitAt(list, i)
  return logit > other || (logit === other && id < idAt(list, i))
}

/** Moves the best of the first n to place n − 1. */
function pop(heap: Candidates, n: number): void {
  const last = n - 1
  const [logit, id] = [logitAt(heap, last), idAt(heap, last)]
  put(heap, last, logitAt(heap, 0), idAt(heap, 0))
  if (last > 0) siftDown(heap, last, 0, logit, id)
}

/** Puts (logit, id) into the hole at `at` of a heap of n. */
function siftDown(heap: Candidates, n: number, at: number, logit: number, id: number): void {
  let i = at
  for (;;) {
    let child = 2 * i + 1
    if (child >= n) break
    if (child + 1 < n && isBefore(logitAt(heap, child + 1), idAt(heap, child + 1), heap, child)) child++
    if (isBefore(logit, id, heap, child)) break
    put(heap, i, logitAt(heap, child), idAt(heap, child))
    i = child
  }
  put(heap, i, logit, id)
}
