/** POST /v1/completions: texts go on, in OpenAI's older shape. Prompts are texts or ids; several make several choices. */
import { randomUUID } from 'node:crypto'
import type { Generation } from '../../runtime/api.ts'
import { apiErrors } from '../errors.ts'
import type { Exchange } from '../exchange.ts'
import {
  boolean,
  fields,
  ignored,
  list,
  type Reader,
  readFields,
  required,
  text,
  unsupported,
  whole,
} from '../readers.ts'
import { ids, maxTokens, samplingFields, samplingOf, tokenLimit } from '../sampling.ts'
import type { Services } from '../services.ts'
import { EventStream } from '../streams.ts'
import { write } from '../writing.ts'
import { finishReason, ignoredFields, usageOf } from './chat.ts'

type Prompt = string | number[]

const MAX_PROMPTS = 256

/** A text, ids, or a list of either. */
const prompts: Reader<Prompt[]> = (value, path) => {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw apiErrors.badValue(path, 'a text, token ids, or a list of them', typeof value)
  if (typeof value[0] === 'number') return [ids(value, path)]
  return list<Prompt>((each, place) => (typeof each === 'string' ? each : ids(each, place)), {
    min: 1,
    max: MAX_PROMPTS,
  })(value, path)
}

const table = {
  model: text,
  prompt: prompts,
  stream: boolean,
  stream_options: fields({ include_usage: boolean, include_obfuscation: ignored }),
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
  const count = asked.n ?? 1
  if (count > services.pool.slots)
    throw apiErrors.badValue('n', `at most ${services.pool.slots}, the slots of this server`, String(count))
  const stream = asked.stream ? new EventStream(exchange, 'data: [DONE]\n\n') : undefined
  const lease = await services.pool.enter(asked.model, count, exchange.signal)
  try {
    const { name, model } = lease.model
    const head = {
      id: `cmpl-${randomUUID()}`,
      object: 'text_completion',
      created: Math.floor(Date.now() / 1000),
      model: name,
    }
    const options = { ...samplingOf(asked), ...tokenLimit(asked.max_tokens ?? DEFAULT_TOKENS) }
    const choices: object[] = []
    const all: Generation[] = []
    // One prompt after the other: each takes as many slots as it has choices.
    for (const [i, prompt] of given.entries()) {
      const promptIds = model.promptIds(prompt)
      const echoed = asked.echo ? (typeof prompt === 'string' ? prompt : (model.tokenizer?.decode(prompt) ?? '')) : ''
      const choice = (index: number, written: string, finish: string | null) => ({
        index: i * count + index,
        text: written,
        logprobs: null,
        finish_reason: finish,
      })
      if (stream && echoed)
        for (let k = 0; k < count; k++) await stream.send({ ...head, choices: [choice(k, echoed, null)] })
      const generations = await write(services, exchange, lease.model, {
        ids: promptIds,
        options,
        count,
        onPiece: (index, piece) => stream?.send({ ...head, choices: [choice(index, piece, null)] }),
      })
      all.push(...generations)
      for (const [k, { text: written, finish }] of generations.entries()) {
        if (stream) await stream.send({ ...head, choices: [choice(k, '', finishReason(finish))] })
        else choices.push(choice(k, echoed + written, finishReason(finish)))
      }
    }
    const usage = usageOf(all)
    if (!stream) return exchange.json({ ...head, choices, usage })
    if (asked.stream_options?.include_usage) await stream.send({ ...head, choices: [], usage })
    stream.end()
  } finally {
    lease.release()
  }
}
