/** The plan's words as objects, field by field as assembly/abi.ts names them: what assembly/plan.ts is for the other engine. */
import * as abi from '../../../assembly/abi.ts'
import { fieldsOf, isFloat } from '../../../models/records.ts'

export type Matrices = Record<keyof abi.LayerMatrices, abi.Matrix>

/** What layers have in common, and the slot heads that their maps read. */
export interface GpuLayerKind extends abi.LayerKind {
  /** Slot head of each map in the view: key 0, key 1, value. Empty where the mixer keeps a state. */
  heads: [key0: number[], key1: number[], value: number[]]
  /** How wide the state is that the mixer keeps; none for attention. */
  recurrence: abi.Recurrence | undefined
}

export interface GpuLayer extends abi.Layer {
  index: number
  /** The kind that `kind` is the offset of. */
  is: GpuLayerKind
  /** How it rotates; none where `is.rotation` is 0. */
  rotation: abi.Rotation | undefined
  matrices: Matrices
}

export interface GpuPlan extends abi.Plan {
  /** Bytes for each row of a step: assembly/abi.ts. */
  buffers: abi.Buffers
  embed: abi.Matrix
  /** Type 0: none. */
  positions: abi.Matrix
  head: abi.Matrix
  pageKinds: (abi.PageKind & { is: GpuLayerKind })[]
  rotations: abi.Rotation[]
  layersInOrder: GpuLayer[]
}

export function readPlan(words: Uint32Array): GpuPlan {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length)
  let at = 0
  /** Fills a record that was just made. */
  const read = <T extends object>(record: T): T => {
    const fields = fieldsOf(record).map((name) => {
      const value = (isFloat(record, name) ? floats : words)[at++] as number
      return [name, value]
    })
    return Object.fromEntries(fields) as T
  }
  const many = <T>(count: number, each: (index: number) => T) => Array.from({ length: count }, (_, i) => each(i))
  const plan = read(new abi.Plan())
  const buffers = read(new abi.Buffers())
  const [embed, positions, head] = [read(new abi.Matrix()), read(new abi.Matrix()), read(new abi.Matrix())]
  const pageKinds = many(plan.nPageKinds, () => read(new abi.PageKind()))
  const rotations = new Map(many(plan.nRotations, () => [4 * at, read(new abi.Rotation())]))
  const kinds = new Map<number, GpuLayerKind>()
  for (let index = 0; index < plan.nLayerKinds; index++) {
    const offset = 4 * at
    const kind = read(new abi.LayerKind())
    const isAttention = kind.mixer === abi.MIXER_ATTENTION
    const heads = () => many(isAttention ? kind.maps : 0, () => words[at++] as number)
    const tables: GpuLayerKind['heads'] = [heads(), heads(), heads()]
    kinds.set(offset, { ...kind, heads: tables, recurrence: isAttention ? undefined : read(new abi.Recurrence()) })
  }
  const kindAt = (offset: number) => kinds.get(offset) as GpuLayerKind
  const layersInOrder = many(plan.nLayers, (index) => {
    const layer = read(new abi.Layer())
    const names = fieldsOf(new abi.LayerMatrices())
    const matrices = Object.fromEntries(names.map((name) => [name, read(new abi.Matrix())])) as Matrices
    const is = kindAt(layer.kind)
    return { ...layer, index, is, rotation: rotations.get(is.rotation), matrices }
  })
  return {
    ...{ ...plan, buffers, embed, positions, head, rotations: [...rotations.values()], layersInOrder },
    pageKinds: pageKinds.map((kind) => ({ ...kind, is: kindAt(kind.kind) })),
  }
}
