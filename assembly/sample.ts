/**
 * Chooses the next token from logits, in the order of llama.cpp's default chain: biases, penalties, top-k, top-p, min-p,
 * temperature. What the mask does not allow is no candidate. All arithmetic is the engine's own, and the random number is a function of (seed, position), so a
 * seed gives the same text on every platform, and a rewound conversation repeats itself.
 *
 * Candidates are (f32 logit, u32 id), ordered by logit, the lower id first among equals.
 */
import { NO_TOKEN, Plan, Row } from './abi'
import { arena, biasAt, maskOf, mine } from './arena'
import { tokenAt } from './cache'
import { exp1 } from './kernels/exp'
import { maxLanes } from './kernels/lanes'

/** The sampled token; NO_TOKEN if a logit is not finite, or none is allowed. `logits` stays as it is. */
export function sample(plan: Plan, row: Row, logits: usize): u32 {
  const n = plan.vocabSize
  if (!isFinite4(logits, n)) return NO_TOKEN
  const mask = row.isMasked ? maskOf(plan, row) : 0
  // The limit of small temperatures, where 1 / temperature would overflow, is the most likely token.
  const isGreedy = row.temperature < 1e-30
  const isAdjusted = row.biases > 0 || row.repeatPenalty != 1 || row.presencePenalty != 0 || row.frequencyPenalty != 0
  if (isGreedy && !isAdjusted) return mask ? bestAllowed4(logits, mask, n) : best4(logits, n)
  const candidates = mine(arena().candidates)
  if (isAdjusted) adjust(row, logits, candidates, n)
  else if (!mask) for (let i: u32 = 0; i < n; i++) put(candidates, i, load<f32>(logits + (i << 2)), i)
  let count = n
  if (mask) count = isAdjusted ? keepAllowed(candidates, mask, n) : takeAllowed(logits, candidates, mask, n)
  if (!count) return NO_TOKEN
  if (isGreedy) return best(candidates, count)

  heapify(candidates, count)
  const kept = select(row, candidates, count)
  return draw(row, candidates, count, kept)
}

/** x − x is 0 for finite x only. */
function isFinite4(logits: usize, n: u32): bool {
  let bad = f32x4.splat(0)
  const full = n & ~3
  for (let i: u32 = 0; i < full; i += 4) {
    const v = v128.load(logits + (i << 2))
    bad = v128.or(bad, f32x4.ne(f32x4.sub(v, v), f32x4.splat(0)))
  }
  for (let i = full; i < n; i++) {
    const v = load<f32>(logits + (i << 2))
    if (v - v != 0) return false
  }
  return !v128.any_true(bad)
}

/** Bit of a mark: the token is among those that the repetition penalty looks at. The others count how often it was generated. */
const REPEATED: u32 = 0x8000_0000

/**
 * Candidates 0 … n−1 with biases and penalties: of CTRL (arXiv 1909.05858) once for each token among the last ones, then
 * those of OpenAI for tokens that were generated. Meanwhile marks take the place of the ids, which are the indices.
 */
function adjust(row: Row, logits: usize, candidates: usize, n: u32): void {
  for (let i: u32 = 0; i < n; i++) put(candidates, i, load<f32>(logits + (i << 2)), 0)
  for (let i: u32 = 0; i < row.biases; i++) {
    const bias = biasAt(row, i)
    assert(bias.token < n)
    put(candidates, bias.token, logitAt(candidates, bias.token) + bias.value, 0)
  }
  const end = row.position + 1
  const repeated = row.repeatPenalty != 1 ? end - min(end, row.penaltyWindow) : end
  const isCounted = row.presencePenalty != 0 || row.frequencyPenalty != 0
  const generated = isCounted ? min(end, row.generatedFrom) : end
  for (let i = repeated; i < end; i++) {
    const id = load<u32>(tokenAt(row.conversation, i))
    put(candidates, id, logitAt(candidates, id), REPEATED)
  }
  for (let i = generated; i < end; i++) {
    const id = load<u32>(tokenAt(row.conversation, i))
    put(candidates, id, logitAt(candidates, id), idAt(candidates, id) + 1)
  }
  for (let i = min(repeated, generated); i < end; i++)
    penalise(row, candidates, load<u32>(tokenAt(row.conversation, i)))
  for (let i: u32 = 0; i < n; i++) put(candidates, i, logitAt(candidates, i), i)
}

