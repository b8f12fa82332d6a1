/**
 * Where everything lies. The engine keeps no state of its own: a few fixed addresses, and this table, which `layout()`
 * fills once. Every instance over the same memory sees the same engine.
 *
 *     0      unused, so that address 0 means "absent"
 *     64     Arena
 *     512    words of the team (team.ts)
 *     1024   vector constants (kernels/exp.ts)
 *     4096   weights: the plan first, then the tensors of the packed file
 *     start  rows, page tables, scratch, KV cache, stream, in the order of the fields below
 */
import { ARENA } from './addresses'
import { PAGE_TOKENS, pageStride, STREAM_ALIGNMENT, streamStride } from './cache'
import { rank } from './host'
import { ACTIVATION_SHIFT } from './kernels/dot'
import { PAGE_SCRATCH } from './kernels/sweep'
import { embedding, Plan, TYPE_F32 } from './plan'
import { ACCOUNT_BYTES } from './profile'
import { ROW_BYTES } from './rows'

/** Four vectors with eight f32 each. */
const TILE_BYTES: u64 = 128

@unmanaged
export class Arena {
  /** First free address while the layout is made; 64 bits, so that too large a layout is seen, not wrapped. */
  end: u64
  plan: usize
  maxRows: u32
  maxLogits: u32
  /** Pages that there can be, wherever they lie. */
  pages: u32
  conversations: u32
  /** Pages that one conversation may have. */
  tablePages: u32
  isCacheInt8: u32
  isProfiling: u32
  maxRanks: u32
  /** Layers that were streamed before the step that runs; the host sets it. See stream.ts. */
  streamed: u32
  /** Does this step stream pages? The host sets it. */
  isStreaming: u32
  streamPages: u32
  /** From one rank's scratch to the next. */
  rankStride: usize

  rows: usize // Row[maxRows]
  tables: usize // u32 (conversations, tablePages): the page at each place of a conversation
  places: usize // u32[pages]: where each page lies, see cache.ts
  history: usize // u32 (pages, PAGE_TOKENS): the token of each row of the cache
  sampled: usize // u32[maxLogits]
  angles: usize // f32 (maxRows, ropeDim): cos of each pair, then sin
  x: usize // f32 (maxRows, hiddenStride): the residual stream
  normed: usize // f32 (maxRows, hiddenStride)
  projection: usize // f32 (maxRows, projectionStride): q, or its low-rank side, | row | gate
  queryLatent: usize // f32 (maxRows, queryLatentStride): the normed low-rank side
  query: usize // f32 (maxRows, queryStride): q of every map, where it is not part of the projection
  plain: usize // f32 (maxRows, maps, plainStride): un-rotated parts of q, the encoder's inputs
  encoded: usize // f32 (maxRows, encodedStride): what the encoder makes of them
  averages: usize // f32 (maxRows, averagesStride): weighted sums of values, map by map
  decoded: usize // f32 (maxRows, decodedStride): what enters W_o, if there is a value decoder
  gateUp: usize // f32 (maxRows, gateUpStride)
  activation: usize // f32 (maxRows, ffnStride)
  quantised: usize // activations of the matmul that runs, zero-padded as its rows are
  quantPairs: usize // (f32 scale, i32 sum) of each quantised vector
  groupOffsets: usize // i32 (maxRows, groups of 32): for q4 weights
  pagePartials: usize // (WAVE pages, maps, partialStride): what the ranks leave of the pages of one row
  accounts: usize // Account[maxRanks], see profile.ts

  // Scratch of rank 0; that of the others follows: see mine().
  sweepQueries: usize // per map and key view: one query as the sweep reads it
  queryScales: usize // f32 (maps, 2)
  softmax: usize // (f32 maximum, f32 sum of exponentials)[maps], running
  scores: usize // f32[PAGE_TOKENS] and more, see kernels/sweep.ts
  partial: usize // (f32 maximum, f32 sum), then f32 (valueDim padded): one page, one map
  tile: usize // results of one tile of a product
  turned: usize // f32[ropeDim] angles, then a slot head: see turnPage
  candidates: usize // (f32 logit, u32 id)[vocabSize]

