/** Endpoints as llama-server has them: health, properties, tokens, templates. */
import { checkTokens } from '../errors.ts'
import { version } from '../platform/version.ts'
import { runtimeOf } from '../runtime/model.ts'
import type { Exchange } from './exchange.ts'
import { chatFields, chatOf, chatParams } from './openai/chat.ts'
import { boolean, ignored, list, readFields, required, text, whole } from './readers.ts'
import type { ServedModel } from './served-model.ts'
import type { Services } from './services.ts'

/** GET /health: 200 as soon as there is a model in memory. */
export function health(exchange: Exchange, { pool, isServing }: Services): void {
  if (isServing && pool.isReady) {
    exchange.json({ status: 'ok' })
    return
  }
  const message = isServing ? 'Loading model' : 'Shutting down'
  exchange.json({ error: { code: 503, message, type: 'unavailable_error' } }, 503, { 'retry-after': '2' })
}

export async function metrics(exchange: Exchange, services: Services): Promise<void> {
  exchange.text(await services.metrics.text(services.pool), 'text/plain; version=0.0.4; charset=utf-8')
}

export function props(exchange: Exchange, { pool }: Services): void {
  const { name, context } = pool.factsOf(undefined)
  exchange.json({
    default_generation_settings: { n_ctx: context },
    total_slots: pool.slots,
    model_alias: name,
    modalities: { vision: false, audio: false },
    build_info: `gta-edge ${version ?? 'from source'}`,
  })
}

const tokenizeFields = {
  model: text,
  content: text,
  // vLLM's name, and the one of lm-evaluation-harness.
  prompt: text,
  add_special: boolean,
  add_special_tokens: boolean,
  parse_special: boolean,
  with_pieces: boolean,
  return_token_strs: ignored,
}

/** POST /tokenize */
export async function tokenize(exchange: Exchange, services: Services, body: Record<string, unknown>): Promise<void> {
  const asked = readFields(tokenizeFields, body)
  const content = required(asked.content ?? asked.prompt, 'content')
  await withModel(exchange, services, asked.model, ({ model }) => {
    const tokenizer = runtimeOf(model).requireTokenizer()
    const isSpecial = asked.parse_special ?? true
    const ids = isSpecial ? tokenizer.encodeCorpus(content) : tokenizer.encode(content)
    const isAdded = asked.add_special ?? asked.add_special_tokens ?? false
    const tokens = isAdded ? [...tokenizer.ends.before, ...ids, ...tokenizer.ends.behind] : ids
    const pieceOf = (id: number) => ({ id, piece: pieceText(tokenizer.bytesOf(id)) })
    const count = { count: tokens.length, max_model_len: model.context }
    exchange.json({ tokens: asked.with_pieces ? tokens.map(pieceOf) : tokens, ...count })
  })
}

/** A text, or bytes where they are none by themselves. */
function pieceText(bytes: Uint8Array): string | number[] {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return [...bytes]
  }
}

/** POST /detokenize: control tokens are silent. */
export async function detokenize(exchange: Exchange, services: Services, body: Record<string, unknown>): Promise<void> {
  const asked = readFields({ model: text, tokens: list(whole(0, 2 ** 31)) }, body)
  exchange.params = { prompt: 'tokens' }
  const tokens = required(asked.tokens, 'tokens')
  await withModel(exchange, services, asked.model, ({ model }) => {
    const { spec } = runtimeOf(model)
    checkTokens(tokens, spec.vocabSize)
    exchange.json({ content: runtimeOf(model).requireTokenizer().decode(tokens) })
  })
}

/** POST /apply-template: the prompt that a chat would make. */
export async function applyTemplate(
  exchange: Exchange,
  services: Services,
  body: Record<string, unknown>,
): Promise<void> {
  exchange.params = chatParams(body)
  const asked = readFields(chatFields, body)
  const said = chatOf(asked)
  await withModel(exchange, services, asked.model, async (model) => {
    exchange.json({ prompt: (await model.render(said, exchange.signal)).text })
  })
}

/** Loads the model if it is not there; holds a slot meanwhile, as everything does that computes. */
async function withModel(
  exchange: Exchange,
  { pool }: Services,
  name: string | undefined,
  work: (model: ServedModel) => Promise<void> | void,
): Promise<void> {
  const lease = await pool.enter(name, 1, exchange.signal)
  try {
    await work(lease.model)
  } finally {
    lease.release()
  }
}
