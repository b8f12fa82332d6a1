/**
 * Draws a token from logits that came from the device: assembly/sample.ts with the same arithmetic, number by number, so that
 * the same logits give the same token in every engine. f32 is Math.fround around each operation.
 */
import type { Sampling } from '../engine.ts'

/** Candidates (f32 logit, u32 id); a heap while they are sorted, the best first, the lower id first among equals. */
export interface Candidates {
  logits: Float32Array
  ids: Uint32Array
}

/** Where a row stands: the tokens that its penalty looks at, and all that its conversation had before it. */
export interface Drawn {
  sampling: Sampling
  /** Of the conversation, with tokens that the cache has no more. */
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

/** All of a row's logits as candidates, those of `latest` tokens penalised. */
export function candidatesOf(logits: Float32Array, latest: Iterable<number>, repeatPenalty: number): Candidates {
  const found = { logits: logits.slice(), ids: Uint32Array.from(logits, (_, i) => i) }
  const penalty = f32(repeatPenalty)
  if (penalty === 1) return found
  for (const id of latest) {
    const logit = logits[id] as number
    // From the logit itself, so a token that comes again is not penalised again.
    found.logits[id] = f32(logit > 0 ? logit / penalty : logit * penalty)
  }
  return found
}

/** The most likely one. */
export function bestOf({ logits, ids }: Candidates): number {
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
