/**
 * What a packed file holds for the command without JavaScript (assembly/wasi/), which reads no JSON of a model: two
 * tensors of bytes, little-endian words, padded with zeros to 64. The hosts do not read them.
 *
 *     generation.table   u32 version ┃ has begin token ┃ begin token ┃ given: bit 0 temperature … 4 repetition penalty
 *                        ┃ top-k ┃ end tokens n ┃ 0 ┃ 0 ┃ f64 temperature ┃ top-p ┃ min-p ┃ repetition penalty ┃ u32[n]
 *
 *     tokenizer.tables   u32 version ┃ kind ┃ split ┃ prefix ┃ ignores merges ┃ tokens ┃ bytes of text ┃ merges ┃ classes
 *                        ┃ added tokens ┃ 0 … to 16 words
 *                        classes   u32: first character << 8 | class, rising     merges   u32 left, u32 right, by rank
 *                        added     u32: id << 1 | is control token               lengths  u16 of each token's text
 *                        text      of all tokens: bytes, or characters with ▁ for a blank
 *
 * Bit 15 of a length: the token is none of the vocabulary, text never becomes it. What \p{L}, \p{N} and white space are is
 * what this Node's regular expressions say, so the command cuts text as the Node that converted the model does.
 */
import { type ModelSpec, roundUp } from '../../models/index.ts'
import { recommendedSampling } from '../engine/sampling.ts'
import { byteLevelTable } from '../text/bytes.ts'
import { bosOf, eosOf } from '../text/special-tokens.ts'
import { Tokenizer } from '../text/tokenizer.ts'
import type { ModelFiles } from './source.ts'

const VERSION = 1
const ALIGN = 64

/** As in assembly/wasi/vocabulary.ts and split.ts. */
const kinds = { byteLevel: 1, sentencePiece: 2 }
const splits = { none: 0, gpt2: 1, llama3: 2, qwen2: 3 }
const prefixes = { none: 0, always: 1, missing: 2, first: 3 }
const NOT_IN_VOCABULARY = 0x8000
const MAX_LENGTH = 0x7fff

/** Expressions of Split pre-tokenizers that the command knows, word for word. */
const knownPatterns = new Map([
  [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    splits.llama3,
  ],
  [
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    splits.qwen2,
  ],
])

/** The tensors of a model, by name; without tokenizer.tables if there is no tokenizer that the command can follow. */
export function commandTables(spec: ModelSpec, files: ModelFiles): { name: string; bytes: Uint8Array }[] {
  const tables = [{ name: 'generation.table', bytes: generationTable(spec, files) }]
  const tokenizer = files.tokenizer && tokenizerTables(files.tokenizer, files.tokenizerConfig)
  if (tokenizer) tables.push({ name: 'tokenizer.tables', bytes: tokenizer })
  return tables
}

function generationTable(spec: ModelSpec, { generation, tokenizerConfig }: ModelFiles): Uint8Array {
  const bos = bosOf(spec, tokenizerConfig)
  const eos = [...eosOf(spec, generation)]
  const { temperature, topK, topP, minP, repeatPenalty } = recommendedSampling(generation)
  const given = [temperature, topK, topP, minP, repeatPenalty].reduce<number>(
    (bits, value, i) => bits + (value === undefined ? 0 : 2 ** i),
    0,
  )
  const writer = new Writer()
  writer.words([VERSION, bos === undefined ? 0 : 1, bos ?? 0, given, topK ?? 0, eos.length, 0, 0])
  const floats = new DataView(new ArrayBuffer(32))
  for (const [i, value] of [temperature, topP, minP, repeatPenalty].entries())
    floats.setFloat64(8 * i, value ?? 0, true)
  writer.bytes(new Uint8Array(floats.buffer))
  writer.words(eos)
  return writer.end()
}

/** Collects little-endian words and bytes. */
class Writer {
  private readonly parts: Uint8Array[] = []

  words(values: readonly number[]): void {
    const view = new DataView(new ArrayBuffer(4 * values.length))
    for (const [i, value] of values.entries()) view.setUint32(4 * i, value, true)
    this.parts.push(new Uint8Array(view.buffer))
  }

  bytes(values: Uint8Array): void {
    this.parts.push(values)
  }

  end(): Uint8Array {
    const length = this.parts.reduce((sum, part) => sum + part.length, 0)
    const result = new Uint8Array(roundUp(length, ALIGN))
    let at = 0
    for (const part of this.parts) {
      result.set(part, at)
      at += part.length
    }
    return result
  }
}

interface Step {
  type?: string
  [option: string]: unknown
}

interface TokenizerJson {
  normalizer?: Step | null
  pre_tokenizer?: Step | null
  decoder?: Step | null
  added_tokens?: ({ id: number; content: string; special?: boolean } & Step)[]
  model?: Step & { vocab?: Record<string, number>; merges?: (string | [string, string])[] }
}