  logits: usize // f32 (maxLogits, logitsStride)
  cache: usize // pages in memory
  stream: usize // (2, streamPages) layers of pages that lie in a file
}

/** Strides in bytes of the buffers above; rows of f32 are padded to 64 bytes, the padding stays zero. */
function floatStride(n: u32): usize {
  return ((n + 15) & ~15) << 2
}
export function hiddenStride(plan: Plan): usize {
  return floatStride(plan.hiddenDim)
}
/** Width of one map's q as it is projected: its un-rotated part, and what meets the second key view. */
export function queryDim(plan: Plan): u32 {
  return (plan.encoderDim ? plan.encoderDim : plan.key0Dim) + plan.key1Dim
}
export function queryWidth(plan: Plan): u32 {
  return plan.queryRank ? plan.queryRank : plan.maps * queryDim(plan)
}
export function rowWidth(plan: Plan): u32 {
  return plan.slot0Heads * plan.slot0Dim + plan.slot1Heads * plan.slot1Dim
}
export function projectionStride(plan: Plan): usize {
  return floatStride(queryWidth(plan) + rowWidth(plan) + (plan.hasGate ? plan.maps * plan.outDim : 0))
}
export function queryLatentStride(plan: Plan): usize {
  return floatStride(plan.queryRank)
}
/** Bytes from one row's q to the next, and where the first one is. */
export function queryStride(plan: Plan): usize {
  return plan.queryRank ? floatStride(plan.maps * queryDim(plan)) : projectionStride(plan)
}
export function queryAt(plan: Plan, i: u32): usize {
  const a = arena()
  return (plan.queryRank ? a.query : a.projection) + i * queryStride(plan)
}
export function plainStride(plan: Plan): usize {
  return floatStride(plan.encoderDim)
}
export function encodedStride(plan: Plan): usize {
  return floatStride(plan.maps * plan.key0Dim)
}
/** From one map's average to the next: padded only where each is the input of a matrix of its own. */
export function averageStride(plan: Plan): usize {
  return plan.hasDecoder ? floatStride(plan.valueDim) : plan.valueDim << 2
}
export function averagesStride(plan: Plan): usize {
  return floatStride(((plan.maps * averageStride(plan)) as u32) >> 2)
}
export function decodedStride(plan: Plan): usize {
  return floatStride(plan.maps * plan.outDim)
}
export function gateUpStride(plan: Plan): usize {
  return floatStride(2 * plan.ffnDim)
}
export function ffnStride(plan: Plan): usize {
  return floatStride(plan.ffnDim)
}
export function logitsStride(plan: Plan): usize {
  return floatStride(plan.vocabSize)
}
/** Bytes of one query in `sweepQueries`: 4 dims take 16 bytes in either cache type, the second view follows the first. */
export function sweepQueryStride(plan: Plan): usize {
  return sweepQueryBytes(plan.key0Dim) + sweepQueryBytes(plan.key1Dim)
}
export function sweepQueryBytes(dim: u32): usize {
  return ((dim + 3) & ~3) << 2
}

/** What one page leaves for one map: (maximum, sum), padded, then the weighted sum of values. */
export const PARTIAL_SUMS: usize = 16
export function partialStride(plan: Plan): usize {
  return PARTIAL_SUMS + floatStride(plan.valueDim)
}

/** Pages of one row that ranks may share between two barriers. */
export const WAVE: u32 = 64

/** This rank's copy of something that lies in the scratch of rank 0 at `at`. */
export function mine(at: usize): usize {
  return at + rank * arena().rankStride
}

export function arena(): Arena {
  return changetype<Arena>(ARENA)
}

/** Quantised activations of one row, in bytes: padded to 64 numbers as q8 weights are. */
function quantisedStride(n: u32): u64 {
  return ((n + 63) & ~63) << (ACTIVATION_SHIFT as u32)
}

/** Reserves the next `bytes`, 64 byte aligned. */
function take(bytes: u64): usize {
  const a = arena()
  const at = a.end
  a.end = (at + bytes + 63) & ~63
  return at as usize
}

