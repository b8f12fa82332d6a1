/**
 * The ABI: what the engine, its hosts and models/ must agree on, said once. asc compiles this file, Node, tsc and esbuild
 * read it as it is: constants and records, no imports, no decorators.
 *
 * A record is a class of which the engine never makes one: changetype<Row>(address) sees its fields, in this order, and
 * offsetof<Row>() is its size. Hosts make one to know its fields (models/records.ts). Every field takes 32 bits, and what it
 * begins with says how they are read: 0 is a u32, NaN an f32. The fields of Times and Counts are f64.
 */

/** Version of plan words, number formats and packed file together. A file of another version is refused. */
export const PLAN_VERSION: u32 = 2

// Fixed addresses. 0 is unused, so that it means "absent"; what follows the weights is in arena.ts.

/** Arena: where everything lies. */
export const ARENA: usize = 64
/** The team's words, a cache line each: team.ts. */
export const TEAM: usize = 512
/** u32: layers read from the file since the stream began; the reader writes it, the ranks wait on it. See stream.ts. */
export const STREAM_READY: usize = 896
/** u32: layers that nobody needs any more; rank 0 writes it, the reader waits on it. */
export const STREAM_SWEPT: usize = 960
/** Vector constants: kernels/constants.ts. */
export const CONSTANTS: usize = 1024
/** Where a host may put a LayoutRequest. */
export const LAYOUT_REQUEST: usize = 2048
/** Scratch of logitsHash(): kernels/sha256.ts. */
export const HASH: usize = 3072
/** First address of the weights in an engine with a host: the plan, then the other tensors of the packed file. */
export const WEIGHTS: usize = 4096

// Numbers of the cache and of its pages.

/** Tokens per page of the KV cache. A page is also the unit of the sweep: mixers/sweep.ts. */
export const PAGE_TOKENS: u32 = 64
/** Pages of one row that ranks may share between two barriers. */
export const WAVE: u32 = 64
/** Bytes before the sums that a page leaves for one map: (f32 maximum, f32 sum of exponentials), padded. */
export const PARTIAL_SUMS: usize = 16
/** Disks are read in blocks of so many bytes, to addresses that are multiples of it. */
export const STREAM_ALIGNMENT: u32 = 4096
/** Bit of a place (see cache.ts): the page lies in a file. */
export const IN_FILE: u32 = 0x8000_0000

// Numbers of the weights.

/** Matrix.type; 0: absent. */
export const TYPE_F32: u32 = 1
export const TYPE_Q8: u32 = 2
export const TYPE_Q4: u32 = 3
/** A block of q4 weights: rows × columns, and its bytes with the bf16 scales of its rows. */
export const Q4_ROWS: u32 = 8
export const Q4_COLS: u32 = 32
export const Q4_BYTES: u32 = 144
/** Widest input of a matrix: keeps int32 sums of 7 bit × 8 bit products exact. */
export const MAX_WIDTH: u32 = 131072
/**
 * Widest model whose attention stays q8 when the rest is q4: a weight of `in` or `out` costs small models two to four
 * times what one of the feed-forward costs, and there is little to save (decision 013).
 */
export const SMALL_HIDDEN: u32 = 512

/** What is sampled from logits that are not finite. */
export const NO_TOKEN: u32 = 0xffff_ffff

/**
 * The head of the plan. Offsets count from the first byte of the weights, which is the plan's own address.
 *
 *     Plan ┃ slot head of each map: key 0, key 1, value ┃ Matrix embed ┃ Matrix head ┃ layer 0 ┃ layer 1 ┃ …
 *     layer = Layer ┃ Matrix, for each field of LayerMatrices
 */