/** The tables of a tokenizer.json; undefined if it works in a way that the command does not know, or not at all. */
export function tokenizerTables(json: Uint8Array, config: unknown): Uint8Array | undefined {
  let tokenizer: Tokenizer
  try {
    tokenizer = new Tokenizer('tokenizer.json', json, config)
  } catch {
    // A tokenizer that cannot be used at all says so when the model is loaded.
    return undefined
  }
  const parsed: TokenizerJson = JSON.parse(new TextDecoder().decode(json))
  const way = describeWay(parsed, (config ?? {}) as Record<string, unknown>)
  return way && writeTables(parsed, way, tokenizer)
}

interface Way {
  kind: number
  split: number
  prefix: number
  ignoresMerges: boolean
}

/** How it goes from text to tokens; undefined if in another way than the command. */
function describeWay(json: TokenizerJson, config: Record<string, unknown>): Way | undefined {
  const { model, added_tokens: added = [] } = json
  if (model?.type !== 'BPE' || config.remove_space || config.do_lowercase_and_remove_accent) return undefined
  const others = ['dropout', 'continuing_subword_prefix', 'continuing_subword_suffix', 'end_of_word_suffix']
  if (others.some((name) => model[name])) return undefined
  const isPlain = (token: Step) =>
    token.special || !(token.lstrip || token.rstrip || token.single_word || (token.normalized && json.normalizer))
  if (!added.every(isPlain)) return undefined
  const ignoresMerges = model.ignore_merges === true
  if (json.decoder?.type === 'ByteLevel') {
    const cut = json.normalizer ? undefined : describeSplit(json.pre_tokenizer)
    return cut && { kind: kinds.byteLevel, ...cut, ignoresMerges }
  }
  const prefix = model.byte_fallback === true ? describePrefix(json) : undefined
  return prefix === undefined ? undefined : { kind: kinds.sentencePiece, split: splits.none, prefix, ignoresMerges }
}

/** ByteLevel alone with GPT-2's expression, or behind a Split with one that is known. */
function describeSplit(step: Step | null | undefined): Pick<Way, 'split' | 'prefix'> | undefined {
  const steps = step?.type === 'Sequence' ? ((step.pretokenizers as Step[]) ?? []) : [step ?? {}]
  const last = steps.at(-1)
  if (last?.type !== 'ByteLevel') return undefined
  if (steps.length === 1) {
    const prefix = last.add_prefix_space ? prefixes.missing : prefixes.none
    return { split: (last.use_regex ?? true) ? splits.gpt2 : splits.none, prefix }
  }
  const [first] = steps
  const pattern = (first?.pattern as { Regex?: string } | undefined)?.Regex ?? ''
  const split = knownPatterns.get(pattern)
  const isKnown = steps.length === 2 && first?.type === 'Split' && split !== undefined
  // Isolated: the pieces that match and what lies between them, of which these expressions leave nothing.
  const isIsolated = first?.behavior === 'Isolated' && first.invert === false
  if (!isKnown || !isIsolated || last.add_prefix_space || (last.use_regex ?? true)) return undefined
  return { split, prefix: prefixes.none }
}

/** SentencePiece's ▁: by a normalizer or a Metaspace pre-tokenizer. */
function describePrefix({ normalizer, pre_tokenizer: pre }: TokenizerJson): number | undefined {
  if (pre?.type === 'Metaspace' && !normalizer) {
    if ((pre.replacement ?? '▁') !== '▁' || (pre.str_rep ?? '▁') !== '▁' || pre.split === true) return undefined
    const schemes: Record<string, number> = {
      always: prefixes.missing,
      first: prefixes.first,
      never: prefixes.none,
    }
    return schemes[String(pre.prepend_scheme ?? 'always')]
  }
  if (pre || normalizer?.type !== 'Sequence') return undefined
  const steps = [...((normalizer.normalizers as Step[]) ?? [])]
  const hasPrepend = steps[0]?.type === 'Prepend' && steps[0].prepend === '▁'
  if (hasPrepend) steps.shift()
  const [replace] = steps
  const isReplace =
    steps.length === 1 &&
    replace?.type === 'Replace' &&
    (replace.pattern as { String?: string })?.String === ' ' &&
    replace.content === '▁'
  return isReplace ? (hasPrepend ? prefixes.always : prefixes.none) : undefined
}

