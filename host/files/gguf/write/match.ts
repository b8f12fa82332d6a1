/**
 * Are two descriptions the same model, and which tensors of one are those of the other? What is written to a file is read
 * again before any weights are, and what the file could not say shows here, whatever it is.
 */
import {
  type AttentionSpec,
  layerOf,
  type ModelDescription,
  type ModelSpec,
  type Source,
  show,
} from '../../../../models/index.ts'

/** The attention of layer `index`: no model that is written has another mixer. */
export function attentionOf(spec: ModelSpec, index: number): AttentionSpec {
  return layerOf(spec, index).mixer as AttentionSpec
}

/** Where a tensor of the second description is in the first one's checkpoint. */
export interface Place {
  tensor: string
  shape: readonly number[]
  /** Rows of it, where it is a part. */
  rows?: number[]
  /** Factor of its numbers, after `plus` of the source. */
  factor?: number
}

export class Mismatch extends Error {}

/** Numbers that were f32 in between. */
const isClose = (a: number, b: number) => Math.abs(a - b) <= 1e-6 * Math.max(Math.abs(a), Math.abs(b))

/** The first difference between two models, layer by layer; undefined if there is none. Tokens that end a text are not the model. */
export function modelDifference(a: ModelSpec, b: ModelSpec): string | undefined {
  const shared = ({ kind, bos, eos, layers, order, ...others }: ModelSpec) => ({ ...others, layers: order.length })
  const found = difference(shared(a), shared(b))
  if (found) return found
  const seen = new Set<string>()
  for (let index = 0; index < a.order.length; index++) {
    const pair = `${a.order[index]} ${b.order[index]}`
    const layer = seen.has(pair) ? undefined : difference(layerOf(a, index), layerOf(b, index), `layer ${index}`)
    if (layer) return layer
    seen.add(pair)
  }
  return undefined
}

/** Path and values of the first difference. */
function difference(a: unknown, b: unknown, path = ''): string | undefined {
  if (typeof a === 'number' && typeof b === 'number') return isClose(a, b) ? undefined : tell(path, a, b)
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
  if (!isObject(a) || !isObject(b)) return a === b ? undefined : tell(path, a, b)
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const found = difference(a[name], b[name], path === '' ? name : `${path}.${name}`)
    if (found) return found
  }
  return undefined
}

const tell = (path: string, a: unknown, b: unknown) => `${path} ${show(a)}, which its keys say as ${show(b)}`

/** For each tensor of `written` its place in the checkpoint of `model`. Throws Mismatch. */
export function matchTensors(model: ModelDescription, written: ModelDescription): Map<string, Place> {
  const places = new Map<string, Place>()
  const match = (a: Source[] = [], b: Source[] = [], what: string) => {
    for (const [name, place] of matchSources(a, b, what)) places.set(name, place)
  }
  const [own, other] = [model.sources, written.sources]
  for (const name of ['embed', 'positions', 'norm', 'normBias', 'head', 'headBias'] as const)
    match(own[name], other[name], name)
  for (let index = 0; index < model.spec.order.length; index++) {
    const [layer, otherLayer] = [own.layer(index), other.layer(index)]
    for (const name of new Set([...Object.keys(layer), ...Object.keys(otherLayer)]) as Set<keyof typeof layer>)
      match(layer[name], otherLayer[name], `${name} of layer ${index}`)
  }
  return places
}

function matchSources(a: Source[], b: Source[], what: string): [name: string, place: Place][] {
  if (a.length !== b.length) return matchParts(a, b, what)
  return a.flatMap((source, i) => {
    const other = b[i] as Source
    const { tensor, timesTensor, ...way } = source
    const { tensor: name, timesTensor: timesName, ...otherWay } = other
    const found = difference(way, otherWay, what)
    if (found) throw new Mismatch(found)
    const pairs: [string | undefined, string | undefined][] = [
      [name, tensor],
      [timesName, timesTensor],
    ]
    return pairs.flatMap(([to, from]) =>
      to === undefined || from === undefined ? [] : [[to, { tensor: from, shape: source.shape }] as [string, Place]],
    )
  })
}

/** Matrices that are one below the other, cut at other rows. */
function matchParts(a: Source[], b: Source[], what: string): [name: string, place: Place][] {
  const isPlain = ({ tensor, rows, transposedBlocks, fold, timesTensor }: Source) =>
    tensor !== undefined && !rows && !transposedBlocks && !fold && timesTensor === undefined
  const rowsOf = (sources: Source[]) => sources.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0)
  const [whole] = a
  if (a.length !== 1 || !whole || ![...a, ...b].every(isPlain) || rowsOf(a) !== rowsOf(b))
    throw new Mismatch(`${what} of ${a.length} tensors, which it has as ${b.length}`)
  let row = 0
  return b.map(({ tensor = '', shape, times, plus }) => {
    const found = difference({ times: whole.times, plus: whole.plus }, { times, plus }, what)
    if (found) throw new Mismatch(found)
    const rows = Array.from({ length: shape[0] ?? 0 }, (_, i) => row + i)
    row += rows.length
    return [tensor, { tensor: whole.tensor as string, shape: whole.shape, rows }]
  })
}

/**
 * Puts what the first model's scores are scaled by, as against the second's, into the second's queries: into their norm, or
 * into their projection. Afterwards both have the second's scale.
 */
export function foldScale(model: ModelDescription, written: ModelDescription, places: Map<string, Place>): void {
  for (let index = 0; index < model.spec.order.length; index++) {
    const factor = attentionOf(model.spec, index).scale / attentionOf(written.spec, index).scale
    if (factor === 1) continue
    const { queryNorm = [], in: entering, inBias } = written.sources.layer(index)
    const folded = queryNorm.length > 0 ? queryNorm : [entering?.[0], inBias?.[0]]
    for (const source of folded) {
      const place = source?.tensor === undefined ? undefined : places.get(source.tensor)
      if (place) place.factor = factor
    }
  }
}

/** The same model with the other's scales of scores, layer by layer. */
export function withScales({ spec }: ModelDescription, { spec: other }: ModelDescription): ModelSpec {
  const layers = spec.order.map((_, index) => {
    const layer = layerOf(spec, index)
    return { ...layer, mixer: { ...attentionOf(spec, index), scale: attentionOf(other, index).scale } }
  })
  return { ...spec, layers, order: layers.map((_, index) => index) }
}
