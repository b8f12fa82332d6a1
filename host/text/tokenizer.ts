/**
 * Text to token ids and back: over tables where they can be made, else over @huggingface/tokenizers or, of a
 * tokenizer.model, as SentencePiece does it. User text never becomes a control token: special tokens are not looked for in
 * it, so a typed "<|endoftext|>" is nine characters like any others. A corpus, whose documents are separated by such tokens,
 * is encoded with `encodeCorpus`, the prompt of a chat with `encodeChat`.
 */
import { show } from '../../models/index.ts'
import { errors, type GtaError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { type AddedToken, AddedTokens } from './added-tokens.ts'
import { type TokenBytes, tokenBytes } from './bytes.ts'
import type { Encoder } from './encoder.ts'
import type { TokenizerJson } from './library.ts'
import { longestOfTables, longestToken } from './longest-token.ts'
import { USER_DEFINED } from './sentencepiece/settings.ts'
import { type TextEnds, textEndsOf } from './special-tokens.ts'
import type { TableEncoder } from './table-encoder.ts'
import { TextStream } from './text-stream.ts'

export class Tokenizer {
  /** What a prompt has around its text. @internal */
  readonly ends: TextEnds
  private readonly plain: Encoder
  /** Of a chat's text, if it is another one; made when it is needed. */
  private chat: Encoder | undefined
  private readonly encoderFor: Parts['encoderFor']
  private readonly special: Map<string, AddedToken>
  /** Special tokens, and others such as DeepSeek's <｜User｜>: all that are no white space. */
  private readonly controls: Map<string, AddedToken>
  /** Tokens that are no special ones, and that the encoder does not find itself. */
  private readonly ordinary: AddedToken[]
  private readonly ordinaryTokens: AddedTokens
  private readonly added: Map<number, string>
  private readonly specialIds: Set<number>
  private readonly path: string
  private readonly longest: number

  /**
   * From the bytes of a tokenizer.json and a parsed tokenizer_config.json, over the library; `path` is for messages. Throws
   * GtaError BAD_TOKENIZER. @internal
   */
  static async open(path: string, json: Uint8Array, config: unknown): Promise<Tokenizer> {
    try {
      const parsed = parseJson(json) as TokenizerJson
      return new Tokenizer(path, checkAddedTokens(parsed.added_tokens), await partsOf(parsed, config))
    } catch (cause) {
      throw unusable(path, cause)
    }
  }

  /**
   * With an encoder over tables, made of the tokenizer.json of which this is all, or its added tokens and post-processor.
   * Throws GtaError BAD_TOKENIZER. @internal
   */
  static fromTables(path: string, parsed: TextJson, config: unknown, encoder: TableEncoder): Tokenizer {
    try {
      const added = checkAddedTokens(parsed.added_tokens)
      const own = encoder.added
      const isSame = added.every(({ id, special }, i) => id === own[i]?.id && (special === true) === own[i]?.special)
      if (!isSame || added.length !== own.length) throw new Error('its tables have other added tokens')
      return new Tokenizer(path, added, {
        ends: textEndsOf({ ...parsed, added_tokens: added }, config),
        longest: longestOfTables(encoder.longest, added),
        isLeft: () => false,
        encoderFor: () => encoder,
      })
    } catch (cause) {
      throw unusable(path, cause)
    }
  }

  /** Throws Error. */
  private constructor(path: string, added: AddedToken[], { ends, longest, isLeft, encoderFor }: Parts) {
    this.path = path
    const byName = (tokens: AddedToken[]) => new Map(tokens.map((token) => [token.content, token]))
    this.special = byName(added.filter(({ special }) => special))
    this.controls = byName(added.filter(({ special, content }) => special || content.trim() !== ''))
    this.added = new Map(added.map(({ id, content }) => [id, content]))
    this.specialIds = new Set([...this.special.values()].map(({ id }) => id))
    this.longest = longest
    this.ends = ends
    this.ordinary = added.filter((token) => !token.special && !isLeft(token))
    this.ordinaryTokens = new AddedTokens(this.ordinary)
    this.encoderFor = encoderFor
    this.plain = this.encoderFor(this.special)
  }

  /** Ids of text; nothing in it is a control token, and none is added. */
  encode(text: string): number[] {
    return this.encodeAround(text, this.ordinaryTokens, '', this.plain)
  }

  /** Tokens that a text of so many UTF-16 units has at least: found without reading it. 0 where nothing is known. @internal */
  leastTokens(length: number): number {
    return Math.ceil(length / this.longest)
  }

  /** Ids of a corpus: special tokens written out in it are themselves. */
  encodeCorpus(text: string): number[] {
    return this.encodeAround(text, new AddedTokens([...this.ordinary, ...this.special.values()]), '', this.plain)
  }

  /**
   * Ids of a prompt as a chat template wrote it: control tokens are themselves, unless `mark` stands before them. Marks
   * are no part of the text. @internal
   */
  encodeChat(text: string, mark: string): number[] {
    this.chat ??= this.controls.size === this.special.size ? this.plain : this.encoderFor(this.controls)
    const tokens = new AddedTokens([...this.ordinary, ...this.controls.values()], mark)
    return this.encodeAround(text, tokens, mark, this.chat)
  }

  /** What control tokens are called: those that users must not write, or those that a model does not write as text. @internal */
  controlNames(isSilentOnly: boolean): string[] {
    return [...(isSilentOnly ? this.special : this.controls).keys()]
  }

  /** The control token that a text begins with. @internal */
  controlAt(text: string): number | undefined {
    const names = [...this.controls.keys()].sort((a, b) => b.length - a.length)
    const name = names.find((candidate) => text.startsWith(candidate))
    return name === undefined ? undefined : this.controls.get(name)?.id
  }

  /** Ids of a text in which some tokens are written out. */
  private encodeAround(text: string, tokens: AddedTokens, mark: string, encoder: Encoder): number[] {
    const ids: number[] = []
    try {
      for (const [i, section] of tokens.split(text).entries()) {
        if (typeof section !== 'string') {
          ids.push(section.id)
          continue
        }
        const part = mark ? section.replaceAll(mark, '') : section
        // Not push(...ids): a long document has more ids than a call may have arguments.
        if (part !== '') for (const id of encoder.encode(part, i === 0)) ids.push(id)
      }
    } catch (cause) {
      throw errors.badTokenizer(this.path, `failed on this text (${cause instanceof Error ? cause.message : cause})`)
    }
    return ids
  }

  /** Bytes of one token; none for control tokens and unknown ids. */
  bytesOf(id: number, isShown = false): Uint8Array {
    if (!isShown && this.specialIds.has(id)) return new Uint8Array()
    const added = this.added.get(id)
    if (added !== undefined) return new TextEncoder().encode(added)
    return this.plain.bytesOf(id)
  }

  /** Text of tokens that follow others: no space is stripped, control tokens are silent. */
  decode(ids: Iterable<number>): string {
    if (typeof ids?.[Symbol.iterator] !== 'function') throw errors.badOption('token ids', 'a list of them', ids)
    const stream = new TextStream(this)
    let text = ''
    for (const id of ids) {
      if (!Number.isInteger(id)) throw errors.badOption('a token id', 'a whole number', id)
      text += stream.push(id)
    }
    return text + stream.end()
  }
}

/** Added tokens that the encoder finds itself: SentencePiece's user-defined pieces, or those that are normalized first. */
function leftToEncoder({ model, normalizer }: TokenizerJson) {
  return ({ id, content, special, normalized, single_word }: AddedToken): boolean => {
    if (model?.type === 'SentencePiece') return model.types?.[id] === String(USER_DEFINED)
    if (special || !(normalized ?? true) || !normalizer) return false
    if (single_word) throw new Error(`the token ${show(content)} is a single word of a normalized text`)
    return true
  }
}

/** What tables do not say. */
interface TextJson {
  added_tokens?: unknown
  post_processor?: unknown
  model?: { vocab?: unknown }
}

/** What is another one over the library and over tables. */
interface Parts {
  ends: TextEnds
  /** UTF-16 units of text behind one token at most. */
  longest: number
  /** Does the encoder find this added token itself? */
  isLeft: (token: AddedToken) => boolean
  /** An encoder to which no text becomes one of `controls`. */
  encoderFor: (controls: ReadonlyMap<string, AddedToken>) => Encoder
}

/** Over the library, or as SentencePiece does it; `parsed` is not checked yet, but for its added tokens. Throws Error. */
async function partsOf(parsed: TokenizerJson, config: unknown): Promise<Parts> {
  checkVocab(parsed.model?.vocab)
  const bytes = tokenBytes(parsed.decoder)
  if (!bytes) throw new Error('its decoder is not supported')
  const ends = textEndsOf(parsed, config)
  const added = parsed.added_tokens ?? []
  const isLeft = leftToEncoder(parsed)
  const makeEncoder = await encodersOf(parsed, config, bytes)
  const encoderFor: Parts['encoderFor'] = (controls) => {
    const left = added.filter((token) => !controls.has(token.content) && isLeft(token))
    return makeEncoder({ ...parsed, added_tokens: left }, controls)
  }
  return { ends, longest: longestToken(parsed), isLeft, encoderFor }
}

type MakeEncoder = (json: TokenizerJson, controls: ReadonlyMap<string, AddedToken>) => Encoder

/** What not all of them need is imported for those only. */
async function encodersOf(parsed: TokenizerJson, config: unknown, bytes: TokenBytes): Promise<MakeEncoder> {
  if (parsed.model?.type === 'SentencePiece') {
    const { SentencePieceEncoder } = await import('./sentencepiece/encoder.ts')
    return (json, controls) => new SentencePieceEncoder(json.model as never, bytes, new Set(controls.keys()))
  }
  const { LibraryEncoder, needsMending } = await import('./library.ts')
  const mend = needsMending(parsed) ? (await import('./sentencepiece/mend.ts')).mend : undefined
  const reserved = new Set((parsed.added_tokens ?? []).map(({ content }) => content))
  return (json) => new LibraryEncoder(json, (config as object) ?? {}, bytes, reserved, mend)
}

/** What is thrown for a tokenizer that cannot be used. @internal */
export function unusable(path: string, cause: unknown): GtaError {
  return errors.badTokenizer(path, `cannot be used (${cause instanceof Error ? cause.message : cause})`)
}

/** The library trusts its input; a broken file must not end as wrong text. */
function checkAddedTokens(value: unknown): AddedToken[] {
  const tokens = value ?? []
  if (!Array.isArray(tokens)) throw new Error('added_tokens must be a list')
  for (const token of tokens)
    if (!isId(token?.id) || typeof token.content !== 'string' || token.content === '')
      throw new Error(`an added token must have an id and a content, found ${show(token)}`)
  return tokens
}

function checkVocab(value: unknown): void {
  const isObject = typeof value === 'object' && value !== null
  // Unigram models list [text, score] pairs; the place is the id.
  const ids = Array.isArray(value) ? value.map((_, id) => id) : isObject ? Object.values(value) : []
  if (ids.length === 0) throw new Error(`its vocabulary must hold tokens, found ${show(value)}`)
  const wrong = ids.find((id) => !isId(id))
  if (wrong !== undefined) throw new Error(`an id in its vocabulary must be a whole number, found ${show(wrong)}`)
}

const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < 2 ** 31
