/** What is asked of a chat, in no API's own words. */
import type { ChatMessage } from '../text/template/messages.ts'

/** What an answer is to look like. */
export interface Format {
  /** text: anything. */
  type: 'text' | 'json' | 'schema'
  schema?: Record<string, unknown>
}

export interface Tool {
  name: string
  description?: string
  parameters?: Record<string, unknown>
}

export type ToolChoice = 'none' | 'auto' | 'required' | { name: string }

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
  format?: Format | undefined
}
