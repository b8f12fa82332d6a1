/**
 * Where everything lies. The engine keeps no state of its own: a few fixed addresses, and this table, which `layout()`
 * fills once. Every instance over the same memory sees the same engine.
 *
 *     0      unused, so that address 0 means "absent"
 *     64     Arena
 *     512    words of the team (team.ts)
 *     1024   vector constants (kernels/constants.ts)
 *     2048   a LayoutRequest, while the layout is made
 *     3072   scratch of logitsHash()
 *     4096   weights: the plan first, then the tensors of the packed file
 *     start  rows, page tables, scratch, KV cache, stream, in the order of the fields below
 */
import { ARENA, LayoutRequest, PAGE_TOKENS, Plan, Row, STREAM_ALIGNMENT, TEAM, TYPE_F32, WAVE } from './abi'
import { rank } from './host'
import { Product, TILE_BYTES } from './kernels/product'
import { PAGE_SCRATCH } from './kernels/sweep'
import { embedding } from './plan'
import {
  ACCOUNT_BYTES,
  averagesStride,
  decodedStride,
  encodedStride,
  ffnStride,
  gateUpStride,
  hiddenStride,
  logitsStride,
  pageStride,
  partialStride,
  plainStride,
  projectionStride,
  quantisedBytes,
  queryLatentStride,
  queryStride,
  streamStride,
  sweepQueryStride,
  widestInput,
} from './sizes'

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
  product: usize // Product: the one that this rank has a part in
  tile: usize // results of one tile of it
  turned: usize // f32[ropeDim] angles, then a slot head: see turnPage
  candidates: usize // (f32 logit, u32 id)[vocabSize]

  logits: usize // f32 (maxLogits, logitsStride)
  cache: usize // pages in memory
  stream: usize // (2, streamPages) layers of pages that lie in a file
}

/** This rank's copy of something that lies in the scratch of rank 0 at `at`. */
export function mine(at: usize): usize {
  return at + rank * arena().rankStride
}

export function arena(): Arena {
  return changetype<Arena>(ARENA)
}

/** Reserves the next `bytes`, 64 byte aligned. */
function take(bytes: u64): usize {
  const a = arena()
  const at = a.end
  a.end = (at + bytes + 63) & ~63
  return at as usize
}

export function rowAt(index: u32): Row {
  return changetype<Row>(arena().rows + index * offsetof<Row>())
}

/** Address of the query of row i: that of its first map. */
export function queryAt(plan: Plan, i: u32): usize {
  const a = arena()
  return (plan.queryRank ? a.query : a.projection) + i * queryStride(plan)
}

/**
 * Lays the arena out as it is asked for, and returns its end. The end may exceed the memory, or 4 GiB: the host then grows
 * the memory or refuses the model.
 */
export function layoutArena(request: LayoutRequest): f64 {
  assert(offsetof<Arena>() <= TEAM - ARENA)
  const plan = changetype<Plan>(request.plan as usize)
  const a = arena()
  a.plan = request.plan
  a.maxRows = request.maxRows
  a.maxLogits = request.maxLogits
  a.pages = request.pages
  a.conversations = request.conversations
  a.tablePages = request.tablePages
  a.isCacheInt8 = request.isCacheInt8
  a.isProfiling = 0
  a.streamed = 0
  a.isStreaming = 0
  a.streamPages = request.streamPages
  a.maxRanks = request.maxRanks
  a.end = request.start as u64
  takeStep(plan)
  takeRanks(plan)
  a.logits = take((a.maxLogits as u64) * logitsStride(plan))
  a.cache = take((request.residentPages as u64) * pageStride(plan, a.isCacheInt8))
  if (a.streamPages) {
    a.end = (a.end + STREAM_ALIGNMENT - 1) & ~((STREAM_ALIGNMENT as u64) - 1)
    a.stream = take((a.streamPages as u64) * 2 * streamStride(plan, a.isCacheInt8))
  }
  return a.end as f64
}

/** What the ranks share: rows, tables, and the buffers of a step. */
function takeStep(plan: Plan): void {
  const a = arena()
  const rows = a.maxRows as u64
  a.rows = take(rows * offsetof<Row>())
  a.tables = take((a.conversations as u64) * a.tablePages * 4)
  a.places = take((a.pages as u64) * 4)
  a.history = take((a.pages as u64) * PAGE_TOKENS * 4)
  a.sampled = take((a.maxLogits as u64) * 4)
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
    a.quantised = take(quantisedBytes(plan, rows))
    a.quantPairs = take(rows * plan.maps * 8)
    a.groupOffsets = take(rows * ((widestInput(plan) + 31) >> 5) * 4)
  }
  a.pagePartials = take((min(a.tablePages, WAVE) as u64) * plan.maps * partialStride(plan))
  a.accounts = take(a.maxRanks * ACCOUNT_BYTES)
}

/** The scratch of each rank. */
function takeRanks(plan: Plan): void {
  const a = arena()
  a.sweepQueries = take((plan.maps as u64) * sweepQueryStride(plan))
  a.queryScales = take((plan.maps as u64) * 8)
  a.softmax = take((plan.maps as u64) * 8)
  a.scores = take(PAGE_SCRATCH)
  a.partial = take(partialStride(plan))
  a.product = take(offsetof<Product>())
  a.tile = take(TILE_BYTES)
  a.turned = take((plan.ropeDim + max(plan.slot0Dim, plan.slot1Dim)) * 4)
  a.candidates = take((plan.vocabSize as u64) * 8)
  a.rankStride = (a.end - a.sweepQueries) as usize
  a.end += ((a.maxRanks - 1) as u64) * a.rankStride
}
