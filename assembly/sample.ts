/**
 * Chooses the next token from logits, in the order of llama.cpp's default chain: repetition penalty, top-k, top-p,
 * min-p, temperature. All arithmetic is the engine's own, and the random number is a function of (seed, position), so a
 * seed gives the same text on every platform, and a rewound conversation repeats itself.
 *
 * Candidates are (f32 logit, u32 id), ordered by logit, the lower id first among equals.
 */
import { NO_TOKEN, Plan, Row } from './abi'
import { arena, mine } from './arena'
import { tokenAt } from './cache'
import { exp1 } from './kernels/exp'
import { maxLanes } from './kernels/lanes'

/** The sampled token; NO_TOKEN if a logit is not finite. `logits` stays as it is. */
export function sample(plan: Plan, row: Row, logits: usize): u32 {
  const n = plan.vocabSize
  if (!isFinite4(logits, n)) return NO_TOKEN
  // The limit of small temperatures, where 1 / temperature would overflow, is the most likely token.
  const isGreedy = row.temperature < 1e-30
  if (isGreedy && row.repeatPenalty == 1) return best4(logits, n)
  const candidates = mine(arena().candidates)
  for (let i: u32 = 0; i < n; i++) put(candidates, i, load<f32>(logits + (i << 2)), i)
  if (row.repeatPenalty != 1) penalise(row, logits, candidates)
  if (isGreedy) return best(candidates, n)

  heapify(candidates, n)
  const kept = select(row, candidates, n)
  return draw(row, candidates, n, kept)
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

/** The penalty of CTRL (arXiv 1909.05858) once per token, over the last tokens of the conversation up to this row. */
function penalise(row: Row, logits: usize, candidates: usize): void {
  const end = row.position + 1
  const first = end - min(end, row.penaltyWindow)
  for (let i = first; i < end; i++) {
    const id = load<u32>(tokenAt(row.conversation, i))
    const logit = load<f32>(logits + (id << 2))
    // From the logit itself, so a token that comes again is not penalised again.
    put(candidates, id, logit > 0 ? logit / row.repeatPenalty : logit * row.repeatPenalty, id)
  }
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

/** The same of candidates. */
function best(candidates: usize, n: u32): u32 {
  let winner: u32 = 0
  for (let i: u32 = 1; i < n; i++) if (logitAt(candidates, i) > logitAt(candidates, winner)) winner = i
  return winner
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
