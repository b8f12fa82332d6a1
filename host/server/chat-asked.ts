/** What is asked of a chat, in no API's own words. */
import type { ConstraintParts } from '../runtime/api.ts'
import { compilePattern, grammarOf, jsonObject } from '../text/structured/compile.ts'
import { SchemaError } from '../text/structured/errors.ts'
import type { Grammar } from '../text/structured/rule.ts'
import type { ChatMessage } from '../text/template/messages.ts'
import type { Tool, ToolChoice } from '../text/tools/tool-list.ts'
import { ApiError, apiErrors } from './errors.ts'

export type { Tool, ToolChoice }

/** What an answer is to look like. */
export type Format =
  | { type: 'text' }
  | { type: 'json' }
  | { type: 'schema'; schema: Record<string, unknown> }
  | { type: 'pattern'; pattern: string }

export interface ChatAsked {
  messages: ChatMessage[]
  tools?: Tool[]
  toolChoice?: ToolChoice | undefined
  /** May an answer call several tools? */
  parallelToolCalls?: boolean | undefined
  /** none: the model is not to think. */
  reasoningEffort?: string | undefined
  /** Variables of the template. */
  variables?: Record<string, unknown> | undefined
  /** What an answer is held to where it calls nothing. */
  response?: Grammar | undefined
  /** Texts that end what is said. */
  stop?: string[] | undefined
}

/** What holds an answer to a format; undefined: it is free. Throws 400 for what cannot be held, which is never ignored. */
export function grammarFor(format: Format | undefined, param: string): Grammar | undefined {
  try {
    if (format === undefined || format.type === 'text') return undefined
    if (format.type === 'json') return jsonObject()
    return format.type === 'schema' ? grammarOf(format.schema) : compilePattern(format.pattern)
  } catch (cause) {
    if (!(cause instanceof SchemaError)) throw cause
    throw new ApiError(400, 'invalid_schema', cause.message, { param, cause })
  }
}

/** A model without a tokenizer has no text that could be held to anything. */
export function writerOf({ tokenizer, ...parts }: ConstraintParts) {
  if (!tokenizer) throw apiErrors.unsupported('response_format', 'this model has no tokenizer')
  return { ...parts, tokenizer }
}
