/** POST /v1/embeddings, and Ollama's /api/embed and /api/embeddings: vectors of texts. */
import type { Embeddings } from '../../runtime/api.ts'
import type { Call } from '../call.ts'
import { ignored, oneOf, oneOrMore, type Reader, readFields, required, text, unsupported } from '../readers.ts'
import { ids } from '../sampling.ts'
import type { Services } from '../services.ts'
import { ignoredFields } from './fields.ts'

type Input = string | number[]

const MAX_TEXTS = 256

/** A text, ids, or a list of either. */
const input: Reader<Input[]> = (value, path) => {
  if (Array.isArray(value) && typeof value[0] === 'number') return [ids(value, path)]
  const one: Reader<Input> = (each, place) => (typeof each === 'string' ? each : ids(each, place))
  return oneOrMore(one, { min: 1, max: MAX_TEXTS })(typeof value === 'string' ? [value] : value, path)
}

export const embeddingTable = {
  model: text,
  input,
  encoding_format: oneOf('float', 'base64'),
  dimensions: unsupported('vectors are as long as the model’s states'),
  ...ignoredFields,
}

/** Said with every vector of a model that was made to write. */
const WARNING = 'this model was made to write, not to embed: the mean of its states is a makeshift'

const warningOf = ({ isEmbeddingModel }: Embeddings) => (isEmbeddingModel ? {} : { warning: WARNING })

export async function embeddings(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  call.params = { prompt: 'input' }
  const asked = readFields(embeddingTable, body)
  const texts = required(asked.input, 'input')
  const { name, found } = await embed(call, services, asked.model, texts)
  const shown = (vector: Float32Array) =>
    asked.encoding_format === 'base64'
      ? Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')
      : [...vector]
  call.json({
    object: 'list',
    model: name,
    data: found.vectors.map((vector, index) => ({ object: 'embedding', index, embedding: shown(vector) })),
    usage: { prompt_tokens: found.promptTokens, total_tokens: found.promptTokens },
    ...warningOf(found),
  })
}

export const ollamaTable = {
  model: text,
  input: oneOrMore(text, { min: 1, max: MAX_TEXTS }),
  prompt: text,
  truncate: ignored,
  dimensions: unsupported('vectors are as long as the model’s states'),
  options: ignored,
  keep_alive: ignored,
}

/** What is too long is refused, whatever "truncate" says: nothing is cut. */
export async function ollamaEmbed(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  const asked = readFields(ollamaTable, body)
  const begun = performance.now()
  const { name, found } = await embed(call, services, required(asked.model, 'model'), required(asked.input, 'input'))
  call.json({
    model: name,
    embeddings: found.vectors.map((vector) => [...vector]),
    total_duration: Math.round((performance.now() - begun) * 1e6),
    load_duration: 0,
    prompt_eval_count: found.promptTokens,
    ...warningOf(found),
  })
}

/** The older form: one text. */
export async function ollamaEmbedOne(call: Call, services: Services, body: Record<string, unknown>): Promise<void> {
  const asked = readFields(ollamaTable, body)
  const prompt = required(asked.prompt, 'prompt')
  const { found } = await embed(call, services, required(asked.model, 'model'), [prompt])
  call.json({ embedding: [...(found.vectors[0] as Float32Array)], ...warningOf(found) })
}

async function embed(
  { signal }: Call,
  { pool }: Services,
  model: string | undefined,
  texts: readonly Input[],
): Promise<{ name: string; found: Embeddings }> {
  const lease = await pool.enter(model, 1, signal)
  try {
    const served = lease.model
    for (const given of texts) served.promptIds(given)
    const giveBack = await served.reserve(served.model.context, 1, signal)
    try {
      return { name: served.name, found: await served.model.embed(texts, { signal }) }
    } catch (error) {
      pool.failed(served, error)
      throw error
    } finally {
      giveBack()
    }
  } finally {
    lease.release()
  }
}
