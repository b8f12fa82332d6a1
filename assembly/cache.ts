/**
 * The KV cache. A block is PAGE_TOKENS tokens of a conversation; of each page kind it has a page, or none where no row sees
 * it any more. The host owns the tables.
 *
 *     page   = the layers of one page kind                    pageStride
 *     layer  = heads of slot 0 ┃ heads of slot 1              layerStride, 64 byte aligned
 *
 * tables say which block, places where its page of a kind lies: the n-th in memory, or, with the highest bit, the n-th of
 * those that are streamed from a file, of which two layers are in memory at a time (stream.ts); or it is NO_PAGE.
 *
 *     head, f32    (PAGE_TOKENS, dim padded to 4) f32
 *     head, int8   scales f32[PAGE_TOKENS], then 16 byte blocks (token / 4, dim / 4) of 4 tokens × 4 dims:
 *
 *                  t0d0 t0d1 t0d2 t0d3 ┃ t1d0 … ┃ t2d0 … ┃ t3d0 … t3d3
 *
 * One block serves both products, so a slot can be key and value at once. Keys: four bytes of a token meet four of q, no
 * sum across tokens. Values: transposed by one shuffle, four tokens of a dim meet four weights.
 */
import { IN_FILE, Layer, LayerKind, NO_PAGE, PAGE_TOKENS, Plan } from './abi'
import { arena, mine, pagesOf } from './arena'
import { countWritten } from './count'
import { hadamard } from './kernels/hadamard'
import { quantizeHead } from './kernels/quantize'
import { rotate, writeAngles } from './kernels/rope'
import { kindOf, layerAt, rotationAt } from './plan'
import { headBytes, isKeyOnly, layerStride, slotBytes, streamStride } from './sizes'
import { isMine } from './team'

/** The block that holds `position` of a conversation. */
function blockOf(conversation: u32, position: u32): u32 {
  const a = arena()
  const entry = conversation * a.tableBlocks + position / PAGE_TOKENS
  const block = load<u32>(a.tables + (entry << 2))
  assert(block < a.blocks)
  return block
}

/** Where the page of a layer's kind lies. */
function placeOf(layer: Layer, block: u32): u32 {
  const a = arena()
  return load<u32>(a.places + ((layer.pageKind * a.blocks + block) << 2))
}

/** Address of a layer's part of its page of a block, which must be there. */
function layerOf(plan: Plan, layer: Layer, block: u32): usize {
  const a = arena()
  const place = placeOf(layer, block)
  if (!(place & IN_FILE)) {
    const pages = pagesOf(layer.pageKind)
    return pages.at + place * pages.stride + layer.pageLayer * layerStride(kindOf(plan, layer), a.isCacheInt8)
  }
  assert(a.isStreaming && (place & ~IN_FILE) < a.streamPages)
  // What is streamed has one page kind, so this is the layer of the model.
  const half = (a.streamed + layer.pageLayer) & 1
  return a.stream + (half * a.streamPages + (place & ~IN_FILE)) * streamStride(plan, a.isCacheInt8)
}

/** Address of a layer's part of the page that holds `position` of a conversation. */
export function pageAt(plan: Plan, layer: Layer, conversation: u32, position: u32): usize {
  return layerOf(plan, layer, blockOf(conversation, position))
}

/** Address of the u32 token of each row of a block. */
function historyOf(block: u32): usize {
  return arena().history + ((block * PAGE_TOKENS) << 2)
}

/** Address of the u32 token at `position` of a conversation. */
export function tokenAt(conversation: u32, position: u32): usize {
  return historyOf(blockOf(conversation, position)) + ((position % PAGE_TOKENS) << 2)
}

/**
 * Are the heads of a slot, and the queries that meet them, spread by a Hadamard rotation before int8 rounds them? Only where
 * a slot is nothing but key, and each view of it is as wide as it is: an average of values would have to be turned back.
 */
export function isSpread(kind: LayerKind, slot: u32): bool {
  return arena().isCacheInt8 && isKeyOnly(kind, slot)
}

