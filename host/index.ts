/** The public API of gta-edge. Everything that the CLI does, it does through this file. */

export {
  type CacheType,
  cacheTypes,
  ModelError,
  type ModelSpec,
  type WeightType,
  weightTypes,
} from '../models/index.ts'
export { type Conversion, type ConvertOptions, convert, describeModel, type ModelFacts } from './convert/convert.ts'
export { type Diagnosis, diagnose } from './diagnose.ts'
export { type Engine, greedy, type Row, type Sampling } from './engine.ts'
export { type ErrorCode, errors, GtaError, megabytes } from './errors.ts'
export type { Evaluation } from './evaluate.ts'
export { largestContext } from './fit.ts'
export type { Finish, GenerateOptions, Generation } from './generate.ts'
export { checkModelPath, defaultModel, type LoadOptions, load, type Model, type Prompt } from './model.ts'
export { defaultSampling } from './sampling.ts'
export { TextStream, Tokenizer } from './tokenizer/tokenizer.ts'
