/** What the shaders of attention must know of a layer kind: widths, places in a page, who shares what. assembly/sizes.ts has the same. */
import { type Layer, MIXER_ATTENTION, MIXER_CONV, PAGE_TOKENS } from '../../../assembly/abi.ts'
import type { GpuLayerKind } from './plan.ts'

/** Bytes of a vec4 of the shaders. */
const FOUR = 16

/** Numbers, padded as rows of f32 are. */
export const padded = (numbers: number): number => Math.ceil(numbers / 16) * 16

/** vec4 of so many numbers; blocks of an int8 cache. */
export const foursOf = (numbers: number): number => Math.ceil(numbers / 4)

/** A slot of the cache row. */
export interface SlotFacts {
  heads: number
  dim: number
  rope: number
  norm: number
  eps: number
}

export const slotsOf = (kind: GpuLayerKind): [SlotFacts, SlotFacts] => [
  { heads: kind.slot0Heads, dim: kind.slot0Dim, rope: kind.slot0Rope, norm: kind.slot0Norm, eps: kind.slot0Eps },
  { heads: kind.slot1Heads, dim: kind.slot1Dim, rope: kind.slot1Rope, norm: kind.slot1Norm, eps: kind.slot1Eps },
]

/** Width of one map's query as it is projected. */
export const queryDim = (kind: GpuLayerKind): number => (kind.encoderDim || kind.key0Dim) + kind.key1Dim

/** Numbers of the fused projection before the row, and before the gate. */
export const queryWidth = (kind: GpuLayerKind): number => kind.queryRank || kind.maps * queryDim(kind)
export const rowWidth = (kind: GpuLayerKind): number =>
  slotsOf(kind).reduce((sum, { heads, dim }) => sum + heads * dim, 0)

/** Where the mixer keeps a state: numbers that pass the convolution of a delta net, and that enter W_out. */
export const convolvedWidth = ({ mixer, recurrence }: GpuLayerKind): number =>
  recurrence && mixer !== MIXER_CONV ? recurrence.channels : 0
export function stateWidth({ mixer, recurrence }: GpuLayerKind): number {
  if (!recurrence) return 0
  return mixer === MIXER_CONV ? recurrence.channels : recurrence.valueHeads * recurrence.valueDim
}

/** Numbers from one map's average to the next: padded where each is the input of a matrix of its own. */
export const averageStride = (kind: GpuLayerKind): number => (kind.hasDecoder ? padded(kind.valueDim) : kind.valueDim)

/** Bytes of a slot head of a page. */
function headBytes(dim: number, isInt8: boolean): number {
  return PAGE_TOKENS * (isInt8 ? 4 + 4 * foursOf(dim) : FOUR * foursOf(dim))
}

/** Bytes of a layer of a page. */
export function layerStride(kind: GpuLayerKind, isInt8: boolean): number {
  const bytes = slotsOf(kind).reduce((sum, { heads, dim }) => sum + heads * headBytes(dim, isInt8), 0)
  return Math.ceil(bytes / 64) * 64
}

/** Is a slot nothing but key, and each view of it as wide as it is? */
function isKeyOnly(kind: GpuLayerKind, slot: 0 | 1): boolean {
  if (slot === kind.valueSlot) return false
  const { dim } = slotsOf(kind)[slot]
  if (kind.key0Slot === slot && (kind.encoderDim || kind.key0Dim !== dim)) return false
  return !kind.key1Dim || kind.key1Slot !== slot || kind.key1Dim === dim
}

/** Are its heads spread before int8 rounds them? */
export const isSpread = (kind: GpuLayerKind, slot: 0 | 1, isInt8: boolean): boolean => isInt8 && isKeyOnly(kind, slot)

/** Are large biases of its keys kept apart? assembly/mixers/key-bias.ts. */
export function isBiasApart({ inBias }: Layer, kind: GpuLayerKind, slot: 0 | 1, isInt8: boolean): boolean {
  return isSpread(kind, slot, isInt8) && inBias !== 0 && !kind.softcap && !slotsOf(kind)[slot].norm
}

export const keySlots = (kind: GpuLayerKind) => [kind.key0Slot, kind.key1Slot] as [0 | 1, 0 | 1]

/** Pairs of the biases that each view may meet; 0: none is kept apart. */
export function biasPairs(layer: Layer, kind: GpuLayerKind, isInt8: boolean): [number, number] {
  const dims = [kind.key0Dim, kind.key1Dim]
  const [first, second] = keySlots(kind).map((slot, view) =>
    dims[view] && isBiasApart(layer, kind, slot, isInt8) ? slotsOf(kind)[slot].rope / 2 : 0,
  )
  return [first ?? 0, second ?? 0]
}

/** vec4 of a query as the sweep reads it: attention-prepared.wgsl. */
export function queryFours(kind: GpuLayerKind, isInt8: boolean, pairs: readonly number[]): number {
  const views = [kind.key0Dim, kind.key1Dim].map(foursOf)
  if (!isInt8) return views.reduce((sum, fours) => sum + fours, 0)
  return [...views.map((fours) => Math.ceil(fours / 2)), ...pairs].reduce((sum, fours) => sum + fours, 1)
}

/** Maps that read the same slot heads. */
export interface Group {
  /** vec4 in a layer of a page before key 0, key 1 and value. */
  at: [number, number, number]
  maps: number[]
}

export function groupsOf(kind: GpuLayerKind, isInt8: boolean): Group[] {
  const [first, second] = slotsOf(kind)
  const atOf = (slot: number, head: number) => {
    const before = slot ? first.heads * headBytes(first.dim, isInt8) : 0
    return (before + head * headBytes((slot ? second : first).dim, isInt8)) / FOUR
  }
  const groups = new Map<string, Group>()
  for (let map = 0; map < kind.maps; map++) {
    const [key0, key1, value] = kind.heads.map((heads) => heads[map] ?? 0) as [number, number, number]
    const at: Group['at'] = [
      atOf(kind.key0Slot, key0),
      kind.key1Dim ? atOf(kind.key1Slot, key1) : 0,
      atOf(kind.valueSlot, value),
    ]
    const group = groups.get(at.join()) ?? { at, maps: [] }
    group.maps.push(map)
    groups.set(at.join(), group)
  }
  return [...groups.values()]
}

export const isAttention = (kind: GpuLayerKind): boolean => kind.mixer === MIXER_ATTENTION