/** Once for each token: its mark is taken away. */
function penalise(row: Row, candidates: usize, id: u32): void {
  const mark = idAt(candidates, id)
  let logit = logitAt(candidates, id)
  if (mark & REPEATED) logit = logit > 0 ? logit / row.repeatPenalty : logit * row.repeatPenalty
  const count = mark & ~REPEATED
  if (count) logit -= (count as f32) * row.frequencyPenalty + row.presencePenalty
  put(candidates, id, logit, 0)
}

/** The word of a mask with the bits of tokens from `first` on; those behind the n-th are not set. */
function allowedAt(mask: usize, first: u32, n: u32): u32 {
  const word = load<u32>(mask + ((first >> 5) << 2))
  return n - first < 32 ? word & ((1 << (n - first)) - 1) : word
}

/** Makes what is allowed a list of candidates; returns how many. */
function takeAllowed(logits: usize, candidates: usize, mask: usize, n: u32): u32 {
  let count: u32 = 0
  for (let first: u32 = 0; first < n; first += 32) {
    let word = allowedAt(mask, first, n)
    // Whatever is not allowed is overwritten by what comes next: no branch that would be guessed wrong.
    for (let id = first; word; id++) {
      put(candidates, count, load<f32>(logits + (id << 2)), id)
      count += word & 1
      word >>= 1
    }
  }
  return count
}

/** Takes from candidates 0 … n−1 what is not allowed; returns how many are left. */
function keepAllowed(candidates: usize, mask: usize, n: u32): u32 {
  let count: u32 = 0
  for (let first: u32 = 0; first < n; first += 32)
    for (let word = allowedAt(mask, first, n); word; word &= word - 1) {
      const id = first + ctz(word)
      put(candidates, count++, logitAt(candidates, id), id)
    }
  return count
}

/** Index of the largest of n finite logits; the lowest among equals. */
function best4(logits: usize, n: u32): u32 {
  let peak = load<f32>(logits)
  const full = n & ~3
  let peaks = f32x4.splat(peak)
  for (let i: u32 = 0; i < full; i += 4) peaks = f32x4.max(peaks, v128.load(logits + (i << 2)))
  peak = maxLanes(peaks)
  for (let i = full; i < n; i++) peak = max(peak, load<f32>(logits + (i << 2)))
  peaks = f32x4.splat(peak)
  for (let i: u32 = 0; i < full; i += 4) {
    const hits = i32x4.bitmask(f32x4.eq(v128.load(logits + (i << 2)), peaks))
    if (hits) return i + ctz(hits)
  }
  for (let i = full; i < n; i++) if (load<f32>(logits + (i << 2)) == peak) return i
  return 0
}

/** The same among what a mask allows; NO_TOKEN if that is nothing. Word by word of the mask: of most of them nothing has to be looked at. */
function bestAllowed4(logits: usize, mask: usize, n: u32): u32 {
  let winner = NO_TOKEN
  let peak: f32 = -Infinity
  for (let first: u32 = 0; first < n; first += 32) {
    const word = allowedAt(mask, first, n)
    if (!word) continue
    const at = logits + (first << 2)
    // Is there anything better at all, allowed or not?
    if (popcnt(word) > 4 && n - first >= 32 && peakOf32(at) <= peak) continue
    for (let rest = word; rest; rest &= rest - 1) {
      const i = ctz(rest)
      const logit = load<f32>(at + (i << 2))
      if (logit <= peak) continue
      peak = logit
      winner = first + i
    }
  }
  return winner
}

/** The largest of 32 numbers. */
function peakOf32(at: usize): f32 {
  const a = f32x4.max(f32x4.max(v128.load(at), v128.load(at, 16)), f32x4.max(v128.load(at, 32), v128.load(at, 48)))
  const b = f32x4.max(f32x4.max(v128.load(at, 64), v128.load(at, 80)), f32x4.max(v128.load(at, 96), v128.load(at, 112)))
  return maxLanes(f32x4.max(a, b))
}

/** Of n candidates in the order of their ids. */
function best(candidates: usize, n: u32): u32 {
  let winner: u32 = 0
  for (let i: u32 = 1; i < n; i++) if (logitAt(candidates, i) > logitAt(candidates, winner)) winner = i
  return idAt(candidates, winner)
}

