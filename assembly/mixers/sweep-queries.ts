/** The queries of a tile as its sweep reads them: by key view, then map, then row. */
import { LayerKind } from '../abi'
import { arena, mine, queryAt } from '../arena'
import { quantizeQuery } from '../kernels/quantize'
import { queryStream } from '../kernels/sweep'
import { buffersOf } from '../plan'
import { RowTile } from '../row-tile'
import { queryDim, sweepQueryBytes, tileQueries } from '../sizes'
import { prepareKeyBias } from './key-bias'

/** Address of query n against a key view; those of the same view follow. */
export function sweepQuery(kind: LayerKind, view: u32, n: u32): usize {
  const first = mine(arena().sweepQueries)
  if (!view) return first + n * sweepQueryBytes(kind.key0Dim)
  return first + tileQueries(kind) * sweepQueryBytes(kind.key0Dim) + n * sweepQueryBytes(kind.key1Dim)
}

/** Address of the f32 that makes the sums of query n and a key view scores; those of the same view follow. */
export function queryScale(kind: LayerKind, view: u32, n: u32): usize {
  return mine(arena().queryScales) + ((view * tileQueries(kind) + n) << 2)
}

export function prepareQueries(tile: RowTile): void {
  for (let r: u32 = 0; r < tile.rows; r++) prepareRow(tile, r)
}

function prepareRow(tile: RowTile, r: u32): void {
  const a = arena()
  const plan = tile.plan
  const layer = tile.layer
  const kind = tile.kind
  const i = tile.row(r)
  const plain = kind.encoderDim ? kind.encoderDim : kind.key0Dim
  const queries = queryAt(plan, kind, i)
  const encoded = a.encoded + i * buffersOf(plan).encoded
  for (let j: u32 = 0; j < kind.maps; j++) {
    const n = j * tile.rows + r
    const q = queries + ((j * queryDim(kind)) << 2)
    prepareQuery(kind, 0, n, kind.encoderDim ? encoded + ((j * kind.key0Dim) << 2) : q)
    if (kind.key1Dim) prepareQuery(kind, 1, n, q + (plain << 2))
    if (!layer.inBias) continue
    prepareKeyBias(plan, layer, 0, i, j, n, q)
    if (kind.key1Dim) prepareKeyBias(plan, layer, 1, i, j, n, q + (plain << 2))
  }
}

/** Integers for an int8 cache, else f32 padded with zeros to 4. */
function prepareQuery(kind: LayerKind, view: u32, n: u32, source: usize): void {
  const dim = view ? kind.key1Dim : kind.key0Dim
  const target = sweepQuery(kind, view, n)
  const scale = queryScale(kind, view, n)
  if (arena().isCacheInt8) {
    store<f32>(scale, quantizeQuery(source, dim, target, queryStream(dim)) * kind.scale)
  } else {
    memory.copy(target, source, dim << 2)
    memory.fill(target + (dim << 2), 0, (-dim & 3) << 2)
    store<f32>(scale, kind.scale)
  }
}
