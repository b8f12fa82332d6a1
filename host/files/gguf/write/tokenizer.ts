/** A tokenizer.json as the vocabulary of a GGUF file: the other way of ../tokenizer.ts and ../pre.ts. */
import { PREFIX_NONE } from '../../../../assembly/wasi/abi.ts'
import type { ModelSpec } from '../../../../models/index.ts'
import { errors } from '../../../errors.ts'
import { eosOf, textEndsOf } from '../../../text/special-tokens.ts'
import type { ModelFiles } from '../../source.ts'
import { type AddedToken, type Step, type TokenizerJson, UnknownWay, wayOf } from '../../tokenizer-way.ts'
import { type Pre, pres, preTokenizerOf } from '../pre.ts'
import { type Entry, entries } from './header.ts'

/** llama_token_type of llama.cpp. */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6]

const { text, texts, integer, integers, numbers, boolean } = entries
const key = (name: string) => `tokenizer.ggml.${name}`

/** `left`: what the file has no word for. Throws BAD_TOKENIZER where its words would cut texts otherwise. */
export function tokenizerEntries(
  path: string,
  files: ModelFiles,
  spec: ModelSpec,
): { values: Entry[]; left: string[] } {
  if (!files.tokenizer) return { values: [text(key('model'), 'none')], left: [] }
  const refuse = (what: string): never => {
    throw errors.badTokenizer(path, `cannot be written to a GGUF file, which has no word for ${what}`)
  }
  const json: TokenizerJson = JSON.parse(new TextDecoder().decode(files.tokenizer))
  const config = (files.tokenizerConfig ?? {}) as Record<string, unknown>
  if (json.model?.type !== 'BPE') return refuse(`a model of type ${JSON.stringify(json.model?.type)}`)
  const isByteLevel = json.decoder?.type === 'ByteLevel'
  const vocabulary = vocabularyOf(json, spec.vocabSize)
  const own = isByteLevel ? byteLevel(json, refuse) : sentencePiece(json, config, vocabulary.tokens, refuse)
  const ends = endsOf(json, config, spec, files.generation, refuse)
  return {
    values: [
      ...own,
      texts(key('tokens'), vocabulary.tokens),
      integers(
        key('token_type'),
        isByteLevel ? vocabulary.types : vocabulary.types.map(asSentencePiece(json, vocabulary)),
      ),
      ...ends.values,
      ...(typeof config.chat_template === 'string' ? [text('tokenizer.chat_template', config.chat_template)] : []),
    ],
    left: [...stripping(json.added_tokens ?? []), ...ends.left, ...otherTemplates(config.chat_template)].map(
      (what) => `the GGUF file has no word for ${what}`,
    ),
  }
}

interface Vocabulary {
  tokens: string[]
  types: number[]
}

