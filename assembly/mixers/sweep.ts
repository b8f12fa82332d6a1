/**
 * The sweep of attention over the cache: o_j = Σ softmax(scale · q_j · key(t)) · value(t), over the tokens that a row sees: its own
 * and those before it, as far as a window. For every map j.
 *
 * Rows that see the same pages meet each page together, with all maps that share a head of it: the head is made ready once, and stays in the
 * processor's first cache. The queries of a tile, and all that belongs to them, are ordered by map, then row:
 *
 *     query n = j · rows + r        map j of row r
 *
 * Bit identity: the unit of the sweep is one page. Each page gives (max, sum, o) per query, and pages are combined in page
 * order, so neither the batch, nor the tile, nor the number of ranks can change a bit.
 */
import { Layer, PAGE_TOKENS, Plan, WAVE } from '../abi'
import { arena, mine, rowAt } from '../arena'
import { pageAt } from '../cache'
import { rank } from '../host'
import { kindOf } from '../plan'
import { RowTile } from '../row-tile'
import { partialStride, tileRows } from '../sizes'
import { barrier, isMine, next, ranks } from '../team'
import { combine, finishAverage, hiddenBefore, sweepPage, tokensIn } from './sweep-page'
import { prepareQueries } from './sweep-queries'

/**
 * Many rows: each rank takes its own. Few rows, fewer than keep all ranks busy: the ranks share the pages of each.
 */
export function sweep(plan: Plan, layer: Layer, count: u32): void {
  const tile = changetype<RowTile>(mine(arena().rowTile))
  tile.plan = plan
  tile.layer = layer
  tile.kind = kindOf(plan, layer)
  tile.step = ranks()
  if (count % ranks() != 0 && count < 2 * ranks()) {
    for (let i: u32 = 0; i < count; i++) {
      take(tile, i, i + 1)
      if (tile.last > 0) sweepTogether(tile)
      else if (isMine(i)) sweepTile(tile)
    }
    return
  }
  for (let i: u32 = rank; i < count; i += tile.rows * ranks()) {
    take(tile, i, count)
    sweepTile(tile)
  }
}

/** A tile of row `first` and what may go with it of its rank's rows before `end`. */
function take(tile: RowTile, first: u32, end: u32): void {
  const row = rowAt(first)
  const kind = tile.kind
  tile.first = first
  tile.start = hiddenBefore(kind, first) / PAGE_TOKENS
  tile.last = row.position / PAGE_TOKENS
  tile.rows = 1
  for (const most = tileRows(kind); tile.rows < most; tile.rows++) {
    const i = tile.row(tile.rows)
    if (i >= end || rowAt(i).conversation != row.conversation) return
    if (rowAt(i).position / PAGE_TOKENS != tile.last || hiddenBefore(kind, i) / PAGE_TOKENS != tile.start) return
  }
}

function sweepTile(tile: RowTile): void {
  const kind = tile.kind
  prepareQueries(tile)
  for (let page = tile.start; page <= tile.last; page++) {
    enterPage(tile, page)
    sweepPage(tile, 0)
  }
  for (let j: u32 = 0; j < kind.maps; j++) for (let r: u32 = 0; r < tile.rows; r++) finishAverage(tile, j, r)
}

/** A tile of one row. Every rank takes pages, WAVE of them at a time; then each map is combined, in page order, by one rank. */
function sweepTogether(tile: RowTile): void {
  const a = arena()
  const kind = tile.kind
  const stride = partialStride(kind)
  const pages = tile.last + 1
  prepareQueries(tile)
  for (let first = tile.start; first < pages; first += WAVE) {
    const n = min<u32>(WAVE, pages - first)
    for (let p = next(); p < n; p = next()) {
      enterPage(tile, first + p)
      sweepPage(tile, a.pagePartials + p * kind.maps * stride)
    }
    barrier()
    for (let j: u32 = 0; j < kind.maps; j++) {
      if (!isMine(j)) continue
      for (let p: u32 = 0; p < n; p++)
        combine(tile, j, 0, a.pagePartials + (p * kind.maps + j) * stride, first + p == tile.start)
      if (first + n == pages) finishAverage(tile, j, 0)
    }
    barrier()
  }
}

function enterPage(tile: RowTile, page: u32): void {
  const row = rowAt(tile.first)
  tile.page = page
  tile.address = pageAt(tile.plan, tile.layer, row.conversation, page * PAGE_TOKENS)
  tile.tokens = 0
  for (let r: u32 = 0; r < tile.rows; r++) tile.tokens = max(tile.tokens, tokensIn(tile, r))
}
