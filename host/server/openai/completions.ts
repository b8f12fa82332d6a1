/** POST /v1/completions: texts go on, in OpenAI's older shape. Prompts are texts or ids; several make several choices. */
import { randomUUID } from 'node:crypto'
import type { GenerateOptions, Generation, ScoredToken } from '../../runtime/api.ts'
import { constraintOf } from '../../text/structured/constrain.ts'
import type { Call } from '../call.ts'
import { writerOf } from '../chat-asked.ts'
import { apiErrors } from '../errors.ts'
import { boolean, list, only, type Reader, readFields, required, shown, text, unsupported, whole } from '../readers.ts'
import { maxTokens, samplingFields, samplingOf, ids as tokenIds, tokenLimit } from '../sampling.ts'
import type { ServedModel } from '../served-model.ts'
import type { Services } from '../services.ts'
import type { AnswerStream } from '../streams.ts'
import { type TokenEvent, write } from '../writing.ts'
import { chatParams, checkCount } from './chat.ts'
import { formatFieldsOfOthers, formatOf, ignoredFields, responseFormat, streamOptions } from './fields.ts'
import { completionLogprobs } from './logprobs.ts'
import { finishReason, timingsOf, usageOf } from './usage.ts'

type Prompt = string | number[]

const MAX_PROMPTS = 256

/** A text, ids, or a list of either. */
const prompts: Reader<Prompt[]> = (value, path) => {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw apiErrors.badValue(path, 'a text, token ids, or a list of them', shown(value))
  if (typeof value[0] === 'number') return [tokenIds(value, path)]
  const one: Reader<Prompt> = (each, place) => (typeof each === 'string' ? each : tokenIds(each, place))
  return list(one, { min: 1, max: MAX_PROMPTS })(value, path)
}

export const completionTable = {
  model: text,
  prompt: prompts,
  stream: boolean,
  stream_options: streamOptions,
  max_tokens: maxTokens,
  n: whole(1, 32),
  echo: boolean,
  logprobs: whole(0, 20),
  response_format: responseFormat,
  ...formatFieldsOfOthers,
  best_of: only(1, 'several texts are not written to choose from, ask for n'),
  suffix: unsupported('texts go on at their end only'),
  ...samplingFields,
  ...ignoredFields,
}

/** What OpenAI's API does where nobody says how long a text is to be. */
const DEFAULT_TOKENS = 16

export async function completions(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  call.params = { ...chatParams(body), prompt: 'prompt' }
  const asked = readFields(completionTable, body)
  const given = required(asked.prompt, 'prompt')
  const count = checkCount(asked.n, services)
  const grammar = formatOf(asked)
  const { logprobs, echo: isEcho = false } = asked
  if (asked.stream && isEcho && logprobs !== undefined)
    throw apiErrors.unsupported('stream', 'log probabilities of the prompt come whole')
  const options: GenerateOptions = {
    ...samplingOf(asked),
    ...tokenLimit(asked.max_tokens ?? DEFAULT_TOKENS),
    ...(logprobs === undefined ? {} : { logprobs }),
    ...(logprobs !== undefined && isEcho ? { promptLogprobs: logprobs } : {}),
    ...(grammar ? { constraint: (parts) => constraintOf(grammar, writerOf(parts)) } : {}),
  }
  const stream = asked.stream ? call.events('data: [DONE]\n\n') : undefined
  const lease = await services.pool.enter(asked.model, count, call.signal)
  try {
    const prompts = given.map((prompt) => ({ prompt, ids: lease.model.promptIds(prompt) }))
    const told = new Telling(lease.model, stream, isEcho)
    // One prompt after the other: each takes as many slots as it has choices.
    for (const [i, { prompt, ids }] of prompts.entries()) {
      const first = i * count
      await told.begin(prompt, ids, first, count)
      await write(services, call, lease.model, {
        ...{ ids, options, count },
        onToken: (choice, token) => told.add(first + choice, token),
        onEnd: (choice, generation) => told.end(first + choice, generation),
      })
    }
    const usage = told.usage(given.length)
    if (!stream) return call.json({ ...told.head, choices: told.choices, ...usage })
    if (asked.stream_options?.include_usage) await stream.send({ ...told.head, choices: [], ...usage })
    stream.end()
  } finally {
    lease.release()
  }
}

/** Texts as they are told. */
class Telling {
  readonly head: object
  readonly choices: object[] = []
  private readonly generations: Generation[] = []
  private readonly model: ServedModel
  private readonly stream: AnswerStream | undefined
  private readonly isEcho: boolean
  private echoed: { text: string; ids: readonly number[] } = { text: '', ids: [] }

  constructor(model: ServedModel, stream: AnswerStream | undefined, isEcho: boolean) {
    this.model = model
    this.stream = stream
    this.isEcho = isEcho
    const created = Math.floor(Date.now() / 1000)
    this.head = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created, model: model.name }
  }

  private send(index: number, text: string, finish: string | null, logprobs: object | null = null) {
    return this.stream?.send({ ...this.head, choices: [{ index, text, logprobs, finish_reason: finish }] })
  }

  /** The prompt itself, if it is to be repeated. */
  async begin(prompt: Prompt, ids: readonly number[], first: number, count: number): Promise<void> {
    if (!this.isEcho) return
    const { tokenizer } = this.model.model
    this.echoed = { text: typeof prompt === 'string' ? prompt : (tokenizer?.decode(prompt) ?? ''), ids }
    for (let i = 0; i < count; i++) await this.send(first + i, this.echoed.text, null)
  }

  add(index: number, token: TokenEvent): Promise<void> | undefined {
    const isScored = token.logprob !== undefined
    if (token.text === '' && !isScored) return undefined
    return this.send(index, token.text, null, isScored ? completionLogprobs([], [token as ScoredToken]) : null)
  }

  end(index: number, generation: Generation): Promise<void> | undefined {
    this.generations[index] = generation
    const finish = finishReason(generation)
    if (this.stream) return this.send(index, '', finish)
    const text = this.echoed.text + generation.text
    this.choices[index] = { index, text, logprobs: this.logprobsOf(generation), finish_reason: finish }
    return undefined
  }

  private logprobsOf({ tokens, logprobs, promptLogprobs }: Generation): object | null {
    if (!logprobs) return null
    const { tokenizer } = this.model.model
    const tokenOf = (id: number) => ({ id, bytes: tokenizer?.bytesOf(id) ?? new Uint8Array() })
    const prompt = promptLogprobs
      ? this.echoed.ids.map((id, i) => ({ token: tokenOf(id), scored: promptLogprobs[i] }))
      : []
    // With max_tokens 0 there is a token that was not wanted.
    return completionLogprobs(prompt, logprobs.slice(0, tokens.length))
  }

  usage(prompts: number): object {
    const { generations } = this
    return { usage: usageOf(generations, prompts), timings: timingsOf(generations) }
  }
}