/** Every row of the embedding has a token; what nothing names is unused. */
function vocabularyOf(json: TokenizerJson, size: number): Vocabulary {
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`)
  const types = new Array<number>(size).fill(UNUSED)
  for (const [token, id] of Object.entries(json.model?.vocab ?? {})) {
    if (id >= size) continue
    tokens[id] = token
    types[id] = NORMAL
  }
  for (const { id, content, special } of json.added_tokens ?? []) {
    if (id >= size) continue
    tokens[id] = content
    types[id] = special ? CONTROL : USER_DEFINED
  }
  return { tokens, types }
}

/** SentencePiece has types for the token of what is unknown, and for bytes. */
function asSentencePiece({ model }: TokenizerJson, { tokens }: Vocabulary) {
  return (type: number, id: number): number => {
    const token = tokens[id] as string
    if (token === model?.unk_token) return UNKNOWN
    return type === NORMAL && /^<0x[0-9A-F]{2}>$/.test(token) ? BYTE : type
  }
}

function byteLevel(json: TokenizerJson, refuse: (what: string) => never): Entry[] {
  const name = [...pres.keys()].find((one) => isSame(json, pres.get(one) as Pre))
  if (name === undefined) return refuse(`the way it cuts text, ${JSON.stringify(json.pre_tokenizer)?.slice(0, 300)}`)
  return [
    text(key('model'), 'gpt2'),
    text(key('pre'), name),
    texts(
      key('merges'),
      pairsOf(json).map((pair) => pair.join(' ')),
    ),
  ]
}

function isSame(json: TokenizerJson, pre: Pre): boolean {
  const normalizers = stepsOf(json.normalizer, 'normalizers').map(({ type }) => type)
  const isNfc = normalizers.length === 1 && normalizers[0] === 'NFC'
  const cuts = (value: unknown) => JSON.stringify(stepsOf(value as Step, 'pretokenizers').map(cutOf))
  return (
    (isNfc || normalizers.length === 0) &&
    isNfc === (pre.isNfc === true) &&
    (json.model?.ignore_merges === true) === (pre.ignoresMerges === true) &&
    cuts(json.pre_tokenizer) === cuts(preTokenizerOf(pre))
  )
}

function stepsOf(step: Step | null | undefined, list: string): Step[] {
  if (!step) return []
  return step.type === 'Sequence' ? ((step[list] as Step[] | undefined) ?? []) : [step]
}

/** What a step says of where text is cut, with what is meant where it says nothing. */
function cutOf(step: Step): unknown {
  if (step.type === 'ByteLevel') return [step.type, step.add_prefix_space ?? true, step.use_regex ?? true]
  if (step.type === 'Digits') return [step.type, step.individual_digits ?? false]
  return [step.type, step.pattern, step.behavior, step.invert ?? false]
}

const pairsOf = ({ model }: TokenizerJson) =>
  (model?.merges ?? []).map((merge) => (typeof merge === 'string' ? merge.split(' ', 2) : merge) as [string, string])

/** Merges are told by scores: the earlier a token is made, the higher. */
function sentencePiece(
  json: TokenizerJson,
  config: Record<string, unknown>,
  tokens: readonly string[],
  refuse: (what: string) => never,
): Entry[] {
  let hasPrefix: boolean
  try {
    hasPrefix = wayOf(json, config).prefix !== PREFIX_NONE
  } catch (error) {
    return refuse(error instanceof UnknownWay ? error.message : 'it')
  }
  const ranks = new Map<string, number>()
  let last = ''
  for (const [left, right] of pairsOf(json)) {
    const made = left + right
    if (made !== last && ranks.has(made)) refuse(`merges that make ${JSON.stringify(made)} at two places`)
    if (made !== last) ranks.set(made, ranks.size)
    last = made
  }
  if (countMerges(json, ranks) !== pairsOf(json).length) refuse('merges that leave tokens out which their parts make')
  const scores = tokens.map((token, id) => -(ranks.get(token) ?? ranks.size + id))
  return [text(key('model'), 'llama'), numbers(key('scores'), scores), boolean(key('add_space_prefix'), hasPrefix)]
}

/** Pairs of tokens that make a token: so many merges scores stand for. */
function countMerges({ model, added_tokens: added = [] }: TokenizerJson, made: ReadonlyMap<string, number>): number {
  const vocab = new Set(Object.keys(model?.vocab ?? {}))
  const others = new Set(added.map(({ content }) => content))
  let count = 0
  for (const token of vocab) {
    if (others.has(token) && !made.has(token)) continue
    if (token === model?.unk_token || /^<0x[0-9A-F]{2}>$/.test(token)) continue
    let left = ''
    for (const character of token) {
      left += character
      const right = token.slice(left.length)
      if (right !== '' && vocab.has(left) && vocab.has(right)) count++
    }
  }
  return count
}

function endsOf(
  json: TokenizerJson,
  config: Record<string, unknown>,
  spec: ModelSpec,
  generation: unknown,
  refuse: (what: string) => never,
): { values: Entry[]; left: string[] } {
  const { before, behind } = textEndsOf(json as Parameters<typeof textEndsOf>[0], config)
  if (before.length > 1 || behind.length > 1) refuse('several tokens before or behind a text')
  const named = (name: string) => idOf(json, config[`${name}_token`])
  const bos = before[0] ?? named('bos') ?? spec.bos
  const stops = [...eosOf(spec, generation)]
  const eos =
    behind[0] ?? [named('eos')].find((id) => id !== undefined && stops.includes(id)) ?? stops[0] ?? named('eos')
  const others = stops.filter((id) => id !== eos)
  const ids = {
    bos,
    eos,
    eot: others[0],
    eom: others[1],
    unknown: idOf(json, json.model?.unk_token),
    padding: named('pad'),
  }
  return {
    values: [
      ...Object.entries(ids).flatMap(([name, id]) => (id === undefined ? [] : [integer(key(`${name}_token_id`), id)])),
      boolean(key('add_bos_token'), before.length > 0),
      boolean(key('add_eos_token'), behind.length > 0),
    ],
    left: others.length > 2 ? [`${others.length - 2} more tokens that end a text`] : [],
  }
}

function idOf({ model, added_tokens: added = [] }: TokenizerJson, token: unknown): number | undefined {
  const name = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token
  if (typeof name !== 'string') return undefined
  return added.find(({ content }) => content === name)?.id ?? model?.vocab?.[name]
}

function stripping(added: readonly AddedToken[]): string[] {
  const found = added.filter(({ lstrip, rstrip }) => lstrip || rstrip)
  return found.length === 0 ? [] : [`the white space that ${found.length} added tokens take with them`]
}

function otherTemplates(template: unknown): string[] {
  return Array.isArray(template) ? ['named chat templates'] : []
}
