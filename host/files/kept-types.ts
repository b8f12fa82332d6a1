/** What a model keeps of a GGUF file: the smallest packed type that holds all parts of a matrix as they are. */
import {
  type KeptType,
  type KeptTypes,
  keptTypes,
  type ModelDescription,
  planModel,
  type Source,
} from '../../models/index.ts'
import type { StoredTensor } from './store.ts'

/** Types of the matrices that can be kept, by their names in the packed file. */
export function keptTypesOf(model: ModelDescription, tensors: ReadonlyMap<string, StoredTensor>): KeptTypes {
  const found = new Map<string, KeptType>()
  for (const { name, content } of planModel(model, 'q8').tensors) {
    if (content.is !== 'matrix') continue
    const sets = content.sources.map(
      (source) => (isWhole(source) ? tensors.get(source.tensor ?? '')?.keptAs : []) ?? [],
    )
    const type = keptTypes.find((candidate) => sets.every((set) => set.includes(candidate)))
    if (type) found.set(name, type)
  }
  return found
}

/** Rows as they are, but for a factor of all of them. */
function isWhole({ shape, transposedBlocks, fold, plus = 0 }: Source): boolean {
  return shape.length === 2 && !transposedBlocks && !fold && plus === 0
}
