/**
 * The families: each reads one style of config.json and knows the tensor names of its checkpoints. `describe()` picks
 * one: `attention_kind` wins, then `architectures`, then the fields.
 */
import { Config } from '../config.ts'
import { type ModelDescription, ModelError, show } from '../spec.ts'
import { deepseek } from './deepseek.ts'
import { gla } from './gla.ts'
import { gha, gva } from './grouped-value.ts'
import { gta } from './gta.ts'
import { llama } from './llama.ts'
import { tied } from './tied.ts'

export interface Family {
  name: string
  /** Values of `attention_kind` that select it. */
  kinds: string[]
  /** Values of `architectures` that select it. */
  architectures: string[]
  /** Does a config without either look like this family? */
  recognise?(config: Config): boolean
  /** The end of a tensor name that only its checkpoints have. */
  tensor?: string
  describe(config: Config): ModelDescription
}

export const families: readonly Family[] = [gta, gva, gha, tied, gla, deepseek, llama]

/**
 * Reads a parsed config.json; `tensors` are the names in its checkpoint, if that is at hand. Throws ModelError naming the
 * field that is wrong or not supported.
 */
export function describe(value: unknown, tensors: Iterable<string> = []): ModelDescription {
  const config = new Config(value)
  return familyOf(config, [...tensors]).describe(config)
}

/**
 * `attention_kind` wins. Llama's architecture comes last: GTA, tied and GLA checkpoints were saved under its name, and
 * their fields and tensors say better what they are.
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
  if (named && named !== llama) return named
  const found =
    families.find((family) => family.recognise?.(config)) ??
    families.find(({ tensor }) => tensor && tensors.some((name) => name.endsWith(`.self_attn.${tensor}`))) ??
    named
  if (found) return found
  throw unsupported('architectures', architectures, (family) => family.architectures)
}

function unsupported(field: string, found: unknown, namesOf: (family: Family) => string[]): ModelError {
  const known = families.flatMap(namesOf).join(', ')
  const isExperts = /moe|mixtral/i.test(JSON.stringify(found))
  const advice = isExperts ? 'mixtures of experts are not supported' : 'this model is not supported'
  return new ModelError(`"${field}" in config.json must be one of ${known}, found ${show(found)}: ${advice}`)
}
