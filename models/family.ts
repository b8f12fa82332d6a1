/**
 * Which kind or family a config.json is of. Each is one file under kinds/ (a kind of attention, with the checkpoints of its
 * authors) or families/ (a family of checkpoints, built of the kinds); registry.ts lists them.
 */
import { Config } from './config.ts'
import { families } from './registry.ts'
import { type ModelDescription, ModelError, show } from './spec.ts'

export interface Family {
  name: string
  /** Values of `attention_kind` that select it. */
  kinds: string[]
  /** Values of `architectures` that select it. */
  architectures: string[]
  /** Its class names are also on checkpoints of other families, whose fields and tensors then say better what they are. */
  yields?: boolean
  /** Does a config without a name that counts look like this family? */
  recognise?(config: Config): boolean
  /** The end of a tensor name that only its checkpoints have. */
  tensor?: string
  /** Throws ModelError naming the field that is wrong or not supported. */
  describe(config: Config): ModelDescription
  /** Configs of shapes that nobody tuned for, by what is unusual; test/conformance runs them against test/reference.ts. */
  shapes: Record<string, Record<string, unknown>>
}

/**
 * Reads a parsed config.json; `tensors` are the names in its checkpoint, if that is at hand. Throws ModelError naming the
 * field that is wrong or not supported.
 */
export function describe(value: unknown, tensors: Iterable<string> = []): ModelDescription {
  const config = new Config(value)
  return familyOf(config, [...tensors]).describe(config)
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

function unsupported(field: string, found: unknown, namesOf: (family: Family) => string[]): ModelError {
  const known = families.flatMap(namesOf).join(', ')
  const isExperts = /moe|mixtral/i.test(JSON.stringify(found))
  const advice = isExperts ? 'mixtures of experts are not supported' : 'this model is not supported'
  return new ModelError(`"${field}" in config.json must be one of ${known}, found ${show(found)}: ${advice}`)
}
