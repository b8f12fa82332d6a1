/**
 * `gta-edge`: what a program needs that writes, chats and keeps conversations. Tools have entries of their own:
 * `gta-edge/analyze`, `/bench`, `/evaluate`; browsers `gta-edge/browser`; what a model is, as data, `gta-edge/models`.
 */
export type { CacheType, PackingType, WeightType } from '../models/index.ts'
export type { Sampling } from './engine/engine.ts'
export { type ErrorCode, GtaError, OutOfMemoryError } from './errors.ts'
export type { Conversion, ConvertOptions } from './files/convert.ts'
export { convert, defaultModel, type LoadOptions, load } from './load.ts'
export { optimizeFromTheStart } from './platform/optimize.ts'
export { version } from './platform/version.ts'
export type {
  ChatOptions,
  ConversationOptions,
  Embeddings,
  GenerateOptions,
  Generation,
  GenerationEvent,
  Prompt,
  SavedConversation,
  ScoredToken,
} from './runtime/api.ts'
export type { Chat } from './runtime/chat.ts'
export type { Conversation } from './runtime/conversation.ts'
export type { Model } from './runtime/model.ts'
export type { GenerationStream } from './runtime/stream.ts'
export { SessionStore } from './sessions/store.ts'
export type { ChatMessage } from './text/template/messages.ts'
export type { Tokenizer } from './text/tokenizer.ts'
