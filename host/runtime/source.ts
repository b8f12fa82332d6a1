import type { ModelDescription, Plan } from '../../models/index.ts'
import type { Weights } from '../engine/engine.ts'
import type { ModelFiles, ReadOptions } from '../files/source.ts'

/** What an engine is opened from. */
export type WeightSource = Pick<ModelSource, 'model' | 'plan' | 'load' | 'reopen'>

/** A model whose weights are still to be loaded, wherever they come from. */
export interface ModelSource {
  model: ModelDescription
  files: ModelFiles
  plan: Plan
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
  /** Are its weights converted while they are loaded? */
  isConverted?: boolean
  load(weights: Weights): Promise<void>
  /** Where the tokenizer comes behind the weights: to be called when those are loaded. */
  readTokenizer?(): Promise<Pick<ModelFiles, 'tokenizer' | 'tokenizerTables'>>
  /** Reads all of it and throws BAD_FILE for what is not as it was written; absent where the file has no hashes. */
  verify?(options?: ReadOptions): Promise<void>
  /** The same once more, when this one may be closed already. */
  reopen?(): Promise<ModelSource>
  close(): Promise<void>
}