/**
 * Takes the best candidates off the heap until top-k, top-p or min-p says stop, and returns how many. The heap shrinks
 * from its end, so they lie at n−1, n−2, … in falling order.
 */
function select(row: Row, heap: usize, n: u32): u32 {
  const most = row.topK > 0 ? min(row.topK, n) : n
  const peak = logitAt(heap, 0)
  let total: f64 = 0 // of the candidates that top-k leaves
  if (row.topP < 1) {
    if (most == n) for (let i: u32 = 0; i < n; i++) total += exp1(logitAt(heap, i) - peak) as f64
    else {
      for (let k: u32 = 0; k < most; k++) {
        pop(heap, n - k)
        total += exp1(logitAt(heap, n - 1 - k) - peak) as f64
      }
    }
  }
  const isPopped = row.topP < 1 && most < n
  let mass: f64 = 0
  let kept: u32 = 0
  while (kept < most) {
    if (!isPopped) pop(heap, n - kept)
    const weight = exp1(logitAt(heap, n - 1 - kept) - peak)
    if (kept > 0 && weight < row.minP) break
    kept++
    mass += weight as f64
    if (row.topP < 1 && mass >= (row.topP as f64) * total) break
  }
  return kept
}

/** Draws one of the `kept` best at the row's temperature. */
function draw(row: Row, heap: usize, n: u32, kept: u32): u32 {
  const peak = logitAt(heap, n - 1)
  const inverse: f32 = (1 as f32) / row.temperature
  let total: f64 = 0
  for (let k: u32 = 0; k < kept; k++) total += exp1((logitAt(heap, n - 1 - k) - peak) * inverse) as f64
  const goal = random(row) * total
  let sum: f64 = 0
  for (let k: u32 = 0; k < kept; k++) {
    sum += exp1((logitAt(heap, n - 1 - k) - peak) * inverse) as f64
    if (sum > goal) return idAt(heap, n - 1 - k)
  }
  return idAt(heap, n - kept)
}

/** Uniform in [0, 1): SplitMix64 (Steele, Lea, Flood 2014), for a row's seed its n-th output, n counting all tokens of the conversation. */
function random(row: Row): f64 {
  const seed = ((row.seedHigh as u64) << 32) | (row.seedLow as u64)
  let z = seed + (((row.dropped + row.position) as u64) + 1) * 0x9e3779b97f4a7c15
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb
  z = z ^ (z >> 31)
  return ((z >> 11) as f64) * (1.0 / 9007199254740992.0)
}

function logitAt(list: usize, i: u32): f32 {
  return load<f32>(list + (i << 3))
}
function idAt(list: usize, i: u32): u32 {
  return load<u32>(list + (i << 3), 4)
}
function put(list: usize, i: u32, logit: f32, id: u32): void {
  store<f32>(list + (i << 3), logit)
  store<u32>(list + (i << 3), id, 4)
}

/** Is candidate (logit, id) before the one at i? */
function isBefore(logit: f32, id: u32, list: usize, i: u32): bool {
  const other = logitAt(list, i)
  return logit > other || (logit == other && id < idAt(list, i))
}

function heapify(heap: usize, n: u32): void {
  for (let i = n >> 1; i-- > 0; ) siftDown(heap, n, i, logitAt(heap, i), idAt(heap, i))
}

/** Moves the best of the first n to place n − 1. */
function pop(heap: usize, n: u32): void {
  const last = n - 1
  const logit = logitAt(heap, last)
  const id = idAt(heap, last)
  put(heap, last, logitAt(heap, 0), idAt(heap, 0))
  if (last > 0) siftDown(heap, last, 0, logit, id)
}

/** Puts (logit, id) into the hole at i of a heap of n. */
function siftDown(heap: usize, n: u32, i: u32, logit: f32, id: u32): void {
  for (;;) {
    let child: u32 = 2 * i + 1
    if (child >= n) break
    if (child + 1 < n && isBefore(logitAt(heap, child + 1), idAt(heap, child + 1), heap, child)) child++
    if (isBefore(logit, id, heap, child)) break
    put(heap, i, logitAt(heap, child), idAt(heap, child))
    i = child
  }
  put(heap, i, logit, id)
}
