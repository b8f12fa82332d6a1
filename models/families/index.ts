/**
 * The families: each reads one style of config.json and knows the tensor names of its checkpoints. `describe()` picks
 * one: `attention_kind` wins, then `architectures`, then the fields.
 */
import { Config } from '../config.ts'
import { type ModelDescription, ModelError, show } from '../spec.ts'
import { gta } from './gta.ts'
import { llama } from './llama.ts'

export interface Family {
  name: string
  /** Values of `attention_kind` that select it. */
  kinds: string[]
  /** Values of `architectures` that select it. */
  architectures: string[]
  /** Does a config without either look like this family? */
  recognise?(config: Config): boolean
  describe(config: Config): ModelDescription
}

export const families: readonly Family[] = [gta, llama]

/** Reads a parsed config.json. Throws ModelError naming the field that is wrong or not supported. */
export function describe(value: unknown): ModelDescription {
  const config = new Config(value)
  const family = familyOf(config)
  const model = family.describe(config)
  const kind = config.text('attention_kind')
  if (kind !== undefined && kind !== model.spec.kind && !isSameSizes(kind, model.spec.kind))
    throw new ModelError(
      `"attention_kind" in config.json says ${show(kind)}, its head counts make it "${model.spec.kind}": correct one of them`,
    )
  return model
}

/** MHA and MQA are GQA with as many, or with one, key-value head: either name is right for them. */
function isSameSizes(kind: string, found: string): boolean {
  return kind === 'gqa' && (found === 'mha' || found === 'mqa')
}

function familyOf(config: Config): Family {
  const kind = config.text('attention_kind')
  const architectures = config.architectures()
  if (kind !== undefined) {
    const family = families.find((candidate) => candidate.kinds.includes(kind))
    if (family) return family
    throw unsupported(
      'attention_kind',
      kind,
      families.flatMap((candidate) => candidate.kinds),
    )
  }
  const named = families.find((family) => family.architectures.some((name) => architectures.includes(name)))
  // Fields before LlamaForCausalLM: GTA checkpoints were saved with llama's class name too.
  const looksLike = families.find((family) => family.recognise?.(config))
  if (named && named !== llama) return named
  if (looksLike) return looksLike
  if (named) return named
  throw unsupported(
    'architectures',
    architectures,
    families.flatMap((family) => family.architectures),
  )
}

function unsupported(field: string, found: unknown, known: string[]): ModelError {
  return new ModelError(
    `"${field}" in config.json must be one of ${known.join(', ')}, found ${show(found)}: this model is not supported`,
  )
}
