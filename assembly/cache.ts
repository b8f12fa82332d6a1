/**
 * The KV cache: pages of PAGE_TOKENS rows, found through a page table per conversation. The host owns the tables.
 *
 *     page   = layer 0 ┃ layer 1 ┃ …                     pageStride
 *     layer  = heads of slot 0 ┃ heads of slot 1         layerStride, 64 byte aligned
 *
 *     head, f32    (PAGE_TOKENS, dim padded to 4) f32
 *     head, int8   scales f32[PAGE_TOKENS], then 16 byte blocks (token / 4, dim / 4) of 4 tokens × 4 dims:
 *
 *                  t0d0 t0d1 t0d2 t0d3 ┃ t1d0 … ┃ t2d0 … ┃ t3d0 … t3d3
 *
 * One block serves both products, so a slot can be key and value at once. Keys: four bytes of a token meet four of q, no
 * sum across tokens. Values: transposed by one shuffle, four tokens of a dim meet four weights.
 */
import { arena } from './arena'
import { CACHE_WRITTEN, count, IS_COUNTING } from './count'
import { quantizeHead } from './kernels/quantize'
import { Plan } from './plan'

/** models/cost.ts has the same number. A page is also the unit of the sweep: see attention.ts. */
export const PAGE_TOKENS: u32 = 64

export function headBytes(dim: u32, isInt8: u32): usize {
  const padded = (dim + 3) & ~3
  return isInt8 ? PAGE_TOKENS * (4 + padded) : PAGE_TOKENS * padded * 4
}

/** Bytes of a whole slot: 0 or 1. */
export function slotBytes(plan: Plan, slot: u32, isInt8: u32): usize {
  return slot ? plan.slot1Heads * headBytes(plan.slot1Dim, isInt8) : plan.slot0Heads * headBytes(plan.slot0Dim, isInt8)
}

function layerStride(plan: Plan, isInt8: u32): usize {
  return (slotBytes(plan, 0, isInt8) + slotBytes(plan, 1, isInt8) + 63) & ~63
}

export function pageStride(plan: Plan, isInt8: u32): usize {
  return plan.nLayers * layerStride(plan, isInt8)
}

/** Address of a layer's part of the page that holds `position` of a conversation. */
export function pageAt(plan: Plan, layer: u32, conversation: u32, position: u32): usize {
  const a = arena()
  const entry = conversation * a.tablePages + position / PAGE_TOKENS
  const page = load<u32>(a.tables + (entry << 2))
  assert(page < a.pages)
  return a.cache + page * pageStride(plan, a.isCacheInt8) + layer * layerStride(plan, a.isCacheInt8)
}

/** Writes a row, normed and rotated, into the cache: f32 slot heads one after the other at `source`. */
export function writeRow(plan: Plan, layer: u32, conversation: u32, position: u32, source: usize): void {
  const isInt8 = arena().isCacheInt8
  let target = pageAt(plan, layer, conversation, position)
  const token = position % PAGE_TOKENS
  for (let h: u32 = 0; h < plan.slot0Heads + plan.slot1Heads; h++) {
    const dim = h < plan.slot0Heads ? plan.slot0Dim : plan.slot1Dim
    if (isInt8) writeInt8(target, token, source, dim)
    else writeF32(target, token, source, dim)
    if (IS_COUNTING) count(CACHE_WRITTEN, isInt8 ? dim + 4 : dim << 2)
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
