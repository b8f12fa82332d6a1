/** The vocabulary of a GGUF file as tokenizer.json and tokenizer_config.json. */
import { show } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import { mergesOf } from '../merges.ts'
import type { ModelFiles } from '../source.ts'
import type { GgufFile } from './file.ts'
import { DEFAULT_PRE, type Pre, pres, preTokenizerOf } from './pre.ts'

/** llama_token_type of llama.cpp. */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED] = [1, 2, 3, 4]

interface Vocabulary {
  tokens: string[]
  types: ArrayLike<number>
  gguf: GgufFile
}

/** Nothing where the file has no vocabulary. Throws BAD_FILE for one that is not understood. */
export function tokenizerOf(gguf: GgufFile): Pick<ModelFiles, 'tokenizer' | 'tokenizerConfig'> {
  const { values, path } = gguf
  const tokens = values.get('tokenizer.ggml.tokens')
  if (tokens === undefined) return {}
  const isTexts = Array.isArray(tokens) && tokens.length > 0
  if (!isTexts) throw errors.badFile(path, '"tokenizer.ggml.tokens"', 'a list of texts', 'another value')
  const found = values.get('tokenizer.ggml.token_type')
  const types = typeof found === 'object' && !Array.isArray(found) ? (found as ArrayLike<number>) : undefined
  if (types && types.length !== tokens.length)
    throw errors.badFile(path, '"tokenizer.ggml.token_type"', `a list of ${tokens.length}`, `one of ${types.length}`)
  const vocabulary = { tokens, types: types ?? new Uint8Array(tokens.length).fill(NORMAL), gguf }
  const json = jsonOf(vocabulary)
  return { tokenizer: new TextEncoder().encode(JSON.stringify(json)), tokenizerConfig: tokenizerConfigOf(vocabulary) }
}

function jsonOf(vocabulary: Vocabulary): object {
  const { gguf, tokens, types } = vocabulary
  const kind = gguf.values.get('tokenizer.ggml.model')
  const added = tokens.flatMap((content, id) =>
    isAdded(types[id]) && content !== '' ? [{ id, content, special: types[id] !== USER_DEFINED }] : [],
  )
  const common = { version: '1.0', truncation: null, padding: null, added_tokens: added, post_processor: null }
  if (kind === 'llama') return { ...common, ...sentencePiece(vocabulary) }
  if (kind === 'gpt2') return { ...common, ...byteLevel(vocabulary) }
  throw errors.badFile(gguf.path, '"tokenizer.ggml.model"', '"llama" or "gpt2"', show(String(kind)))
}

const isAdded = (type: number | undefined) => type === UNKNOWN || type === CONTROL || type === USER_DEFINED

function vocabOf({ tokens }: Vocabulary): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null)
  for (const [id, token] of tokens.entries()) {
    // Unused places of some files have one name; the first counts.
    if (!(token in vocab)) vocab[token] = id
  }
  return vocab
}

/** SentencePiece BPE: merges by the score of what they make, as transformers' convert_slow_tokenizer.py has them. */
function sentencePiece(vocabulary: Vocabulary): object {
  const { gguf, tokens, types } = vocabulary
  const scores = gguf.values.get('tokenizer.ggml.scores')
  if (!(scores instanceof Float32Array) || scores.length !== tokens.length)
    throw errors.badFile(gguf.path, '"tokenizer.ggml.scores"', `a list of ${tokens.length} numbers`, 'another value')
  const vocab = vocabOf(vocabulary)
  const isSpaced = gguf.values.get('tokenizer.ggml.add_space_prefix') !== false
  const unknown = tokens.find((_, id) => types[id] === UNKNOWN)
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  return {
    normalizer: isSpaced ? { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, spaces] } : spaces,
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(isSpaced ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      unk_token: unknown ?? null,
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: mergesByScore(vocabulary, vocab, scores),
    },
  }
}

/** The best first, else in the order of the tokens. */
function mergesByScore(
  { tokens, types }: Vocabulary,
  vocab: Record<string, number>,
  scores: Float32Array,
): [string, string][] {
  const pieces = tokens.flatMap((text, id) =>
    types[id] === NORMAL || types[id] === USER_DEFINED ? [{ text, score: scores[id] as number }] : [],
  )
  return mergesOf(pieces, new Set(Object.keys(vocab)))
    .sort((a, b) => b.score - a.score)
    .map(({ left, right }) => [left, right])
}

function byteLevel(vocabulary: Vocabulary): object {
  const { gguf } = vocabulary
  const merges = gguf.values.get('tokenizer.ggml.merges')
  if (!Array.isArray(merges)) throw errors.badFile(gguf.path, '"tokenizer.ggml.merges"', 'a list of texts', 'none')
  const pre = preOf(gguf)
  return {
    normalizer: pre.isNfc ? { type: 'NFC' } : null,
    pre_tokenizer: preTokenizerOf(pre),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      ignore_merges: pre.ignoresMerges === true,
      vocab: vocabOf(vocabulary),
      merges: merges.map((merge) => merge.split(' ', 2)),
    },
  }
}

function preOf({ values, path }: GgufFile): Pre {
  const name = values.get('tokenizer.ggml.pre') ?? DEFAULT_PRE
  const pre = typeof name === 'string' ? pres.get(name) : undefined
  if (!pre) throw errors.badFile(path, '"tokenizer.ggml.pre"', `one of ${[...pres.keys()].join(', ')}`, show(name))
  return pre
}

/** Begin and end tokens, and the chat template. */
function tokenizerConfigOf({ gguf, tokens }: Vocabulary): Record<string, unknown> {
  const { values } = gguf
  const kind = values.get('tokenizer.ggml.model')
  const token = (name: string) => {
    const id = values.get(`tokenizer.ggml.${name}_token_id`)
    return typeof id === 'number' || typeof id === 'bigint' ? tokens[Number(id)] : undefined
  }
  const flag = (name: string, fallback: boolean) => {
    const value = values.get(`tokenizer.ggml.${name}`)
    return typeof value === 'boolean' ? value : fallback
  }
  const template = values.get('tokenizer.chat_template')
  const config = {
    bos_token: token('bos'),
    eos_token: token('eos'),
    unk_token: token('unknown'),
    pad_token: token('padding'),
    // llama.cpp begins the texts of SentencePiece, and of some others, where the file says nothing.
    add_bos_token: flag('add_bos_token', kind === 'llama' || preOf(gguf).begins === true) && token('bos') !== undefined,
    add_eos_token: flag('add_eos_token', false) && token('eos') !== undefined,
    chat_template: typeof template === 'string' ? template : undefined,
  }
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined))
}
