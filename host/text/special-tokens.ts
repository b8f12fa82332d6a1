/** Tokens that begin and end a text: decided as transformers does, by the files beside the weights. */
import type { ModelSpec } from '../../models/index.ts'

/** Tokens that end a generation: those of config.json and of generation_config.json. */
export function eosOf({ eos, vocabSize }: ModelSpec, generation: unknown): Set<number> {
  const more = (generation as { eos_token_id?: unknown } | undefined)?.eos_token_id
  const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0 && (id as number) < vocabSize
  return new Set([...eos, ...[more].flat().filter(isId)])
}

/** Ids that stand before and behind every text that is encoded as a prompt. */
export interface TextEnds {
  before: number[]
  behind: number[]
}

/** What is read of a tokenizer.json here. */
export interface SpecialTokensJson {
  post_processor?: unknown
  added_tokens?: { id: number; content: string }[]
  model?: { vocab?: unknown }
}

/** Classes of transformers that put the begin token before a text unless `add_bos_token` is false. */
const BEGINS = /^(?:Llama|CodeLlama|Gemma)Tokenizer(?:Fast)?$/

/**
 * `add_bos_token` and `add_eos_token` of tokenizer_config.json where they are said; else the post-processor of
 * tokenizer.json; where it has none, the class. The ids of config.json decide nothing: many checkpoints name a begin token
 * there that their tokenizer never uses, or another one. Throws Error for what is not understood.
 * Sources: transformers, tokenization_utils_tokenizers.py (5), LlamaTokenizerFast.update_post_processor (4).
 */
export function textEndsOf(json: SpecialTokensJson, tokenizerConfig: unknown): TextEnds {
  const config = (tokenizerConfig ?? {}) as Record<string, unknown>
  const idOf = (name: string) => idOfToken(json, name)
  const ends = json.post_processor ? endsOfProcessor(json.post_processor, idOf) : endsOfClass(config, idOf)
  const said = (field: string, token: string, found: number[]) => {
    if (typeof config[field] !== 'boolean') return found
    if (config[field] === false) return []
    return found.length > 0 ? found : [idOf(nameOfToken(config[token], token))]
  }
  return {
    before: said('add_bos_token', 'bos_token', ends.before),
    behind: said('add_eos_token', 'eos_token', ends.behind),
  }
}

function endsOfClass(
  { tokenizer_class, bos_token }: Record<string, unknown>,
  idOf: (name: string) => number,
): TextEnds {
  const isBegun = typeof tokenizer_class === 'string' && BEGINS.test(tokenizer_class) && bos_token
  return { before: isBegun ? [idOf(nameOfToken(bos_token, 'bos_token'))] : [], behind: [] }
}

type Piece = { SpecialToken?: { id?: unknown }; Sequence?: unknown }

/** The kinds of post-processor that tokenizers has. */
function endsOfProcessor(value: unknown, idOf: (name: string) => number): TextEnds {
  const processor = (value ?? {}) as Record<string, unknown>
  switch (processor.type) {
    case 'ByteLevel':
      return { before: [], behind: [] }
    case 'Sequence': {
      const parts = listOf(processor.processors, 'processors').map((part) => endsOfProcessor(part, idOf))
      // Each one is put around what the one before it made.
      return {
        before: parts.toReversed().flatMap(({ before }) => before),
        behind: parts.flatMap(({ behind }) => behind),
      }
    }
    case 'TemplateProcessing':
      return endsOfTemplate(processor, idOf)
    case 'BertProcessing':
    case 'RobertaProcessing':
      return { before: [idOfPair(processor.cls)], behind: [idOfPair(processor.sep)] }
    default:
      throw new Error(`its post-processor ${JSON.stringify(processor.type ?? null)} is not supported`)
  }
}

function endsOfTemplate({ single, special_tokens }: Record<string, unknown>, idOf: (name: string) => number): TextEnds {
  const pieces = listOf(single, 'single') as Piece[]
  const text = pieces.findIndex((piece) => piece?.Sequence !== undefined)
  if (text < 0) throw new Error('its post-processor has no place for the text')
  const known = (special_tokens ?? {}) as Record<string, { ids?: unknown } | undefined>
  const idsOf = ({ SpecialToken }: Piece): number[] => {
    const name = SpecialToken?.id
    if (typeof name !== 'string') throw new Error('a piece of its post-processor is neither a token nor the text')
    const ids = known[name]?.ids
    return ids === undefined ? [idOf(name)] : (listOf(ids, 'ids') as unknown[]).map(checkId)
  }
  return { before: pieces.slice(0, text).flatMap(idsOf), behind: pieces.slice(text + 1).flatMap(idsOf) }
}

/** ["[CLS]", 101] */
function idOfPair(pair: unknown): number {
  return checkId(listOf(pair, 'token')[1])
}

function listOf(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw new Error(`"${name}" of its post-processor must be a list`)
  return value
}

function checkId(id: unknown): number {
  if (!Number.isInteger(id) || (id as number) < 0) throw new Error('an id of its post-processor is no token id')
  return id as number
}

/** A token is named by its text, or by an object with it. */
function nameOfToken(value: unknown, field: string): string {
  const name = typeof value === 'object' && value !== null ? (value as { content?: unknown }).content : value
  if (typeof name !== 'string' || name === '')
    throw new Error(`tokenizer_config.json asks for a token at the ends of a text, and names no ${field}`)
  return name
}

function idOfToken({ added_tokens = [], model }: SpecialTokensJson, name: string): number {
  const added = added_tokens.find(({ content }) => content === name)
  const vocab = model?.vocab
  const own = Array.isArray(vocab)
    ? vocab.findIndex((entry) => Array.isArray(entry) && entry[0] === name)
    : (vocab as Record<string, unknown> | undefined)?.[name]
  const id = added?.id ?? own
  if (!Number.isInteger(id) || (id as number) < 0)
    throw new Error(`"${name}", which begins or ends a text, is no token`)
  return id as number
}
