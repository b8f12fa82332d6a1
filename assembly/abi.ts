/**
 * The ABI: what the engine, its hosts and models/ must agree on, said once. asc compiles this file, Node, tsc and esbuild
 * read it as it is: constants and records, no imports, no decorators.
 *
 * A record is a class of which the engine never makes one: changetype<Row>(address) sees its fields, in this order, and
 * offsetof<Row>() is its size. Hosts make one to know its fields (models/records.ts). Every field takes 32 bits, and what it
 * begins with says how they are read: 0 is a u32, NaN an f32. The fields of Times and Counts are f64.
 */

/** Version of plan words, number formats and packed file together. A file of another version is refused. */
export const PLAN_VERSION: u32 = 3

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
/** The walk of plan-check.ts, while the layout is made. */
export const PLAN_WALK: usize = 2176
/** Scratch of logitsHash(): kernels/sha256.ts. */
export const HASH: usize = 3072
/** First address of the weights in an engine with a host: the plan, then the other tensors of the packed file. */
export const WEIGHTS: usize = 4096

// Numbers of the cache and of its pages.

/** Tokens per page of the KV cache. A page is also the unit of the sweep: mixers/sweep.ts. */
export const PAGE_TOKENS: u32 = 64
/** Queries that go through a page's values together, about, and rows that may bring them (bench/LOG.md). */
export const TILE_QUERIES: u32 = 40
export const MOST_TILE_ROWS: u32 = 16
/** Pages of one row that ranks may share between two barriers. */
export const WAVE: u32 = 64
/** Bytes before the sums that a page leaves for one map: (f32 maximum, f32 sum of exponentials), padded. */
export const PARTIAL_SUMS: usize = 16
/** Disks are read in blocks of so many bytes, to addresses that are multiples of it. */
export const STREAM_ALIGNMENT: u32 = 4096
/** Bit of a place (see cache.ts): the page lies in a file. */
export const IN_FILE: u32 = 0x8000_0000
/** The place of a page that is not there: no row sees it any more. */
export const NO_PAGE: u32 = 0xffff_ffff
/** Page kinds of a model at most. */
export const MAX_PAGE_KINDS: u32 = 16

// Numbers of the weights.

/** Matrix.type; 0: absent. */
export const TYPE_F32: u32 = 1
export const TYPE_Q8: u32 = 2
export const TYPE_Q4: u32 = 3
/** With a scale and a minimum for 32 columns of a row, or 16 of q8k: kernels/blocks.ts has the picture. */
export const TYPE_Q4M: u32 = 4
export const TYPE_Q4K: u32 = 5
export const TYPE_Q8M: u32 = 6
export const TYPE_Q8K: u32 = 7
/** A block of weights: rows × columns; bytes of one of q4 with the bf16 scales of its rows. */
export const Q4_ROWS: u32 = 8
export const Q4_COLS: u32 = 32
export const Q4_BYTES: u32 = 144
/** Blocks of the types from q4m on that share factors at most, and the bytes of these. */
export const SPAN_BLOCKS: u32 = 8
export const SPAN_BYTES: u32 = 64
/** Bytes of their blocks, with the scales and minima of their rows. */
export const Q4M_BYTES: u32 = 160
export const Q4K_BYTES: u32 = 144
export const Q8M_BYTES: u32 = 288
export const Q8K_BYTES: u32 = 288
/** Widest input of a matrix: keeps int32 sums of 7 bit × 8 bit products exact. */
export const MAX_WIDTH: u32 = 131072

/** Biases of one conversation at most. */
export const MAX_BIASES: u32 = 1024

/** What is sampled from logits that are not finite, or where no token is allowed. */
export const NO_TOKEN: u32 = 0xffff_ffff

// Numbers of the plan. What may be absent begins with 1.

/** LayerKind.mixer: attention, or what keeps a state (mixers/state.ts). */
export const MIXER_ATTENTION: u32 = 1
export const MIXER_CONV: u32 = 2
export const MIXER_DELTA: u32 = 3
/** What a norm of heads spans: each of them, or all of a token's together. */
export const SPAN_HEAD: u32 = 1
export const SPAN_ALL: u32 = 2
/** Of queries: each head, behind its rotation. */
export const SPAN_TURNED: u32 = 3
export const NORM_RMS: u32 = 1
export const NORM_LAYER: u32 = 2
/** LayerKind.activation. */
export const SILU: u32 = 1
export const GELU: u32 = 2
export const GELU_TANH: u32 = 3
export const RELU2: u32 = 4

/** Why a plan is refused: layout() returns the negative. */
export const PLAN_BAD_VERSION: u32 = 1
export const PLAN_BAD_LENGTH: u32 = 2
/** A size or a count is impossible, or does not fit the others. */
export const PLAN_BAD_SIZE: u32 = 3
export const PLAN_BAD_FLAG: u32 = 4
/** A number is not finite. */
export const PLAN_BAD_NUMBER: u32 = 5
export const PLAN_BAD_VIEW: u32 = 6
export const PLAN_BAD_HEAD: u32 = 7
export const PLAN_BAD_ROTATION: u32 = 8
export const PLAN_BAD_KIND: u32 = 9
export const PLAN_BAD_PAGES: u32 = 10
export const PLAN_BAD_BUFFER: u32 = 11
export const PLAN_BAD_TENSOR: u32 = 12

