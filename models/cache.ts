/**
 * Pages of the KV cache. A page holds PAGE_TOKENS tokens of the layers of one *page kind*: those with the same row and the
 * same window, so that what is laid out alike is also given back alike. Of layers that keep a state instead of rows, a page is
 * the state behind the last of these tokens (state.ts).
 */
import { PAGE_TOKENS as ENGINE_PAGE_TOKENS } from '../assembly/abi.ts'
import { cacheElements, cacheHeads } from './attention.ts'
import type { LayerSpec } from './layer.ts'
import { countedLayers, type ModelSpec } from './spec.ts'
import { STATE_WINDOW, stateBytes, stateNumbers } from './state.ts'

export const cacheTypes = ['f32', 'int8'] as const
export type CacheType = (typeof cacheTypes)[number]

/** Tokens per page of the KV cache. */
export const PAGE_TOKENS: number = ENGINE_PAGE_TOKENS

export interface PageKind {
  /** One of the distinct layers that have it; the others differ in nothing that concerns a page. */
  layer: LayerSpec
  /** Index of that one in `ModelSpec.layers`. */
  layerIndex: number
  /** Layers of the model that have it. */
  count: number
  /** Of layers that keep a state: pages for each block, besides those that conversations need. */
  snapshots: number
}

/** The page kinds of a model in the order of their first layers, and the one of each distinct layer. */
export function pageKinds(spec: ModelSpec): { kinds: PageKind[]; kindOf: number[] } {
  const kinds: { shape: string; layer: LayerSpec; layerIndex: number; count: number }[] = []
  const kindOf = countedLayers(spec).map(({ layer, count }, layerIndex) => {
    const shape = shapeOf(layer)
    const index = kinds.findIndex((kind) => kind.shape === shape)
    if (index < 0) return kinds.push({ shape, layer, layerIndex, count }) - 1
    ;(kinds[index] as { count: number }).count += count
    return index
  })
  const snapshots = snapshotsPerBlock(spec)
  return { kinds: kinds.map(({ layer, layerIndex, count }) => ({ layer, layerIndex, count, snapshots })), kindOf }
}

/** Snapshots of states take as much memory as rows do in an int8 cache, at most: then there is one of so many blocks. */
function snapshotsPerBlock(spec: ModelSpec): number {
  let [rows, states] = [0, 0]
  for (const { layer, count } of countedLayers(spec)) {
    const bytes = count * layerPageBytes(layer, 'int8')
    if (layer.mixer.is === 'attention') rows += layer.mixer.window === undefined ? bytes : 0
    else states += bytes
  }
  return states === 0 ? 0 : Math.min(1, rows / states)
}

/** Tokens that a row looks back, itself among them; undefined: to the first. */
export function windowOf({ mixer }: LayerSpec): number | undefined {
  return mixer.is === 'attention' ? mixer.window : STATE_WINDOW
}

function shapeOf({ mixer }: LayerSpec): string {
  if (mixer.is !== 'attention') return JSON.stringify({ ...mixer, bias: undefined })
  const slots = Object.values(mixer.slots).map(({ heads, dim }) => `${heads} × ${dim}`)
  return `${slots.join(' | ')}, window ${mixer.window ?? 'none'}`
}

/**
 * Rows that a layer keeps of a conversation of `context` tokens: with a window those in it, and a page, since pages are given
 * back whole; one state, where it keeps a state.
 */
export function keptTokens({ mixer }: LayerSpec, context: number): number {
  if (mixer.is !== 'attention') return Math.min(context, 1)
  return mixer.window === undefined ? context : Math.min(context, mixer.window + PAGE_TOKENS)
}

/**
 * (query, key) pairs of `count` tokens behind `before` others: each sees those before it and itself, as far as its window; or a
 * state.
 */
export function pairsSeen({ mixer }: LayerSpec, before: number, count: number): number {
  if (mixer.is !== 'attention') return count
  const all = (n: number) => (n * (n + 1)) / 2
  const within = (n: number) => {
    const { window } = mixer
    return window === undefined || n <= window ? all(n) : all(window) + (n - window) * window
  }
  return within(before + count) - within(before)
}

/**
 * Bytes that one token leaves in the cache of one layer: numbers, and the scales that int8 adds (one f32 per slot head). Of a
 * layer that keeps a state, all of it, which is f32 always.
 */
export function rowBytes({ mixer }: LayerSpec, type: CacheType): number {
  if (mixer.is !== 'attention') return stateBytes(mixer)
  return type === 'f32' ? 4 * cacheElements(mixer) : cacheElements(mixer) + 4 * cacheHeads(mixer)
}

/** Bytes of a page's part for one layer, as the engine allocates it: dims padded to 4, layers and parts of a state to 64 bytes. */
export function layerPageBytes({ mixer }: LayerSpec, type: CacheType): number {
  if (mixer.is !== 'attention') {
    const { columns, matrices } = stateNumbers(mixer)
    return 64 * (Math.ceil(columns / 16) + Math.ceil(matrices / 16))
  }
  const bytes = Object.values(mixer.slots).reduce((sum, { heads, dim }) => {
    const padded = 4 * Math.ceil(dim / 4)
    return sum + heads * PAGE_TOKENS * (type === 'f32' ? 4 * padded : padded + 4)
  }, 0)
  return 64 * Math.ceil(bytes / 64)
}

/** Bytes of a page of one kind. */
export function kindPageBytes({ layer, count }: Pick<PageKind, 'layer' | 'count'>, type: CacheType): number {
  return count * layerPageBytes(layer, type)
}

/**
 * Pages of one kind for `blocks` blocks of PAGE_TOKENS tokens. With a window, a conversation needs those that the rows of a
 * step see, up to `rows` of them, and one more, so that it can go back a little; and the blocks are those of so many
 * conversations as fill their context of `tableBlocks`, one of them with a block to spare. A state is a window of two, and there
 * are snapshots besides.
 */
export function pagesOfKind(
  { layer, snapshots }: PageKind,
  blocks: number,
  { rows, tableBlocks, conversations }: { rows: number; tableBlocks: number; conversations: number },
): number {
  const window = windowOf(layer)
  if (window === undefined) return blocks
  const each = Math.ceil((window + rows) / PAGE_TOKENS) + 2
  const full = Math.min(conversations, Math.max(1, Math.ceil((blocks - 1) / tableBlocks)))
  const spare = layer.mixer.is === 'attention' ? 0 : Math.floor(blocks * snapshots)
  return Math.min(blocks, full * each + spare)
}

/** Bytes of all pages for so many blocks. */
export function poolBytes(
  spec: ModelSpec,
  type: CacheType,
  blocks: number,
  sizes: Parameters<typeof pagesOfKind>[2],
): number {
  return pageKinds(spec).kinds.reduce(
    (sum, kind) => sum + pagesOfKind(kind, blocks, sizes) * kindPageBytes(kind, type),
    0,
  )
}

/** Bytes of the pages of one block, all kinds. */
export function pageBytes(spec: ModelSpec, type: CacheType): number {
  return countedLayers(spec).reduce((sum, { layer, count }) => sum + count * layerPageBytes(layer, type), 0)
}
