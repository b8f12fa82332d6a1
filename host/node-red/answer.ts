/** What is asked of a model, wherever it is, and what it tells; in the words of OpenAI's API. */

export interface Asked {
  /** A chat; or a text that goes on. */
  input: { messages: unknown[] } | { prompt: string }
  /** Which of a server's models. */
  model?: string | undefined
  maxTokens?: number | undefined
  temperature?: number | undefined
  seed?: number | undefined
  stop?: string[] | undefined
  /** A JSON Schema that the answer satisfies. */
  schema?: object | undefined
  tools?: unknown
  toolChoice?: unknown
}

/** What happens before the end. `tokens`: of what was written, or so many pieces where a server does not tell. */
export type Told = { type: 'reading'; done: number; total: number } | { type: 'text'; text: string; tokens: number }

export interface Usage {
  prompt_tokens: number
  completion_tokens: number
  total_tokens: number
  prompt_tokens_details: { cached_tokens: number }
}

export interface ToolCall {
  id: string
  type: 'function'
  function: { name: string; arguments: string }
}

/** The answer as a message of a chat. */
export interface AnswerMessage {
  role: 'assistant'
  content: string
  reasoning_content?: string
  tool_calls?: ToolCall[]
}

export interface Answer {
  message: AnswerMessage
  finish: 'stop' | 'length' | 'tool_calls'
  /** Of a server that tells. */
  usage: Usage | undefined
}

/** A model that answers: a server's, or one of this process. */
export interface Answerer {
  /** Whoever leaves, or aborts, ends the generation. Throws NodeError. */
  ask(asked: Asked, signal: AbortSignal): AsyncGenerator<Told, Answer>
  close(): Promise<void>
}

export function answerMessage(content: string, reasoning: string, calls: ToolCall[]): AnswerMessage {
  return {
    ...{ role: 'assistant', content },
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
}
