/** Tokens that begin and end a text. */
import type { ModelSpec } from '../../models/index.ts'

/** Tokens that end a text: those of config.json and of generation_config.json. */
export function eosOf({ eos, vocabSize }: ModelSpec, generation: unknown): Set<number> {
  const more = (generation as { eos_token_id?: unknown } | undefined)?.eos_token_id
  const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  return new Set([...eos, ...[more].flat().filter(isId)])
}

/**
 * The token before every text. A tokenizer_config that says add_bos_token: false is obeyed, unless begin and end are one
 * token: that is a separator between documents, and the model has never seen a text without it.
 */
export function bosOf({ bos, eos }: ModelSpec, tokenizerConfig: unknown): number | undefined {
  const isOff = (tokenizerConfig as { add_bos_token?: unknown } | undefined)?.add_bos_token === false
  return bos !== undefined && isOff && !eos.includes(bos) ? undefined : bos
}
