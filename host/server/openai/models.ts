/** GET /v1/models: what the server has, loaded or not, and how long its texts may be. */
import type { Exchange } from '../exchange.ts'
import type { ModelFacts } from '../model-pool.ts'
import type { Services } from '../services.ts'

export function listModels(exchange: Exchange, { pool }: Services): void {
  exchange.json({ object: 'list', data: pool.facts().map(entryOf) })
}

/** GET /v1/models/NAME, in which the name may have a slash. */
export function showModel(exchange: Exchange, { pool }: Services): void {
  const name = decodeName(exchange.path.slice('/v1/models/'.length))
  exchange.json(entryOf(pool.factsOf(name)))
}

function decodeName(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function entryOf({ name, created, state, context, spec, type, weightBytes, bytes, parameters }: ModelFacts): object {
  return {
    id: name,
    object: 'model',
    created,
    owned_by: 'gta-edge',
    status: { value: state },
    context_length: context,
    max_model_len: context,
    meta: {
      vocab_type: null,
      n_vocab: spec.vocabSize,
      n_ctx: context,
      n_ctx_train: spec.maxContext,
      n_params: parameters,
      size: weightBytes,
      weight_type: type,
      memory: bytes,
    },
  }
}
