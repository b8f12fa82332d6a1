/** POST /v1/completions: texts go on, in OpenAI's older shape. Prompts are texts or ids; several make several choices. */
import { randomUUID } from 'node:crypto'
import type { Generation } from '../../runtime/api.ts'
import { apiErrors } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import { boolean, list, type Reader, readFields, required, text, unsupported, whole } from '../readers.ts'
import { ids, maxTokens, samplingFields, samplingOf, tokenLimit } from '../sampling.ts'
import type { ServedModel } from '../served-model.ts'
import type { Services } from '../services.ts'
import { EventStream } from '../streams.ts'
import { write } from '../writing.ts'
import { checkCount } from './chat.ts'
import { ignoredFields, streamOptions } from './fields.ts'
import { finishReason, timingsOf, usageOf } from './usage.ts'

type Prompt = string | number[]

const MAX_PROMPTS = 256

/** A text, ids, or a list of either. */
const prompts: Reader<Prompt[]> = (value, path) => {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw apiErrors.badValue(path, 'a text, token ids, or a list of them', typeof value)
  if (typeof value[0] === 'number') return [ids(value, path)]
  const one: Reader<Prompt> = (each, place) => (typeof each === 'string' ? each : ids(each, place))
  return list(one, { min: 1, max: MAX_PROMPTS })(value, path)
}

const table = {
  model: text,
  prompt: prompts,
  stream: boolean,
  stream_options: streamOptions,
  max_tokens: maxTokens,
  n: whole(1, 32),
  echo: boolean,
  best_of: whole(1, 1),
  suffix: unsupported('texts go on at their end only'),
  ...samplingFields,
  ...ignoredFields,
}

/** What OpenAI's API does where nobody says how long a text is to be. */
const DEFAULT_TOKENS = 16

export async function completions(
  exchange: Exchange,
  services: Services,
  body: Record<string, unknown>,
): Promise<void> {
  const asked = readFields(table, body)
  const given = required(asked.prompt, 'prompt')
  const count = checkCount(asked.n, services)
  const stream = asked.stream ? new EventStream(exchange, 'data: [DONE]\n\n') : undefined
  const lease = await services.pool.enter(asked.model, count, exchange.signal)
  try {
    const options = { ...samplingOf(asked), ...tokenLimit(asked.max_tokens ?? DEFAULT_TOKENS) }
    const told = new Telling(lease.model, stream, asked.echo ?? false)
    // One prompt after the other: each takes as many slots as it has choices.
    for (const [i, prompt] of given.entries()) {
      const first = i * count
      await told.begin(prompt, first, count)
      await write(services, exchange, lease.model, {
        ids: lease.model.promptIds(prompt),
        options,
        count,
        onPiece: (choice, piece) => told.add(first + choice, piece),
        onEnd: (choice, generation) => told.end(first + choice, generation),
      })
    }
    const usage = told.usage(given.length)
    if (!stream) return exchange.json({ ...told.head, choices: told.choices, ...usage })
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
  private readonly stream: EventStream | undefined
  private readonly isEcho: boolean
  private echoed = ''

  constructor(model: ServedModel, stream: EventStream | undefined, isEcho: boolean) {
    this.model = model
    this.stream = stream
    this.isEcho = isEcho
    const created = Math.floor(Date.now() / 1000)
    this.head = { id: `cmpl-${randomUUID()}`, object: 'text_completion', created, model: model.name }
  }

  private choice(index: number, written: string, finish: string | null): object {
    return { index, text: written, logprobs: null, finish_reason: finish }
  }

  /** The prompt itself, if it is to be repeated. */
  async begin(prompt: Prompt, first: number, count: number): Promise<void> {
    if (!this.isEcho) return
    this.echoed = typeof prompt === 'string' ? prompt : (this.model.model.tokenizer?.decode(prompt) ?? '')
    for (let i = 0; i < count; i++) await this.add(first + i, this.echoed)
  }

  add(index: number, piece: string): Promise<void> | undefined {
    return this.stream?.send({ ...this.head, choices: [this.choice(index, piece, null)] })
  }

  end(index: number, generation: Generation): Promise<void> | undefined {
    this.generations[index] = generation
    const finish = finishReason(generation.finish)
    if (this.stream) return this.stream.send({ ...this.head, choices: [this.choice(index, '', finish)] })
    this.choices[index] = this.choice(index, this.echoed + generation.text, finish)
    return undefined
  }

  usage(prompts: number): object {
    const { generations } = this
    return { usage: usageOf(generations, prompts), timings: timingsOf(generations) }
  }
}
