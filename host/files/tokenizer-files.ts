/**
 * The tokenizer of a directory, as tokenizer.json and tokenizer_config.json: read from these, or made of what older
 * checkpoints have in their place, by the class of transformers that reads it.
 *
 *     tokenizer.json                  as it is
 *     tokenizer.model                 SentencePiece: LlamaTokenizer, CodeLlamaTokenizer, GemmaTokenizer
 *     vocab.json and merges.txt       byte level: GPT2Tokenizer, Qwen2Tokenizer
 */
import { join } from 'node:path'
import { errors } from '../errors.ts'
import { parseJson } from '../json.ts'
import { addTokens, configWithTokens, type TokenFiles, type TokenizerJson } from './added-tokens.ts'
import { readJson, readOptional, readText } from './json.ts'
import { isObject } from './objects.ts'
import { refuseOtherKind } from './other-kinds.ts'
import { gpt4Pattern } from './patterns.ts'
import { readSentencePiece } from './sentencepiece/model-file.ts'
import { sentencePieceJson } from './sentencepiece/tokenizer-json.ts'
import type { ModelFiles } from './source.ts'

type Config = Record<string, unknown>

/** Special tokens of a class where no file names any. */
const sentencePieceClasses: Record<string, Config> = {
  LlamaTokenizer: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
  CodeLlamaTokenizer: { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' },
  GemmaTokenizer: { bos_token: '<bos>', eos_token: '<eos>', unk_token: '<unk>', pad_token: '<pad>' },
}

const END = '<|endoftext|>'
const byteLevelClasses: Record<string, Config> = {
  GPT2Tokenizer: { bos_token: END, eos_token: END, unk_token: END },
  Qwen2Tokenizer: { eos_token: END, unk_token: END, pad_token: END },
}

/** Classes by the model_type of config.json, where tokenizer_config.json names none (tokenization_auto.py). */
const classes: Record<string, string> = {
  gemma: 'GemmaTokenizer',
  gemma2: 'GemmaTokenizer',
  gemma3: 'GemmaTokenizer',
  gemma3_text: 'GemmaTokenizer',
  gpt2: 'GPT2Tokenizer',
  qwen2: 'Qwen2Tokenizer',
  qwen3: 'Qwen2Tokenizer',
}

/** Throws BAD_FILE and BAD_TOKENIZER. */
export async function readTokenizer(
  directory: string,
  modelConfig: unknown,
): Promise<Pick<ModelFiles, 'tokenizer' | 'tokenizerConfig'>> {
  const at = (name: string) => join(directory, name)
  const [config, special, added, tokenizer] = await Promise.all([
    readJson(at('tokenizer_config.json')),
    readJson(at('special_tokens_map.json')),
    readJson(at('added_tokens.json')),
    readOptional(at('tokenizer.json')),
  ])
  const files: TokenFiles = { config, special, added }
  const merged = configWithTokens(files)
  if (!tokenizer) return (await readOlder(directory, modelConfig, merged, added)) ?? { tokenizerConfig: merged }
  refuseOtherKind(at('tokenizer.json'), tokenizer, 'a JSON file')
  return { tokenizer: withTokens(directory, tokenizer, merged, added), tokenizerConfig: merged }
}

/** tokenizer.json with the tokens of the files beside it; one that is none says so where it is used. */
function withTokens(directory: string, tokenizer: Uint8Array, config: unknown, added: unknown): Uint8Array {
  let json: TokenizerJson
  try {
    json = parseJson(tokenizer) as TokenizerJson
    if (!isObject(json) || !Array.isArray(json.added_tokens ?? [])) return tokenizer
  } catch {
    return tokenizer
  }
  const isChanged = [addTokens(directory, json, config, added), setPrefix(json, config)].includes(true)
  return isChanged ? bytesOf(json) : tokenizer
}

type Step = Record<string, unknown>

/**
 * `add_prefix_space` of tokenizer_config.json counts more: for a ByteLevel that stands alone (PreTrainedTokenizerFast), and
 * where it takes SentencePiece's blank away (LlamaTokenizerFast).
 */
function setPrefix(json: TokenizerJson & { pre_tokenizer?: unknown; normalizer?: unknown }, config: unknown): boolean {
  const { pre_tokenizer: pre, normalizer } = json
  const said = isObject(config) ? config.add_prefix_space : undefined
  if (typeof said !== 'boolean') return false
  if (isObject(pre) && pre.type === 'ByteLevel') {
    const isOther = pre.add_prefix_space !== said
    pre.add_prefix_space = said
    return isOther
  }
  if (said || !/^(Code)?LlamaTokenizer/.test(String((config as Config).tokenizer_class))) return false
  const isMetaspace = isObject(pre) && pre.type === 'Metaspace'
  if (isMetaspace) pre.prepend_scheme = 'never'
  const steps = isObject(normalizer) && Array.isArray(normalizer.normalizers) ? (normalizer.normalizers as Step[]) : []
  const others = steps.filter((step) => step?.type !== 'Prepend')
  if (isObject(normalizer) && others.length < steps.length) normalizer.normalizers = others
  return isMetaspace || others.length < steps.length
}

/** What an older file says, before the added tokens. */
interface Older {
  json: TokenizerJson
  config: Config
  /** It normalizes what is left of a text when the added tokens are cut out; else some of them are cut out later. */
  isSentencePiece: boolean
}

async function readOlder(
  directory: string,
  modelConfig: unknown,
  merged: unknown,
  added: unknown,
): Promise<Pick<ModelFiles, 'tokenizer' | 'tokenizerConfig'> | undefined> {
  const own = isObject(merged) ? merged : {}
  const older =
    (await readSentencePieceFile(join(directory, 'tokenizer.model'), own, modelConfig)) ??
    (await readByteLevelFiles(directory, own, modelConfig))
  if (!older) return undefined
  const { json, config, isSentencePiece } = older
  addTokens(directory, json, config, added)
  if (isSentencePiece) for (const token of json.added_tokens ?? []) token.normalized = false
  return { tokenizer: bytesOf(json), tokenizerConfig: config }
}

async function readSentencePieceFile(path: string, own: Config, modelConfig: unknown): Promise<Older | undefined> {
  const file = await readOptional(path)
  if (!file) return undefined
  const known = classOf(path, own, modelConfig, sentencePieceClasses, 'LlamaTokenizer')
  refuseOtherKind(path, file, 'a SentencePiece model')
  const model = readSentencePiece(path, file)
  if (own.add_prefix_space === false) model.addDummyPrefix = false
  const names = new Set<unknown>(model.pieces.map(({ text }) => text))
  const defaults = Object.entries(known.defaults).filter(([, name]) => names.has(name))
  // Where a model does not have the tokens of its class, it says itself which ones it has.
  const ends = { bos_token: model.bos, eos_token: model.eos }
  const config = { ...ends, ...Object.fromEntries(defaults), ...own, tokenizer_class: known.name }
  return { json: sentencePieceJson(model, own.legacy !== false), config, isSentencePiece: true }
}

async function readByteLevelFiles(directory: string, own: Config, modelConfig: unknown): Promise<Older | undefined> {
  const at = (name: string) => join(directory, name)
  const [vocab, merges] = await Promise.all([readJson(at('vocab.json')), readText(at('merges.txt'))])
  if (vocab === undefined || merges === undefined) return undefined
  const known = classOf(at('vocab.json'), own, modelConfig, byteLevelClasses, undefined)
  const json = byteLevelJson(vocab, mergesOf(at('merges.txt'), merges), known.name, own)
  return { json, config: { ...known.defaults, ...own, tokenizer_class: known.name }, isSentencePiece: false }
}

/** The class that reads a file, without "Fast"; refused unless it is one of `known`. */
function classOf(
  file: string,
  config: Config,
  modelConfig: unknown,
  known: Record<string, Config>,
  otherwise: string | undefined,
): { name: string; defaults: Config } {
  const model = isObject(modelConfig) ? modelConfig : {}
  const byModel = Object.hasOwn(classes, String(model.model_type)) ? classes[String(model.model_type)] : otherwise
  const found = config.tokenizer_class ?? model.tokenizer_class ?? byModel
  const name = String(found).replace(/Fast$/, '')
  const defaults = Object.hasOwn(known, name) ? known[name] : undefined
  if (!defaults)
    throw errors.badTokenizer(
      file,
      found === undefined
        ? 'has no tokenizer.json, and no "tokenizer_class" that says how it is read'
        : `must be of the class ${Object.keys(known).join(', ')} without a tokenizer.json, found ${JSON.stringify(found)}`,
    )
  return { name, defaults }
}

/** GPT-2's files: converted as convert_slow_tokenizer.py does. */
function byteLevelJson(vocab: unknown, merges: [string, string][], name: string, config: Config): TokenizerJson {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: config.add_prefix_space === true, trim_offsets: false }
  const isQwen = name === 'Qwen2Tokenizer'
  const split = { type: 'Split', pattern: { Regex: gpt4Pattern('') }, behavior: 'Isolated', invert: false }
  const qwen = { type: 'Sequence', pretokenizers: [split, { ...byteLevel, use_regex: false }] }
  const json = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: isQwen ? { type: 'NFC' } : null,
    pre_tokenizer: isQwen ? qwen : { ...byteLevel, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', vocab, merges },
  }
  return json
}

/** merges.txt: two parts a line, the best pair first, behind a line "#version". */
function mergesOf(path: string, text: string): [string, string][] {
  const merges: [string, string][] = []
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line === '' || line.startsWith('#version')) continue
    const [left, right, ...others] = line.split(' ')
    if (!left || !right || others.length > 0)
      throw errors.badFile(path, `line ${i + 1}`, 'two parts with a space between them', JSON.stringify(line))
    merges.push([left, right])
  }
  return merges
}

function bytesOf(json: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(json))
}
