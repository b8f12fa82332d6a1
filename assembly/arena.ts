/**
 * Where everything lies. The engine keeps no state of its own: a few fixed addresses, and this table, which `layout()`
 * fills once. Every instance over the same memory sees the same engine.
 *
 *     0      unused, so that address 0 means "absent"
 *     64     Arena, then Pages of each page kind
 *     512    words of the team (team.ts)
 *     1024   vector constants (kernels/constants.ts)
 *     2048   a LayoutRequest and the check of its plan, while the layout is made
 *     3072   scratch of logitsHash()
 *     4096   weights: the plan first, then the tensors of the packed file
 *     start  rows, page tables, scratch, KV cache, stream, in the order of the fields below
 */
import {
  ARENA,
  Bias,
  LayerKind,
  LayoutRequest,
  MAX_BIASES,
  MAX_PAGE_KINDS,
  PAGE_TOKENS,
  Plan,
  Row,
  STREAM_ALIGNMENT,
  TEAM,
  WAVE,
} from './abi'
import { rank } from './host'
import { ACTIVATION_SHIFT } from './kernels/lanes'
import { Product, TILE_BYTES } from './kernels/product'
import { buffersOf } from './plan'
import { RowTile } from './row-tile'
import {
  ACCOUNT_BYTES,
  hiddenStride,
  keyBiasBytes,
  logitsStride,
  maskStride,
  pageStride,
  streamStride,
  TILE_INPUT,
  TILE_PAGE,
  TILE_SCORES,
  TILE_STATE,
  tileBytes,
} from './sizes'

@unmanaged
export class Arena {
  /** First free address while the layout is made; 64 bits, so that too large a layout is seen, not wrapped. */
  end: u64
  plan: usize
  maxRows: u32
  maxLogits: u32
  /** Blocks that there can be. */
  blocks: u32
  conversations: u32
  /** Blocks that one conversation may have. */
  tableBlocks: u32
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
  tables: usize // u32 (conversations, tableBlocks): the blocks of each conversation, in order
  places: usize // u32 (page kinds, blocks): where the pages of each block lie, see cache.ts
  history: usize // u32 (blocks, PAGE_TOKENS): the token of each row of the cache
  masks: usize // u32 (conversations, maskStride): bit t & 31 of word t >> 5: token t may be sampled
  biases: usize // Bias (conversations, MAX_BIASES)
  sampled: usize // u32[maxLogits]
  x: usize // f32 (maxRows, hiddenStride): the residual stream
  normed: usize // f32 (maxRows, hiddenStride)

  // Where an int8 cache keeps biases of keys apart, else 0: mixers/key-bias.ts.
  /** 1: turns and pageTurns are there, but not written yet. */
  needsTurns: u32
  turns: usize // f32, for each rotation: (pairs, 2, PAGE_TOKENS), cos and sin of each pair at the tokens of a page
  pageTurns: usize // f32 (tableBlocks), for each rotation: cos of each pair at the first token of a page, then sin

  // By the plan's Buffers, so many bytes for each row.
  angles: usize // f32, for each rotation: cos of each pair, then sin
  projection: usize // f32: q, or its low-rank side, | row | gate
  low: usize // f32: the normed low-rank side
  query: usize // f32: q of every map, where it is not part of the projection
  plain: usize // f32 (maps, plainStride): un-rotated parts of q, the encoder's inputs
  encoded: usize // f32: what the encoder makes of them
  averages: usize // f32 (maps, averageStride): weighted sums of values
  decoded: usize // f32: what enters W_o, if there is a value decoder
  gateUp: usize // f32
  activation: usize // f32
  branch: usize // f32: what a norm is applied to before it is added to x
  ffnInput: usize // f32: what the feed-forward block of a parallel layer reads
  quantised: usize // activations of the product that runs, zero-padded as its rows are
  quantPairs: usize // (f32 scale, i32 sum) of each quantised vector
  groupOffsets: usize // i32 (groups of 32): for q4 weights
  // For each page.
  pagePartials: usize // (maps, partialStride): what the ranks leave of the pages of one row
  accounts: usize // Account[maxRanks], see profile.ts

  // Scratch of rank 0; that of the others follows: see mine().
  rowTile: usize // RowTile: rows that are swept together
  sweepQueries: usize // per key view and query of the tile: as the sweep reads it
  queryScales: usize // f32 (key views, queries of the tile)
  softmax: usize // (f32 maximum, f32 sum of exponentials)[queries of the tile], running
  scores: usize // f32 (queries of the tile, PAGE_TOKENS)
  pageScratch: usize // see kernels/sweep.ts
  partial: usize // of two queries: (f32 maximum, f32 sum), then f32 (valueDim padded): one page, one map
  product: usize // Product: the one that this rank has a part in
  tile: usize // results of one tile of it
  turned: usize // f32[ropeDim] angles, then a slot head: see turnBlock
  candidates: usize // (f32 logit, u32 id)[vocabSize]
  keyBias: usize // what biases of keys add to the scores of one row

  logits: usize // f32 (maxLogits, logitsStride)
  stream: usize // (2, streamPages) layers of pages that lie in a file
}

/** This rank's copy of something that lies in the scratch of rank 0 at `at`. */
export function mine(at: usize): usize {
  return at + rank * arena().rankStride
}

export function arena(): Arena {
  return changetype<Arena>(ARENA)
}

/** The pages in memory of one page kind. */
@unmanaged
export class Pages {
  at: usize
  /** Bytes of a page. */
  stride: usize
}

