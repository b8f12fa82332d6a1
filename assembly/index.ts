/**
 * What hosts call; the records that they share with the engine are in abi.ts. The host owns the memory and the page tables; it calls `layout()` once, loads weights, writes rows,
 * and calls `step()`. Nothing here knows files, text or JSON.
 */
import { HASH, LayoutRequest, PAGE_TOKENS, PLAN_VERSION, PLAN_WALK, Plan, WEIGHTS } from './abi'
import { arena, layoutArena, pagesOf } from './arena'
import { turnBlock } from './cache'
import { areWeightsNarrow } from './check'
import { forward } from './forward'
import { rank } from './host'
import { writeConstants } from './kernels/constants'
import { SHA256_SCRATCH, sha256Prefix } from './kernels/sha256'
import { kindAt, pageKindAt } from './plan'
import { checkPlan } from './plan-check'
import { Walk } from './plan-tensors'
import { setProfile, times } from './profile'
import { hiddenStride, layerStride, logitsStride, streamStride } from './sizes'
import { barrier, poison, setRanks, spanStart } from './team'

/** Version of the plan words that this engine executes. */
export function planVersion(): u32 {
  return PLAN_VERSION
}

/** Tokens per page of the KV cache. */
export function pageTokens(): u32 {
  return PAGE_TOKENS
}

/**
 * Lays out everything but the weights, as the LayoutRequest at `request` asks for. Returns the first address behind it as a
 * number that does not wrap: when it exceeds the memory, grow the memory before `step()`. A plan that could not be executed
 * is refused: then it is negative, −PLAN_BAD_…. Writes to addresses below 4096 only.
 */
export function layout(request: usize): f64 {
  const r = changetype<LayoutRequest>(request)
  const walk = changetype<Walk>(PLAN_WALK)
  const here = ((memory.size() as u64) << 16) - r.plan
  const bad = checkPlan(changetype<Plan>(r.plan as usize), here, r.weights, walk)
  if (bad) return -(bad as f64)
  writeConstants()
  setRanks(1)
  return layoutArena(r)
}

/** Address of Row[maxRows]. */
export function rows(): usize {
  return arena().rows
}

/** Address of u32 (conversations, tableBlocks): the blocks of each conversation, in order. */
export function tables(): usize {
  return arena().tables
}

/** Address of u32 (page kinds, blocks): where the pages of each block lie. See cache.ts. */
export function places(): usize {
  return arena().places
}

/** Address of u32 (blocks, PAGE_TOKENS): the token of each row of the cache; the engine writes it. */
export function history(): usize {
  return arena().history
}

/** Address of the pages in memory, of one page kind. */
export function cache(pageKind: u32): usize {
  return pagesOf(pageKind).at
}

/** Bytes of a page of one page kind. */
export function pageBytes(pageKind: u32): usize {
  return pagesOf(pageKind).stride
}

/** Bytes of one layer of a page, of the first page kind. */
export function layerBytes(): usize {
  const a = arena()
  const plan = changetype<Plan>(a.plan)
  return layerStride(kindAt(plan, pageKindAt(plan, 0).kind), a.isCacheInt8)
}

/** Writes block `target` with what block `source` holds, its keys rotated on by `delta` positions. By all ranks, as `step`. */
export function turn(source: u32, target: u32, delta: u32): void {
  turnBlock(changetype<Plan>(arena().plan), source, target, delta)
  barrier()
}

/** Address of two layers, u8 (2, streamPages, streamBytes), where pages from a file are read to. */
export function stream(): usize {
  return arena().stream
}

/** Bytes from one streamed page to the next. */
export function streamBytes(): usize {
  const a = arena()
  return streamStride(changetype<Plan>(a.plan), a.isCacheInt8)
}

/** The next step begins at so many streamed layers; 0 as `isOn`: it streams nothing. Not while a step runs. */
export function setStream(isOn: u32, layers: u32): void {
  const a = arena()
  a.isStreaming = isOn
  a.streamed = layers
}

/** Address of u32 (conversations, (vocabSize + 31) >> 5): bit t & 31 of word t >> 5: token t may be sampled. */
export function masks(): usize {
  return arena().masks
}

/** Address of Bias (conversations, MAX_BIASES). */
export function biases(): usize {
  return arena().biases
}

/** Address of u32[maxLogits]: what the last step sampled. */
export function sampled(): usize {
  return arena().sampled
}

/** Address of the f32 (vocabSize) logits of the k-th row that wanted them in the last step. */
export function logits(k: u32): usize {
  const a = arena()
  return a.logits + k * logitsStride(changetype<Plan>(a.plan))
}

/**
 * Address of the f32 (hiddenDim) hidden state of the k-th row of the last step among those that wanted logits, in their
 * order, and behind them those that wanted their state.
 */
export function state(k: u32): usize {
  const a = arena()
  return a.normed + k * hiddenStride(changetype<Plan>(a.plan))
}

/** The first eight bytes of their SHA-256: a change of any bit shows. Not while a step runs. */
export function logitsHash(k: u32): u64 {
  assert(HASH + SHA256_SCRATCH <= WEIGHTS)
  const plan = changetype<Plan>(arena().plan)
  return sha256Prefix(logits(k), (plan.vocabSize as usize) << 2, HASH)
}

/** May the loaded weights be executed? By all ranks, as `step`; 1: yes. */
export function check(): u32 {
  return areWeightsNarrow() ? 1 : 0
}

/** How many ranks run the next steps: 1 to maxRanks. Not while a step runs. */
export function setTeam(count: u32): void {
  setRanks(count)
}

/**
 * Runs rows 0 … count − 1; every rank of the team must call it, and any may wait for the others. Returns 0, or 1 if a
 * logit is not finite. Rank 0 returns when all results are there.
 */
export function step(count: u32): u32 {
  return forward(count)
}

/** A rank is lost: those that wait for it trap, and the engine is of no more use. */
export function abandon(): void {
  poison()
}

/** Meets the other ranks `count` times: what a barrier costs. By all ranks, as `step`. */
export function meet(count: u32): void {
  for (let i: u32 = 0; i < count; i++) barrier()
}

/** Starts an account of where time goes, from zero, or ends it. Not while a step runs. */
export function profile(isOn: u32): void {
  setProfile(isOn)
}

/** Address of the Times of a rank. */
export function profiled(which: u32): usize {
  return times(which)
}

/**
 * Reads `bytes` (a multiple of 64) at `from`, every rank a span: the memory bandwidth probe. The result is of no use.
 */
export function readMemory(from: usize, bytes: u32): i32 {
  barrier()
  let a = i32x4.splat(0)
  let b = a
  let c = a
  let d = a
  const end = from + spanStart(bytes, 64, rank + 1)
  for (let at = from + spanStart(bytes, 64, rank); at < end; at += 64) {
    a = v128.xor(a, v128.load(at, 0))
    b = v128.xor(b, v128.load(at, 16))
    c = v128.xor(c, v128.load(at, 32))
    d = v128.xor(d, v128.load(at, 48))
  }
  barrier()
  return i32x4.extract_lane(v128.xor(v128.xor(a, b), v128.xor(c, d)), 0)
}
