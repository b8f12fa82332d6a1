/**
 * How the sweep shares out the rows of a step. A tile is some rows of one conversation, one behind the other, that one
 * workgroup takes through the pages together. Where there are few tiles, each chunk of pages has workgroups of its own, and
 * their results are merged (attention-merge.wgsl); a row has the same bits either way.
 */
import { PAGE_TOKENS } from '../../../assembly/abi.ts'
import type { Row } from '../engine.ts'

/** Rows of a tile at most. */
export const TILE_ROWS = 8
/** From so many tiles on, workgroups are enough without a share of the pages for each. */
const ENOUGH_TILES = 32

/** What the sweep must know of a step, beside its rows. */
export interface TileSizes {
  tiles: number
  /** Rows of the largest. */
  tileRows: number
  /** Chunks that have workgroups of their own; 1: all of them have the same. */
  chunks: number
}

/** The chunk that a page is in: attention-chunks.wgsl. */
export function chunkOf(page: number): number {
  if (page < 16) return page
  if (page < 64) return 16 + ((page - 16) >> 1)
  if (page < 256) return 40 + ((page - 64) >> 2)
  return 88 + ((page - 256) >> 3)
}

/** u32 words of `tiles` in attention-sweep.wgsl for so many rows. */
export const tileWords = (maxRows: number): number => 2 * (1 + maxRows)

/**
 * Writes (chunks, are they apart?), then (first row, rows) of each tile. `room`: partial results, of a row and a chunk each,
 * that there is room for.
 */
export function writeTiles(rows: readonly Row[], room: number, words: Uint32Array): TileSizes {
  let tiles = 0
  let tileRows = 0
  for (let i = 0; i < rows.length; ) {
    const { conversation, position } = rows[i] as Row
    const first = i
    const isNext = ({ conversation: other, position: at }: Row) =>
      other === conversation && at === position + i - first && i - first < TILE_ROWS
    do i++
    while (i < rows.length && isNext(rows[i] as Row))
    tiles++
    words.set([first, i - first], 2 * tiles)
    tileRows = Math.max(tileRows, i - first)
  }
  const last = rows.reduce((most, { position }) => Math.max(most, position), 0)
  const all = 1 + chunkOf(Math.floor(last / PAGE_TOKENS))
  const chunks = tiles < ENOUGH_TILES && rows.length * all <= room ? all : 1
  words.set([chunks, Number(chunks > 1)])
  return { tiles, tileRows, chunks }
}