/** Those of all kinds lie behind the arena. */
export function pagesOf(pageKind: u32): Pages {
  return changetype<Pages>(ARENA + offsetof<Arena>() + pageKind * offsetof<Pages>())
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

/** The mask of a row: that of its conversation. */
export function maskOf(plan: Plan, row: Row): usize {
  return arena().masks + row.conversation * maskStride(plan)
}

export function biasAt(row: Row, index: u32): Bias {
  return changetype<Bias>(arena().biases + (row.conversation * MAX_BIASES + index) * offsetof<Bias>())
}

/** Address of the query of row i: that of its first map. */
export function queryAt(plan: Plan, kind: LayerKind, i: u32): usize {
  const a = arena()
  const b = buffersOf(plan)
  return kind.queryRank ? a.query + i * b.query : a.projection + i * b.projection
}

/** Address and stride of the rows that enter W_o. */
export function entering(kind: LayerKind): usize {
  const a = arena()
  return kind.hasDecoder ? a.decoded : a.averages
}
export function enteringStride(plan: Plan, kind: LayerKind): usize {
  const b = buffersOf(plan)
  return kind.hasDecoder ? b.decoded : b.averages
}

/**
 * Lays the arena out as it is asked for, and returns its end. The end may exceed the memory, or 4 GiB: the host then grows
 * the memory or refuses the model.
 */
export function layoutArena(request: LayoutRequest): f64 {
  assert(offsetof<Arena>() + MAX_PAGE_KINDS * offsetof<Pages>() <= TEAM - ARENA)
  const plan = changetype<Plan>(request.plan as usize)
  const a = arena()
  a.plan = request.plan
  a.maxRows = request.maxRows
  a.maxLogits = request.maxLogits
  a.blocks = request.blocks
  a.conversations = request.conversations
  a.tableBlocks = request.tableBlocks
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
  for (let kind: u32 = 0; kind < plan.nPageKinds; kind++) {
    const pages = pagesOf(kind)
    pages.stride = pageStride(plan, kind, a.isCacheInt8)
    pages.at = take((pagesAsked(request, kind) as u64) * pages.stride)
  }
  if (a.streamPages) {
    a.end = (a.end + STREAM_ALIGNMENT - 1) & ~((STREAM_ALIGNMENT as u64) - 1)
    a.stream = take((a.streamPages as u64) * 2 * streamStride(plan, a.isCacheInt8))
  }
  // Tiles of the sweep read a little more than the last key.
  a.end += 64
  return a.end as f64
}

/** Pages in memory that a request asks for. */
function pagesAsked(request: LayoutRequest, pageKind: u32): u32 {
  return load<u32>(changetype<usize>(request) + offsetof<LayoutRequest>() + (pageKind << 2))
}

/** What the ranks share: rows, tables, and the buffers of a step. */
function takeStep(plan: Plan): void {
  const a = arena()
  const rows = a.maxRows as u64
  a.rows = take(rows * offsetof<Row>())
  a.tables = take((a.conversations as u64) * a.tableBlocks * 4)
  a.places = take((a.blocks as u64) * plan.nPageKinds * 4)
  a.history = take((a.blocks as u64) * PAGE_TOKENS * 4)
  a.masks = take((a.conversations as u64) * maskStride(plan))
  a.biases = take((a.conversations as u64) * MAX_BIASES * offsetof<Bias>())
  a.sampled = take((a.maxLogits as u64) * 4)
  a.x = take(rows * hiddenStride(plan))
  a.normed = take(rows * hiddenStride(plan))
  const b = buffersOf(plan)
  a.needsTurns = a.isCacheInt8 && keyBiasBytes(plan) > 0 ? 1 : 0
  const turns: u64 = a.needsTurns ? b.angles : 0
  a.turns = take(PAGE_TOKENS * turns)
  a.pageTurns = take(a.tableBlocks * turns)
  a.angles = take(rows * b.angles)
  a.projection = take(rows * b.projection)
  a.low = take(rows * b.low)
  a.query = take(rows * b.query)
  a.plain = take(rows * b.plain)
  a.encoded = take(rows * b.encoded)
  a.averages = take(rows * b.averages)
  a.decoded = take(rows * b.decoded)
  a.gateUp = take(rows * b.gateUp)
  a.activation = take(rows * b.activation)
  a.branch = take(rows * b.branch)
  a.ffnInput = take(rows * b.ffnInput)
  a.quantised = take((rows * b.quantised) << ACTIVATION_SHIFT)
  a.quantPairs = take(rows * b.quantPairs)
  a.groupOffsets = take(rows * b.groupOffsets)
  a.pagePartials = take((min(a.tableBlocks, WAVE) as u64) * b.pagePartials)
  a.accounts = take(a.maxRanks * ACCOUNT_BYTES)
}

/** The scratch of each rank. */
function takeRanks(plan: Plan): void {
  const a = arena()
  const b = buffersOf(plan)
  a.rowTile = take(offsetof<RowTile>())
  a.sweepQueries = take(tileBytes(plan, TILE_INPUT))
  a.queryScales = take(tileBytes(plan, TILE_STATE))
  a.softmax = take(tileBytes(plan, TILE_STATE))
  a.scores = take(tileBytes(plan, TILE_SCORES))
  a.pageScratch = take(tileBytes(plan, TILE_PAGE))
  a.partial = take(2 * b.partial)
  a.product = take(offsetof<Product>())
  a.tile = take(TILE_BYTES)
  a.turned = take(b.turned)
  a.candidates = take((plan.vocabSize as u64) * 8)
  a.keyBias = take(a.isCacheInt8 ? keyBiasBytes(plan) : 0)
  a.rankStride = (a.end - a.rowTile) as usize
  a.end += ((a.maxRanks - 1) as u64) * a.rankStride
}
