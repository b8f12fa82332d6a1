/**
 * A kind or a family is one file: under kinds/ a kind of attention, with the checkpoints of its authors; under families/ a
 * family of checkpoints, built of the kinds. Each exports one Family, registry.ts lists them.
 */
import type { Config } from './config.ts'
import type { ModelDescription } from './spec.ts'

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
  /**
   * Throws ModelError naming the field that is wrong or not supported. `tensors`: the names in the checkpoint, for families
   * whose checkpoints call the same tensor by one of several; none where only the config is at hand.
   */
  describe(config: Config, tensors: readonly string[]): ModelDescription
}

/**
 * Configs of shapes that nobody tuned for, by what is unusual; each file exports them beside its family, and test/conformance
 * runs them against test/reference/reference.ts. A function, so that no program carries what it never calls.
 */
export type Shapes = () => Record<string, Record<string, unknown>>
