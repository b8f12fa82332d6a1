/**
 * Pages of the KV cache. A page holds PAGE_TOKENS tokens of the layers of one *page kind*: those with the same row and the
 * same window, so that what is laid out alike is also given back alike.
 */
import { PAGE_TOKENS as ENGINE_PAGE_TOKENS } from '../assembly/abi.ts'
import { cacheElements, cacheHeads } from './attention.ts'
import type { LayerSpec } from './layer.ts'
import { countedLayers, type ModelSpec } from './spec.ts'

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
}

/** The page kinds of a model in the order of their first layers, and the one of each distinct layer. */
export function pageKinds(spec: ModelSpec): { kinds: PageKind[]; kindOf: number[] } {
  const kinds: (PageKind & { shape: string })[] = []
  const kindOf = countedLayers(spec).map(({ layer, count }, layerIndex) => {
    const shape = shapeOf(layer)
    const index = kinds.findIndex((kind) => kind.shape === shape)
    if (index < 0) return kinds.push({ shape, layer, layerIndex, count }) - 1
    ;(kinds[index] as PageKind).count += count
    return index
  })
  return { kinds: kinds.map(({ layer, layerIndex, count }) => ({ layer, layerIndex, count })), kindOf }
}

function shapeOf({ mixer }: LayerSpec): string {
  const slots = Object.values(mixer.slots).map(({ heads, dim }) => `${heads} × ${dim}`)
  return `${slots.join(' | ')}, window ${mixer.window ?? 'none'}`
}

/** Tokens that a layer keeps of a conversation of `context`: with a window those in it, and a page, since pages are given back whole. */
export function keptTokens({ mixer }: LayerSpec, context: number): number {
  return mixer.window === undefined ? context : Math.min(context, mixer.window + PAGE_TOKENS)
}

/** (query, key) pairs of `count` tokens behind `before` others: each sees those before it and itself, as far as its window. */
export function pairsSeen({ mixer }: LayerSpec, before: number, count: number): number {
  const all = (n: number) => (n * (n + 1)) / 2
  const within = (n: number) => {
    const { window } = mixer
    return window === undefined || n <= window ? all(n) : all(window) + (n - window) * window
  }
  return within(before + count) - within(before)
}

/** Bytes that one token leaves in the cache of one layer: numbers, and the scales that int8 adds (one f32 per slot head). */
export function rowBytes({ mixer }: LayerSpec, type: CacheType): number {
  return type === 'f32' ? 4 * cacheElements(mixer) : cacheElements(mixer) + 4 * cacheHeads(mixer)
}

/** Bytes of a page's part for one layer, as the engine allocates it: dims padded to 4, layers to 64 bytes. */
export function layerPageBytes({ mixer }: LayerSpec, type: CacheType): number {
  const bytes = Object.values(mixer.slots).reduce((sum, { heads, dim }) => {
    const padded = 4 * Math.ceil(dim / 4)
    return sum + heads * PAGE_TOKENS * (type === 'f32' ? 4 * padded : padded + 4)
  }, 0)
  return 64 * Math.ceil(bytes / 64)
}

/** Bytes of a page of one kind. */
export function kindPageBytes({ layer, count }: PageKind, type: CacheType): number {
  return count * layerPageBytes(layer, type)
}

/**
 * Pages of one kind for `blocks` blocks of PAGE_TOKENS tokens. With a window, a conversation needs those that the rows of a
 * step see, up to `rows` of them, and one more, so that it can go back a little; and the blocks are those of so many
 * conversations as fill their context of `tableBlocks`, one of them with a block to spare.
 */
export function pagesOfKind(
  { layer }: PageKind,
  blocks: number,
  { rows, tableBlocks, conversations }: { rows: number; tableBlocks: number; conversations: number },
): number {
  const { window } = layer.mixer
  if (window === undefined) return blocks
  const each = Math.ceil((window + rows) / PAGE_TOKENS) + 2
  const full = Math.min(conversations, Math.max(1, Math.ceil((blocks - 1) / tableBlocks)))
  return Math.min(blocks, full * each)
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