/** Writes a row, normed and rotated, into the cache: f32 slot heads one after the other at `source`. */
export function writeRow(plan: Plan, layer: Layer, conversation: u32, position: u32, source: usize): void {
  const kind = kindOf(plan, layer)
  const isInt8 = arena().isCacheInt8
  let target = pageAt(plan, layer, conversation, position)
  const token = position % PAGE_TOKENS
  for (let h: u32 = 0; h < kind.slot0Heads + kind.slot1Heads; h++) {
    const dim = h < kind.slot0Heads ? kind.slot0Dim : kind.slot1Dim
    if (isInt8) writeInt8(target, token, source, dim)
    else writeF32(target, token, source, dim)
    countWritten(dim)
    source += dim << 2
    target += headBytes(dim, isInt8)
  }
}

/** The padding is written too: a reused page must not bring old bytes into a dot product. */
function writeF32(head: usize, token: u32, source: usize, dim: u32): void {
  const padded = (dim + 3) & ~3
  const target = head + ((token * padded) << 2)
  memory.copy(target, source, dim << 2)
  memory.fill(target + (dim << 2), 0, (padded - dim) << 2)
}

function writeInt8(head: usize, token: u32, source: usize, dim: u32): void {
  const blocks = (dim + 3) >> 2
  const data = head + (PAGE_TOKENS << 2) + (((token >> 2) * blocks) << 4) + ((token & 3) << 2)
  store<f32>(head + (token << 2), quantizeHead(source, dim, data))
}

/**
 * Writes the pages of block `target`: those of block `source` with their keys rotated on by `delta` positions. RoPE makes
 * scores depend on the distance alone, so these are the keys of the same tokens, `delta` positions later. Slots without
 * rotation are copied; of a slot that is rotated in part, int8 rounds all of it again, because its scale is that of the
 * whole head. A page that is not there is left out. Every rank takes layers.
 */
export function turnBlock(plan: Plan, source: u32, target: u32, delta: u32): void {
  const a = arena()
  const angles = mine(a.turned)
  let turned: u32 = 0
  for (let index: u32 = 0; index < plan.nLayers; index++) {
    if (!isMine(index)) continue
    const layer = layerAt(plan, index)
    if (placeOf(layer, source) == NO_PAGE || placeOf(layer, target) == NO_PAGE) continue
    const kind = kindOf(plan, layer)
    const from = layerOf(plan, layer, source)
    const to = layerOf(plan, layer, target)
    memory.copy(to, from, layerStride(kind, a.isCacheInt8))
    if (!kind.rotation) continue
    const rotation = rotationAt(plan, kind.rotation)
    const key = angles + (rotation.dim << 2)
    // The magnitude is in the keys already. Layers in a row mostly share their angles.
    if (turned != kind.rotation) writeAngles(angles, delta, a.plan + rotation.invFreq, rotation.dim >> 1, 1)
    turned = kind.rotation
    turnSlot(kind, 0, to, angles, key)
    turnSlot(kind, 1, to + slotBytes(kind, 0, a.isCacheInt8), angles, key)
  }
  if (isMine(0)) memory.copy(historyOf(target), historyOf(source), PAGE_TOKENS << 2)
}

function turnSlot(kind: LayerKind, slot: u32, head: usize, angles: usize, key: usize): void {
  const heads = slot ? kind.slot1Heads : kind.slot0Heads
  const dim = slot ? kind.slot1Dim : kind.slot0Dim
  const rope = slot ? kind.slot1Rope : kind.slot0Rope
  if (!rope) return
  const isInt8 = arena().isCacheInt8
  const spread = isSpread(kind, slot)
  for (let h: u32 = 0; h < heads; h++) {
    for (let token: u32 = 0; token < PAGE_TOKENS; token++) {
      if (isInt8) readInt8(head, token, key, dim)
      else memory.copy(key, head + ((token * ((dim + 3) & ~3)) << 2), dim << 2)
      if (spread) hadamard(key, dim)
      rotate(key, angles, rope >> 1)
      if (spread) hadamard(key, dim)
      if (isInt8) writeInt8(head, token, key, dim)
      else writeF32(head, token, key, dim)
    }
    head += headBytes(dim, isInt8)
  }
}

function readInt8(head: usize, token: u32, target: usize, dim: u32): void {
  const blocks = (dim + 3) >> 2
  const data = head + (PAGE_TOKENS << 2) + (((token >> 2) * blocks) << 4) + ((token & 3) << 2)
  const scale = load<f32>(head + (token << 2))
  for (let i: u32 = 0; i < dim; i++)
    store<f32>(target + (i << 2), (load<i8>(data + ((i & ~3) << 2) + (i & 3)) as f32) * scale)
}
