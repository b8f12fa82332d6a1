/**
 * How a tokenizer.json goes from text to tokens, in the few ways that gta.wasm knows; any other is refused by its name.
 *
 *     byte level      [NFC] → [Digits] → GPT-2's expression, or a known Split → ByteLevel → BPE      GPT-2 Llama 3 Qwen 2 3 3.5
 *     SentencePiece   ▁ for blanks, by a normalizer or Metaspace → BPE with byte fallback            Llama 2 Mistral Gemma
 */
import {
  BYTE_LEVEL,
  PREFIX_ALWAYS,
  PREFIX_FIRST,
  PREFIX_MISSING,
  PREFIX_NONE,
  SENTENCE_PIECE,
  SPLIT_GPT2,
  SPLIT_LLAMA3,
  SPLIT_NONE,
  SPLIT_QWEN2,
} from '../../assembly/wasi/abi.ts'
import { gpt4Pattern } from './patterns.ts'

export interface Step {
  type?: string
  [option: string]: unknown
}

export interface AddedToken extends Step {
  id: number
  content: string
  special?: boolean
}

export interface TokenizerJson {
  normalizer?: Step | null
  pre_tokenizer?: Step | null
  decoder?: Step | null
  added_tokens?: AddedToken[]
  model?: Step & { vocab?: Record<string, number>; merges?: (string | [string, string])[] }
}

export interface Way {
  kind: number
  split: number
  prefix: number
  isNfc: boolean
  /** To the expression, marks are letters. */
  areMarksLetters: boolean
  isolatesDigits: boolean
  ignoresMerges: boolean
}

/** What the command does not know, as its message names it. */
export class UnknownWay extends Error {
  override name = 'UnknownWay'
}

/** Expressions of Split pre-tokenizers that the command knows, word for word. */
const knownPatterns = [
  { split: SPLIT_LLAMA3, areMarksLetters: false, pattern: gpt4Pattern('{1,3}') },
  { split: SPLIT_QWEN2, areMarksLetters: false, pattern: gpt4Pattern('') },
  // Qwen 3.5
  { split: SPLIT_QWEN2, areMarksLetters: true, pattern: gpt4Pattern('', '\\p{M}') },
]

/** Throws UnknownWay. */
export function wayOf(json: TokenizerJson, config: Record<string, unknown>): Way {
  const { model, added_tokens: added = [] } = json
  if (model?.type !== 'BPE') throw new UnknownWay(`the model ${JSON.stringify(model?.type)}`)
  const others = ['dropout', 'continuing_subword_prefix', 'continuing_subword_suffix', 'end_of_word_suffix']
  const other = others.find((name) => model[name])
  if (other) throw new UnknownWay(`a model with ${other}`)
  const setting = ['remove_space', 'do_lowercase_and_remove_accent'].find((name) => config[name])
  if (setting) throw new UnknownWay(`a tokenizer_config.json with ${setting}`)
  for (const token of added) checkAdded(token, json)
  const ignoresMerges = model.ignore_merges === true
  const none = { isNfc: false, areMarksLetters: false, isolatesDigits: false, split: SPLIT_NONE, prefix: PREFIX_NONE }
  if (json.decoder?.type === 'ByteLevel')
    return { ...none, kind: BYTE_LEVEL, ignoresMerges, isNfc: isNfc(json.normalizer), ...cutOf(json.pre_tokenizer) }
  if (model.byte_fallback !== true) throw new UnknownWay('characters that are spelt in neither bytes nor tokens')
  return { ...none, kind: SENTENCE_PIECE, ignoresMerges, prefix: prefixOf(json) }
}

/** Added tokens are cut out of the text as it is, and take nothing of what is around them. */
function checkAdded(token: AddedToken, { normalizer }: TokenizerJson): void {
  if (token.special) return
  const option = ['lstrip', 'rstrip', 'single_word'].find((name) => token[name])
  const isNormalized = (token.normalized ?? true) && normalizer
  if (option || isNormalized) throw new UnknownWay(`an added token that is ${option ?? 'normalized'}`)
}

