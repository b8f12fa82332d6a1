/**
 * gta-edge for browsers: `load()` starts a worker that holds the model, and returns what stands for it in the page. The
 * page never blocks; nothing of it is kept when it is closed.
 */
export type { CacheType, ModelSpec, PackingType, WeightType } from '../../models/index.ts'
export type { Sampling, ThreadCounts } from '../engine/engine.ts'
export { type ErrorCode, GtaError, OutOfMemoryError } from '../errors.ts'
export { commit, version } from '../platform/version.ts'
export type {
  ContextPolicy,
  ConversationOptions,
  Embeddings,
  Finish,
  GenerateOptions,
  Generation,
  GenerationEvent,
  PrefillProgress,
  Prompt,
  ScoredToken,
  Speculation,
  TokenLogprob,
  Usage,
} from '../runtime/api.ts'
export { Conversation, type LoadOptions, load, Model } from './model.ts'
export type { EngineFacts } from './protocol.ts'