/**
 * Lays the arena out from `start` for a model whose plan lies at `planAt`, and returns its end. The end may exceed
 * the memory, or 4 GiB: the host then grows the memory or refuses the model.
 */
export function layoutArena(
  planAt: usize,
  start: usize,
  maxRows: u32,
  maxLogits: u32,
  pages: u32,
  residentPages: u32,
  streamPages: u32,
  conversations: u32,
  tablePages: u32,
  isCacheInt8: u32,
  maxRanks: u32,
): f64 {
  const plan = changetype<Plan>(planAt)
  const a = arena()
  a.plan = planAt
  a.maxRows = maxRows
  a.maxLogits = maxLogits
  a.pages = pages
  a.conversations = conversations
  a.tablePages = tablePages
  a.isCacheInt8 = isCacheInt8
  a.isProfiling = 0
  a.streamed = 0
  a.isStreaming = 0
  a.streamPages = streamPages
  a.maxRanks = maxRanks

  const rows = maxRows as u64
  const entries = (conversations as u64) * tablePages
  a.end = start as u64
  a.rows = take(rows * ROW_BYTES)
  a.tables = take(entries * 4)
  a.places = take((pages as u64) * 4)
  a.history = take((pages as u64) * PAGE_TOKENS * 4)
  a.sampled = take((maxLogits as u64) * 4)
  a.angles = take(rows * plan.ropeDim * 4)
  a.x = take(rows * hiddenStride(plan))
  a.normed = take(rows * hiddenStride(plan))
  a.projection = take(rows * projectionStride(plan))
  if (plan.queryRank) {
    a.queryLatent = take(rows * queryLatentStride(plan))
    a.query = take(rows * queryStride(plan))
  }
  if (plan.encoderDim) {
    a.plain = take(rows * plan.maps * plainStride(plan))
    a.encoded = take(rows * encodedStride(plan))
  }
  a.averages = take(rows * averagesStride(plan))
  a.decoded = plan.hasDecoder ? take(rows * decodedStride(plan)) : a.averages
  a.gateUp = take(rows * gateUpStride(plan))
  a.activation = take(rows * ffnStride(plan))
  if (embedding(plan).type != TYPE_F32) {
    const widest = max(max(plan.hiddenDim, plan.ffnDim), max(plan.maps * plan.outDim, plan.queryRank))
    // A matrix per map is applied to a vector of its own: as many vectors as rows times maps.
    const perMap = max(plan.hasDecoder ? quantisedStride(plan.valueDim) : 0, quantisedStride(plan.encoderDim))
    a.quantised = take(max(rows * quantisedStride(widest), rows * plan.maps * perMap))
    a.quantPairs = take(rows * plan.maps * 8)
    a.groupOffsets = take(rows * ((widest + 31) >> 5) * 4)
  }
  a.pagePartials = take((min(tablePages, WAVE) as u64) * plan.maps * partialStride(plan))
  a.accounts = take(maxRanks * ACCOUNT_BYTES)

  a.sweepQueries = take((plan.maps as u64) * sweepQueryStride(plan))
  a.queryScales = take((plan.maps as u64) * 8)
  a.softmax = take((plan.maps as u64) * 8)
  a.scores = take(PAGE_SCRATCH)
  a.partial = take(partialStride(plan))
  a.tile = take(TILE_BYTES)
  a.turned = take((plan.ropeDim + max(plan.slot0Dim, plan.slot1Dim)) * 4)
  a.candidates = take((plan.vocabSize as u64) * 8)
  a.rankStride = (a.end - a.sweepQueries) as usize
  a.end += ((maxRanks - 1) as u64) * a.rankStride

  a.logits = take((maxLogits as u64) * logitsStride(plan))
  a.cache = take((residentPages as u64) * pageStride(plan, isCacheInt8))
  if (streamPages) {
    a.end = (a.end + STREAM_ALIGNMENT - 1) & ~(STREAM_ALIGNMENT - 1)
    a.stream = take((streamPages as u64) * 2 * streamStride(plan, isCacheInt8))
  }
  return a.end as f64
}
