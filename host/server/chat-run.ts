/** A chat for any of the APIs: the prompt is made, answers are generated and taken apart into words, thoughts and calls. */
import type { GenerateOptions, Generation } from '../runtime/api.ts'
import type { AnswerEvent, AnswerParser } from '../text/tools/parser.ts'
import type { Call } from './call.ts'
import type { ChatAsked } from './chat-asked.ts'
import type { ServedModel } from './served-model.ts'
import type { Services } from './services.ts'
import { isCut, type TokenEvent, write } from './writing.ts'

export interface ToolCall {
  id: string
  name: string
  arguments: string
  /** Are the arguments all of their JSON? Not where the answer was cut off, or the model wrote something else. */
  isWhole: boolean
}

/** An answer that is complete. */
export interface ChatAnswer {
  content: string
  reasoning: string
  calls: ToolCall[]
  generation: Generation
}

/** Without those that broke off; a call that was cut off with the answer is told as far as it came, as its finish is. */
export function callsToTell({ calls, generation }: ChatAnswer): ToolCall[] {
  return isCut(generation) ? calls : calls.filter(({ isWhole }) => isWhole)
}

/** `scored`: tokens since the last call, if their log probabilities were asked for. */
export type OnEvents = (
  choice: number,
  events: readonly AnswerEvent[],
  scored: readonly TokenEvent[],
) => Promise<void> | undefined

export interface ChatRun extends ChatAsked {
  options: GenerateOptions
  /** Answers to the same question. */
  count?: number
  /** Told of what is known of an answer as soon as it is; if it returns a promise, this answer waits for it. */
  onEvents?: OnEvents | undefined
  /** Told when an answer is complete. */
  onAnswer?: ((choice: number, answer: ChatAnswer) => Promise<void> | undefined) | undefined
}

/** Rejects as `write()` does, and with NO_TEMPLATE or BAD_TEMPLATE. */
export async function runChat(
  services: Services,
  call: Call,
  served: ServedModel,
  { options, count = 1, onEvents, onAnswer, ...asked }: ChatRun,
): Promise<ChatAnswer[]> {
  const { stop = services.defaults.stop, ...more } = options
  const isEndless = options.stopAtEos === false
  const prompt = await served.render({ ...asked, stop }, call.signal)
  const collected = Array.from({ length: count }, () => new Collected(prompt.parser()))
  const answers: ChatAnswer[] = []
  const tell = (choice: number, events: readonly AnswerEvent[]) => {
    if (events.length === 0) return undefined
    return onEvents?.(choice, events, (collected[choice] as Collected).takeScored())
  }
  await write(services, call, served, {
    ids: prompt.ids,
    options: { ...more, ...prompt.options, ...(isEndless ? { stopAtEos: false, stopTokens: [] } : {}) },
    count,
    onToken: (choice, token) => tell(choice, (collected[choice] as Collected).push(token)),
    onEnd: async (choice, generation) => {
      const one = collected[choice] as Collected
      await tell(choice, one.end(isCut(generation)))
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
  private scored: TokenEvent[] = []

  constructor(parser: AnswerParser) {
    this.parser = parser
  }

  push(token: TokenEvent): AnswerEvent[] {
    if (token.logprob !== undefined) this.scored.push(token)
    return token.text === '' ? [] : this.add(this.parser.push(token.text))
  }

  takeScored(): TokenEvent[] {
    const { scored } = this
    this.scored = []
    return scored
  }

  end(isCut: boolean): AnswerEvent[] {
    return this.add(this.parser.end(isCut))
  }

  private add(events: AnswerEvent[]): AnswerEvent[] {
    for (const event of events) {
      if (event.type === 'content') this.content += event.text
      else if (event.type === 'reasoning') this.reasoning += event.text
      else if (event.type === 'call')
        this.calls[event.index] = { id: event.id, name: event.name, arguments: '', isWhole: true }
      else if (event.type === 'arguments') (this.calls[event.index] as ToolCall).arguments += event.text
      else if (event.type === 'broken') (this.calls[event.index] as ToolCall).isWhole = false
    }
    return events
  }
}