/**
 * The head of the plan. Offsets count from the first byte of the weights, which is the plan's own address.
 *
 *     Plan ┃ Buffers ┃ Matrix embed ┃ Matrix positions ┃ Matrix head ┃ PageKind … ┃ Rotation … ┃ layer kind … ┃ layer …
 *     layer kind = LayerKind ┃ slot head of each map: key 0, key 1, value      with a state: LayerKind ┃ Recurrence
 *     layer      = Layer ┃ Matrix, for each field of LayerMatrices             with a state: StateLayer ┃ Matrix …
 */
export class Plan {
  version: u32 = 0
  nLayers: u32 = 0
  nLayerKinds: u32 = 0
  nPageKinds: u32 = 0
  nRotations: u32 = 0
  /** Offset of the first layer. */
  layers: u32 = 0
  hiddenDim: u32 = 0
  vocabSize: u32 = 0
  maxContext: u32 = 0
  embeddingScale: f32 = NaN
  /** The norm before the output head: its kind, and offsets of f32 (hiddenDim). */
  headNormKind: u32 = 0
  headNormEps: f32 = NaN
  headNorm: u32 = 0
  headNormBias: u32 = 0
  /** Offset of f32 (vocabSize), 0 if absent. */
  headBias: u32 = 0
  /** Of the logits; 0: none. */
  headSoftcap: f32 = NaN
}

/** Bytes of scratch memory: the most that a layer of the model needs. See layerBuffers() in models/layer.ts. */
export class Buffers {
  /** For each row of a step. A layer that needs less uses the same distance from row to row. */
  angles: u32 = 0
  projection: u32 = 0
  low: u32 = 0
  query: u32 = 0
  plain: u32 = 0
  encoded: u32 = 0
  averages: u32 = 0
  decoded: u32 = 0
  gateUp: u32 = 0
  activation: u32 = 0
  branch: u32 = 0
  ffnInput: u32 = 0
  /** Numbers; how wide they are is a matter of the build. */
  quantised: u32 = 0
  quantPairs: u32 = 0
  groupOffsets: u32 = 0
  /** For each page of a wave. */
  pagePartials: u32 = 0
  /** For each rank. */
  sweepQueries: u32 = 0
  queryScales: u32 = 0
  softmax: u32 = 0
  partial: u32 = 0
  turned: u32 = 0
}

/** Layers whose pages are laid out and given back alike: the same row, the same window. See cache.ts. */
export class PageKind {
  /** Offset of a layer kind that has it. */
  kind: u32 = 0
  /** Layers of the model that have it. */
  layers: u32 = 0
}

/** A way to rotate: the angles of each row of a step are computed once for all layers that use them. */
export class Rotation {
  dim: u32 = 0
  /** Factor of cos and sin. */
  magnitude: f32 = NaN
  /** Offset of f64 (dim / 2). */
  invFreq: u32 = 0
  /** Bytes from the angles of a row to these: f32 (dim). */
  angles: u32 = 0
}

/** What layers have in common. Where the mixer is not attention, all that concerns attention is 0, but for the window: 2. */
export class LayerKind {
  mixer: u32 = 0
  maps: u32 = 0
  slot0Heads: u32 = 0
  slot0Dim: u32 = 0
  /** Rotated width; 0: none. */
  slot0Rope: u32 = 0
  /** What a norm spans; 0: none. */
  slot0Norm: u32 = 0
  slot0Eps: f32 = NaN
  slot1Heads: u32 = 0
  slot1Dim: u32 = 0
  slot1Rope: u32 = 0
  slot1Norm: u32 = 0
  slot1Eps: f32 = NaN
  key0Slot: u32 = 0
  key0Dim: u32 = 0
  key1Slot: u32 = 0
  /** 0: the key is one view. */
  key1Dim: u32 = 0
  valueSlot: u32 = 0
  valueDim: u32 = 0
  /** Offset of a Rotation; 0: nothing is rotated. */
  rotation: u32 = 0
  /** Tokens that a token sees, itself among them; 0: all. */
  window: u32 = 0
  /** 0: the query is projected at once. */
  queryRank: u32 = 0
  lowEps: f32 = NaN
  /** What the norm of the queries spans; 0: none. */
  queryNorm: u32 = 0
  queryEps: f32 = NaN
  /** 0: no encoder. */
  encoderDim: u32 = 0
  hasDecoder: u32 = 0
  /** Copies that the value decoder adds. */
  repeat: u32 = 0
  hasGate: u32 = 0
  outDim: u32 = 0
  scale: f32 = NaN
  /** Of the scores; 0: none. */
  softcap: f32 = NaN
  ffnDim: u32 = 0
  activation: u32 = 0
  isGated: u32 = 0
  isParallel: u32 = 0
  /** Kinds of norms; 0: none. */
  mixerInKind: u32 = 0
  mixerInEps: f32 = NaN
  mixerOutKind: u32 = 0
  mixerOutEps: f32 = NaN
  ffnInKind: u32 = 0
  ffnInEps: f32 = NaN
  ffnOutKind: u32 = 0
  ffnOutEps: f32 = NaN
}

