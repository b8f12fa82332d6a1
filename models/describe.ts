/** Which kind or family a config.json is of, and what it says. */
import { Config } from './config.ts'
import type { Family } from './family.ts'
import { families } from './registry.ts'
import { type ModelDescription, ModelError, show } from './spec.ts'

/**
 * Reads a parsed config.json; `tensors` are the names in its checkpoint, if that is at hand. Throws ModelError naming the
 * field that is wrong or not supported.
 */
export function describe(value: unknown, tensors: Iterable<string> = []): ModelDescription {
  const config = new Config(value)
  const names = [...tensors]
  return familyOf(config, names).describe(config, names)
}

/**
 * `attention_kind` wins, then the class name. A class that is not known is not taken for a known one, whatever its fields:
 * it may differ in what no field says. Fields and tensors decide where there is no class, or one that yields.
 */
function familyOf(config: Config, tensors: string[]): Family {
  const kind = config.text('attention_kind')
  const architectures = config.architectures()
  if (kind !== undefined) {
    const family = families.find((candidate) => candidate.kinds.includes(kind))
    if (family) return family
    throw unsupported('attention_kind', kind, (candidate) => candidate.kinds)
  }
  const named = families.find((family) => family.architectures.some((name) => architectures.includes(name)))
  if (named && !named.yields) return named
  if (!named && architectures.length > 0)
    throw unsupported('architectures', architectures, (family) => family.architectures)
  const found =
    families.find((family) => family.recognise?.(config)) ??
    families.find(({ tensor }) => tensor && tensors.some((name) => name.endsWith(`.self_attn.${tensor}`))) ??
    named
  if (found) return found
  throw unsupported('architectures', architectures, (family) => family.architectures)
}

const ENDING = /ForCausalLM$/

/** What kinds of models are not supported, by what their class names have in common. */
const notSupported: [RegExp, string][] = [
  [/moe|mixtral/i, 'mixtures of experts are not supported'],
  [/mamba|falconh1|jamba|zamba|nemotronh|rwkv/i, 'state space layers are not supported'],
  [/gemma3n|gemma4/i, 'embeddings per layer are not supported'],
  [/ForConditionalGeneration"/, 'this model is not supported, nor is the part of it that writes text'],
  [/(?<!LMHead)Model"|ForMaskedLM|Classification/, 'this is no model that writes text'],
]

function unsupported(field: string, found: unknown, namesOf: (family: Family) => string[]): ModelError {
  const text = JSON.stringify(found)
  const advice = notSupported.find(([pattern]) => pattern.test(text))?.[1] ?? 'this model is not supported'
  // Most class names end alike; written once, the list of all of them can be read.
  const names = families.flatMap(namesOf)
  const [ending, others] = [names.filter((name) => ENDING.test(name)), names.filter((name) => !ENDING.test(name))]
  const alike = ending.length > 0 ? [`{${ending.map((name) => name.replace(ENDING, '')).join(', ')}}ForCausalLM`] : []
  const known = [...alike, ...others].join(', ')
  return new ModelError(
    `"${field}" in config.json must be one of ${known}, found ${show(found)}: ${advice}; docs/kinds.md says what is`,
  )
}