export class Plan {
  version: u32 = 0
  nLayers: u32 = 0
  hiddenDim: u32 = 0
  ffnDim: u32 = 0
  vocabSize: u32 = 0
  maxContext: u32 = 0
  normEps: f32 = NaN
  maps: u32 = 0
  slot0Heads: u32 = 0
  slot0Dim: u32 = 0
  slot0Rope: u32 = 0
  slot0HasNorm: u32 = 0
  slot1Heads: u32 = 0
  slot1Dim: u32 = 0
  slot1Rope: u32 = 0
  slot1HasNorm: u32 = 0
  slotEps: f32 = NaN
  key0Slot: u32 = 0
  key0Dim: u32 = 0
  key1Slot: u32 = 0
  /** 0: the key is one view. */
  key1Dim: u32 = 0
  valueSlot: u32 = 0
  valueDim: u32 = 0
  /** 0: the query is projected at once. */
  queryRank: u32 = 0
  queryEps: f32 = NaN
  /** 0: no encoder. */
  encoderDim: u32 = 0
  hasDecoder: u32 = 0
  /** Copies that the value decoder adds. */
  repeat: u32 = 0
  hasGate: u32 = 0
  outDim: u32 = 0
  scale: f32 = NaN
  ropeDim: u32 = 0
  ropeMagnitude: f32 = NaN
  /** Offset of f64 (ropeDim / 2). */
  invFreq: u32 = 0
  /** Offset of f32 (hiddenDim). */
  norm: u32 = 0
}

/** Weights (rows × cols); a row, or a block of eight rows of q4, takes `stride` bytes, padded. */
export class Matrix {
  type: u32 = 0
  rows: u32 = 0
  cols: u32 = 0
  stride: u32 = 0
  /** Offsets. */
  data: u32 = 0
  scales: u32 = 0
}

/** Offsets of a layer's vectors, 0 if absent. */
export class Layer {
  attnNorm: u32 = 0
  inBias: u32 = 0
  queryNorm: u32 = 0
  queryBias: u32 = 0
  slotNorm: u32 = 0
  decoderBias: u32 = 0
  outBias: u32 = 0
  ffnNorm: u32 = 0
}

/** The order of a layer's matrices: a field here stands for a whole Matrix there. */
export class LayerMatrices {
  in: u32 = 0
  query: u32 = 0
  encoder: u32 = 0
  decoder: u32 = 0
  out: u32 = 0
  gateUp: u32 = 0
  down: u32 = 0
}

/** What layout() is asked for. */
export class LayoutRequest {
  /** Address of the plan, and the first address that is free: behind the weights. */
  plan: u32 = 0
  start: u32 = 0
  /** Rows of a step at most, and those of them that may want logits. */
  maxRows: u32 = 0
  maxLogits: u32 = 0
  /** Pages that there can be, wherever they lie; those in memory; those of a buffer for the others. */
  pages: u32 = 0
  residentPages: u32 = 0
  streamPages: u32 = 0
  conversations: u32 = 0
  /** Pages that one conversation may have. */
  tablePages: u32 = 0
  isCacheInt8: u32 = 0
  maxRanks: u32 = 0
}

/** A row of a step: one token of one conversation. The host writes rows, the engine reads them. */
export class Row {
  conversation: u32 = 0
  position: u32 = 0
  token: u32 = 0
  /** 1: compute logits and sample a next token. */
  wantsLogits: u32 = 0
  /** 0: the most likely token. */
  temperature: f32 = NaN
  /** 0: all. */
  topK: u32 = 0
  topP: f32 = NaN
  minP: f32 = NaN
  /** Logits of tokens among the last `penaltyWindow` are divided (positive) or multiplied (negative) by it. */
  repeatPenalty: f32 = NaN
  penaltyWindow: u32 = 0
  seedLow: u32 = 0
  seedHigh: u32 = 0
  /** Tokens that its conversation had and the cache has no more: `position` counts from the first one that it has. */
  dropped: u32 = 0
}

/** f64: milliseconds that a rank spent in each part of its steps, see profile.ts. */
export class Times {
  rest: f64 = 0
  linear: f64 = 0
  attention: f64 = 0
  valueDecoder: f64 = 0
  barrier: f64 = 0
  /** Waiting for pages from a file. */
  stream: f64 = 0
}

/** f64: what a debug build counts, see count.ts: multiply-adds, then bytes. */
export class Counts {
  products: f64 = 0
  scores: f64 = 0
  values: f64 = 0
  weights: f64 = 0
  cacheRead: f64 = 0
  cacheWritten: f64 = 0
}