/** Behind a LayerKind whose mixer keeps a state: models/state.ts has the picture. */
export class Recurrence {
  /** Tokens that an output of the convolution depends on, and numbers that pass it. */
  taps: u32 = 0
  channels: u32 = 0
  /** 0, all of them, where there is nothing but the convolution. */
  keyHeads: u32 = 0
  keyDim: u32 = 0
  valueHeads: u32 = 0
  valueDim: u32 = 0
  /** Value head j reads key head j mod keyHeads, instead of j · keyHeads / valueHeads. */
  isTiled: u32 = 0
  eps: f32 = NaN
}

/** Weights (rows × cols); a row, or eight rows where they lie in blocks, takes `stride` bytes, padded. */
export class Matrix {
  type: u32 = 0
  rows: u32 = 0
  cols: u32 = 0
  stride: u32 = 0
  /** Offsets. */
  data: u32 = 0
  scales: u32 = 0
}

/** A layer of the model. */
export class Layer {
  /** Offset of its LayerKind. */
  kind: u32 = 0
  pageKind: u32 = 0
  /** Which of the layers of its page kind it is. */
  pageLayer: u32 = 0
  /** Offsets of vectors, 0 if absent. */
  mixerInNorm: u32 = 0
  mixerInNormBias: u32 = 0
  inBias: u32 = 0
  lowNorm: u32 = 0
  queryBias: u32 = 0
  queryNorm: u32 = 0
  slotNorm: u32 = 0
  decoderBias: u32 = 0
  outBias: u32 = 0
  mixerOutNorm: u32 = 0
  mixerOutNormBias: u32 = 0
  ffnInNorm: u32 = 0
  ffnInNormBias: u32 = 0
  gateUpBias: u32 = 0
  downBias: u32 = 0
  ffnOutNorm: u32 = 0
  ffnOutNormBias: u32 = 0
}

/** A layer whose mixer keeps a state: a Layer, but that the vectors of its mixer are others. */
export class StateLayer {
  kind: u32 = 0
  pageKind: u32 = 0
  pageLayer: u32 = 0
  mixerInNorm: u32 = 0
  mixerInNormBias: u32 = 0
  inBias: u32 = 0
  /** f32 (taps, channels), the current token last; f32 (channels). */
  conv: u32 = 0
  convBias: u32 = 0
  /** f32 (valueHeads): the logarithm of how fast a state fades; f32 (valueDim). */
  decay: u32 = 0
  stateNorm: u32 = 0
  /** 0. */
  unused: u32 = 0
  outBias: u32 = 0
  mixerOutNorm: u32 = 0
  mixerOutNormBias: u32 = 0
  ffnInNorm: u32 = 0
  ffnInNormBias: u32 = 0
  gateUpBias: u32 = 0
  downBias: u32 = 0
  ffnOutNorm: u32 = 0
  ffnOutNormBias: u32 = 0
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

/** What layout() is asked for; behind it u32[MAX_PAGE_KINDS]: pages in memory, of each page kind. */
export class LayoutRequest {
  /** Address of the plan. */
  plan: u32 = 0
  /** Bytes of the plan and of the tensors that follow it; 0: there are none, the layout is only counted. */
  weights: u32 = 0
  /** The first address that is free: behind the weights. */
  start: u32 = 0
  /** Rows of a step at most, and those of them that may want logits. */
  maxRows: u32 = 0
  maxLogits: u32 = 0
  /** Blocks of PAGE_TOKENS tokens that there can be. */
  blocks: u32 = 0
  /** Pages of a buffer for those that are not in memory. */
  streamPages: u32 = 0
  conversations: u32 = 0
  /** Blocks that one conversation may have. */
  tableBlocks: u32 = 0
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
  /** 1: only what the mask of its conversation allows is sampled. */
  isMasked: u32 = 0
  /** How many of the biases of its conversation are added to logits. */
  biases: u32 = 0
  /** Logits of tokens from position `generatedFrom` on are lowered: once, and by so much for each time that they came. */
  presencePenalty: f32 = NaN
  frequencyPenalty: f32 = NaN
  generatedFrom: u32 = 0
  /** 1: keep its hidden state behind the last norm. Not together with logits. */
  wantsState: u32 = 0
}

/** A number that is added to the logit of a token. */
export class Bias {
  token: u32 = 0
  value: f32 = NaN
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
