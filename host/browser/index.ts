/**
 * gta-edge for browsers: `load()` starts a worker that holds the model, and returns what stands for it in the page. The
 * page never blocks; nothing of it is kept when it is closed.
 */
export { type CacheType, ModelError, type ModelSpec, type WeightType } from '../../models/index.ts'
export type { ConversationOptions } from '../conversation.ts'
export type { Sampling, ThreadCounts } from '../engine.ts'
export { type ErrorCode, GtaError, OutOfMemoryError } from '../errors.ts'
export type { Finish, GenerateOptions, Generation, Speculation } from '../generate.ts'
export type { Prompt } from '../model.ts'
export type { ContextPolicy } from '../scheduler.ts'
export { commit, version } from '../version.ts'
export { Conversation, type LoadOptions, load, Model } from './model.ts'
export type { EngineFacts } from './protocol.ts'