function writeTables(json: TokenizerJson, way: Way, tokenizer: Tokenizer): Uint8Array | undefined {
  const { vocab = {}, merges = [] } = json.model ?? {}
  const added = json.added_tokens ?? []
  const ids = new Map(Object.entries(vocab))
  const texts = tokenTexts(way, ids, added)
  if (!texts) return undefined
  const isControl = new Map(added.map(({ id, special }) => [id, special === true]))
  for (const [id, text] of texts.entries())
    if (!isEqual(shownBytes(way, text.bytes, isControl.get(id)), tokenizer.bytesOf(id))) return undefined

  const pairs: number[] = []
  for (const merge of merges) {
    const [left = '', right = ''] = typeof merge === 'string' ? merge.split(' ', 2) : merge
    const [a, b] = [ids.get(left), ids.get(right)]
    // A merge of what is no token would need text where the command has ids.
    if (a === undefined || b === undefined || !ids.has(left + right)) return undefined
    pairs.push(a, b)
  }
  const classes = way.split === splits.none ? [] : characterClasses()
  const textBytes = texts.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const lengths = new DataView(new ArrayBuffer(2 * texts.length))
  for (const [id, { bytes, isInVocabulary }] of texts.entries())
    lengths.setUint16(2 * id, bytes.length | (isInVocabulary ? 0 : NOT_IN_VOCABULARY), true)

  const writer = new Writer()
  const { kind, split, prefix, ignoresMerges } = way
  const sizes = [texts.length, textBytes, pairs.length / 2, classes.length, added.length]
  writer.words([VERSION, kind, split, prefix, ignoresMerges ? 1 : 0, ...sizes, 0, 0, 0, 0, 0, 0])
  writer.words(classes)
  writer.words(pairs)
  writer.words(added.map(({ id, special }) => id * 2 + (special ? 1 : 0)))
  writer.bytes(new Uint8Array(lengths.buffer))
  for (const { bytes } of texts) writer.bytes(bytes)
  return writer.end()
}

interface TokenText {
  bytes: Uint8Array
  isInVocabulary: boolean
}

/** The text of every id as the command looks for it; undefined if some byte has no token, or a token is too long. */
function tokenTexts(
  { kind }: Way,
  ids: ReadonlyMap<string, number>,
  added: readonly { id: number; content: string; special?: boolean }[],
): TokenText[] | undefined {
  const encoder = new TextEncoder()
  const bytesOf = byteLevelTable()
  // Not max(...): a vocabulary has more ids than a call may have arguments.
  const last = [...ids.values(), ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), 0)
  if (last >= 2 ** 24) return undefined
  const texts: TokenText[] = Array.from({ length: last + 1 }, () => ({
    bytes: new Uint8Array(),
    isInVocabulary: false,
  }))
  for (const [token, id] of ids) {
    const values = kind === kinds.byteLevel ? Array.from(token, (char) => bytesOf.get(char)) : undefined
    // Characters outside of the table are plain text, which no text becomes.
    texts[id] = values?.includes(undefined)
      ? { bytes: encoder.encode(token), isInVocabulary: false }
      : { bytes: values ? Uint8Array.from(values as number[]) : encoder.encode(token), isInVocabulary: true }
  }
  // An added token that is text is cut out before anything else, a control token is never shown: both by their content.
  for (const { id, content, special } of added)
    if (!special || !texts[id]?.isInVocabulary) texts[id] = { bytes: encoder.encode(content), isInVocabulary: false }
  const names = Array.from({ length: 256 }, (_, byte) =>
    kind === kinds.byteLevel ? undefined : `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  )
  const singles = kind === kinds.byteLevel ? [...bytesOf.keys()] : (names as string[])
  if (!singles.every((name) => ids.has(name))) return undefined
  return texts.every(({ bytes }) => bytes.length <= MAX_LENGTH) ? texts : undefined
}

/** What the command shows of a token, an added one if `isControl` is given: see pushToken() in assembly/wasi/tokenizer.ts. */
function shownBytes({ kind }: Way, text: Uint8Array, isControl: boolean | undefined): Uint8Array {
  if (isControl) return new Uint8Array()
  if (isControl === false || kind === kinds.byteLevel) return text
  const string = new TextDecoder('utf-8', { ignoreBOM: true }).decode(text)
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(string)
  if (byte) return Uint8Array.of(Number.parseInt(byte[1] as string, 16))
  return new TextEncoder().encode(string.replaceAll('▁', ' '))
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** Where the class of characters changes: 1 letter, 2 number, 3 white space, 4 only for \s, 5 only for Unicode, 0 other. */
function characterClasses(): number[] {
  const words: number[] = []
  let before = -1
  for (let c = 0; c < 0x110000; c++) {
    const found = classOf(String.fromCodePoint(c))
    if (found !== before) words.push(c * 256 + found)
    before = found
  }
  return words
}

function classOf(char: string): number {
  if (/\p{L}/u.test(char)) return 1
  if (/\p{N}/u.test(char)) return 2
  const [isOfJs, isOfUnicode] = [/\s/u.test(char), /\p{White_Space}/u.test(char)]
  return isOfJs && isOfUnicode ? 3 : isOfJs ? 4 : isOfUnicode ? 5 : 0
}
