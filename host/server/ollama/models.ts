/** What Ollama's clients ask of models: /api/tags, /api/ps, /api/show, /api/version. */
import { createHash } from 'node:crypto'
import { version as ownVersion } from '../../platform/version.ts'
import type { Exchange } from '../exchange.ts'
import type { ModelFacts } from '../model-pool.ts'
import { ignored, readFields, required, text } from '../readers.ts'
import type { Services } from '../services.ts'

export function tags(exchange: Exchange, { pool }: Services): void {
  exchange.json({ models: pool.facts().map(entryOf) })
}

/** Those in memory. */
export function running(exchange: Exchange, { pool }: Services): void {
  const loaded = pool.facts().filter(({ state }) => state === 'loaded')
  const more = ({ bytes, context }: ModelFacts) => ({ size_vram: 0, size: bytes, context_length: context })
  exchange.json({ models: loaded.map((facts) => ({ ...entryOf(facts), ...more(facts) })) })
}

export function show(exchange: Exchange, { pool }: Services, body: Record<string, unknown>): void {
  const asked = readFields({ model: text, name: text, verbose: ignored }, body)
  const facts = pool.factsOf(required(asked.model ?? asked.name, 'model'))
  const { spec, parameters, created } = facts
  exchange.json({
    modelfile: '',
    parameters: '',
    template: '',
    details: detailsOf(facts),
    model_info: {
      'general.architecture': spec.kind,
      'general.parameter_count': parameters,
      [`${spec.kind}.context_length`]: facts.context,
    },
    capabilities: ['completion', 'tools'],
    modified_at: new Date(created * 1000).toISOString(),
  })
}

export function version(exchange: Exchange): void {
  exchange.json({ version: ownVersion ?? '0.0.0' })
}

function entryOf(facts: ModelFacts): object {
  const { name, created, weightBytes } = facts
  // Not of the weights, which nobody wants to wait for: it tells one file from another.
  const digest = createHash('sha256').update(`${name} ${created} ${weightBytes}`).digest('hex')
  const modified = new Date(created * 1000).toISOString()
  return { name, model: name, modified_at: modified, size: weightBytes, digest, details: detailsOf(facts) }
}

function detailsOf({ spec, type, parameters }: ModelFacts): object {
  return {
    parent_model: '',
    format: 'gta',
    family: spec.kind,
    families: [spec.kind],
    parameter_size: `${(parameters / 1e9).toPrecision(2)}B`,
    quantization_level: type.toUpperCase(),
  }
}
