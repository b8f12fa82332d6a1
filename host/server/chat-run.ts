/** A chat for any of the APIs: the prompt is made, answers are generated and taken apart into words, thoughts and calls. */
import type { GenerateOptions, Generation } from '../runtime/api.ts'
import type { AnswerEvent, AnswerParser } from '../text/tools/parser.ts'
import type { ChatAsked } from './chat-asked.ts'
import type { Exchange } from './exchange.ts'
import type { ServedModel } from './served-model.ts'
import type { Services } from './services.ts'
import { write } from './writing.ts'

export interface ToolCall {
  id: string
  name: string
  arguments: string
}

/** An answer that is complete. */
export interface ChatAnswer {
  content: string
  reasoning: string
  calls: ToolCall[]
  generation: Generation
}

export interface ChatRun extends ChatAsked {
  options: GenerateOptions
  /** Answers to the same question. */
  count?: number
  /** Told of what is known of an answer as soon as it is; if it returns a promise, this answer waits for it. */
  onEvents?: ((choice: number, events: readonly AnswerEvent[]) => Promise<void> | undefined) | undefined
  /** Told when an answer is complete. */
  onAnswer?: ((choice: number, answer: ChatAnswer) => Promise<void> | undefined) | undefined
}

/** Rejects as `write()` does, and with NO_TEMPLATE or BAD_TEMPLATE. */
export async function runChat(
  services: Services,
  exchange: Exchange,
  served: ServedModel,
  { options, count = 1, onEvents, onAnswer, ...asked }: ChatRun,
): Promise<ChatAnswer[]> {
  const prompt = await served.render(asked, exchange.signal)
  const collected = Array.from({ length: count }, () => new Collected(prompt.parser()))
  const answers: ChatAnswer[] = []
  const tell = (choice: number, events: readonly AnswerEvent[]) =>
    events.length === 0 ? undefined : onEvents?.(choice, events)
  await write(services, exchange, served, {
    ids: prompt.ids,
    options: { ...options, ...prompt.options, stop: [...(prompt.options.stop ?? []), ...(options.stop ?? [])] },
    count,
    onPiece: (choice, text) => tell(choice, (collected[choice] as Collected).push(text)),
    onEnd: async (choice, generation) => {
      const one = collected[choice] as Collected
      await tell(choice, one.end())
      const { content, reasoning, calls } = one
      answers[choice] = { content, reasoning, calls, generation }
      await onAnswer?.(choice, answers[choice])
    },
  })
  return answers
}

/** An answer, taken apart and put together again. */
class Collected {
  content = ''
  reasoning = ''
  readonly calls: ToolCall[] = []
  private readonly parser: AnswerParser

  constructor(parser: AnswerParser) {
    this.parser = parser
  }

  push(text: string): AnswerEvent[] {
    return this.add(this.parser.push(text))
  }

  end(): AnswerEvent[] {
    return this.add(this.parser.end())
  }

  private add(events: AnswerEvent[]): AnswerEvent[] {
    for (const event of events) {
      if (event.type === 'content') this.content += event.text
      else if (event.type === 'reasoning') this.reasoning += event.text
      else if (event.type === 'call') this.calls[event.index] = { id: event.id, name: event.name, arguments: '' }
      else if (event.type === 'arguments') (this.calls[event.index] as ToolCall).arguments += event.text
    }
    return events
  }
}