function isNfc(normalizer: Step | null | undefined): boolean {
  const steps = stepsOf(normalizer, 'normalizers')
  const other = steps.find(({ type }) => type !== 'NFC')
  if (other) throw new UnknownWay(`the normalizer ${JSON.stringify(other.type)}`)
  return steps.length > 0
}

/** The steps of a Sequence, or the only one; none if there is nothing. */
function stepsOf(step: Step | null | undefined, list: string): Step[] {
  if (!step) return []
  return step.type === 'Sequence' ? ((step[list] as Step[] | undefined) ?? []) : [step]
}

const unknownSteps = (steps: readonly Step[]) =>
  new UnknownWay(`the pre-tokenizer ${steps.map(({ type }) => JSON.stringify(type)).join(', ') || 'null'}`)

/** ByteLevel alone with GPT-2's expression, perhaps behind Digits, or behind a Split with an expression that is known. */
function cutOf(preTokenizer: Step | null | undefined): Partial<Way> {
  const steps = stepsOf(preTokenizer, 'pretokenizers')
  const [first, ...others] = steps
  const last = steps.at(-1)
  if (!first || last?.type !== 'ByteLevel' || others.length > 1) throw unknownSteps(steps)
  const hasExpression = (last.use_regex as boolean | undefined) ?? true
  const split = hasExpression ? SPLIT_GPT2 : SPLIT_NONE
  if (first === last) return { split, prefix: last.add_prefix_space ? PREFIX_MISSING : PREFIX_NONE }
  if (last.add_prefix_space) throw new UnknownWay('a blank before each part of the text')
  if (first.type === 'Digits' && first.individual_digits === true) return { split, isolatesDigits: true }
  if (first.type !== 'Split' || hasExpression) throw unknownSteps(steps)
  const { Regex: pattern } = (first.pattern ?? {}) as { Regex?: string }
  const known = knownPatterns.find((candidate) => candidate.pattern === pattern)
  // Isolated: the pieces that match and what lies between them, of which these expressions leave nothing.
  if (!known || first.behavior !== 'Isolated' || first.invert !== false)
    throw new UnknownWay(`the expression ${JSON.stringify(pattern ?? first.pattern)}`)
  return { split: known.split, areMarksLetters: known.areMarksLetters }
}

/** SentencePiece's ▁: by a normalizer or a Metaspace pre-tokenizer. */
function prefixOf({ normalizer, pre_tokenizer: pre }: TokenizerJson): number {
  const steps = stepsOf(normalizer, 'normalizers')
  const pres = stepsOf(pre, 'pretokenizers')
  if (pre?.type === 'Metaspace' && steps.length === 0) return prefixOfMetaspace(pre)
  const [prepend] = steps
  const hasPrepend = prepend?.type === 'Prepend' && prepend.prepend === '▁'
  const [replace, ...others] = hasPrepend ? steps.slice(1) : steps
  const isMark = replace?.type === 'Replace' && isBlank(replace.pattern) && replace.content === '▁'
  const other = isMark ? others[0] : (replace ?? { type: 'null' })
  if (other) throw new UnknownWay(`the normalizer ${JSON.stringify(other.type)}`)
  // Gemma cuts at blanks, when none is left.
  if (pres.some(({ type, pattern }) => type !== 'Split' || !isBlank(pattern))) throw unknownSteps(pres)
  return hasPrepend ? PREFIX_ALWAYS : PREFIX_NONE
}

const isBlank = (pattern: unknown) => (pattern as { String?: string } | undefined)?.String === ' '

function prefixOfMetaspace(step: Step): number {
  if ((step.replacement ?? '▁') !== '▁' || (step.str_rep ?? '▁') !== '▁' || step.split === true)
    throw new UnknownWay('a Metaspace that cuts text')
  const scheme = String(step.prepend_scheme ?? 'always')
  const prefix = { always: PREFIX_MISSING, first: PREFIX_FIRST, never: PREFIX_NONE }[scheme]
  if (prefix === undefined) throw new UnknownWay(`the prepend_scheme ${JSON.stringify(scheme)}`)
  return prefix
}
