/**
 * Text to token ids and back, over @huggingface/tokenizers or, of a tokenizer.model, as SentencePiece does it. User text
 * never becomes a control token: special tokens are not looked for in it, so a typed "<|endoftext|>" is nine characters like
 * any others. A corpus, whose documents are separated by such tokens, is encoded with `encodeCorpus`, the prompt of a chat
 * with `encodeChat`.
 */
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { parseJson } from '../json.ts'
import { type AddedToken, AddedTokens } from './added-tokens.ts'
import { type TokenBytes, tokenBytes } from './bytes.ts'
import type { Encoder } from './encoder.ts'
import { LibraryEncoder, needsMending, type TokenizerJson } from './library.ts'
import { longestToken } from './longest-token.ts'
import { USER_DEFINED } from './sentencepiece/settings.ts'
import { type TextEnds, textEndsOf } from './special-tokens.ts'
import { TextStream } from './text-stream.ts'

export class Tokenizer {
  /** What a prompt has around its text. @internal */
  readonly ends: TextEnds
  private readonly plain: Encoder
  /** Of a chat's text, if it is another one; made when it is needed. */
  private chat: Encoder | undefined
  private readonly encoderFor: (controls: ReadonlyMap<string, AddedToken>) => Encoder
  private readonly bytes: TokenBytes
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
   * From the bytes of a tokenizer.json and a parsed tokenizer_config.json; `path` is for messages. Throws GtaError
   * BAD_TOKENIZER. @internal
   */
  static async open(path: string, json: Uint8Array, config: unknown): Promise<Tokenizer> {
    try {
      const parsed = parseJson(json) as TokenizerJson
      return new Tokenizer(path, parsed, config, await encodersOf(parsed))
    } catch (cause) {
      throw errors.badTokenizer(path, `cannot be used (${cause instanceof Error ? cause.message : cause})`)
    }
  }

  /** `parsed` is not checked yet. Throws Error. */
  private constructor(path: string, parsed: TokenizerJson, config: unknown, makeEncoder: MakeEncoder) {
    this.path = path
    const added = checkAddedTokens(parsed.added_tokens)
    checkVocab(parsed.model?.vocab)
    const byName = (tokens: AddedToken[]) => new Map(tokens.map((token) => [token.content, token]))
    this.special = byName(added.filter(({ special }) => special))
    this.controls = byName(added.filter(({ special, content }) => special || content.trim() !== ''))
    this.added = new Map(added.map(({ id, content }) => [id, content]))
    this.specialIds = new Set([...this.special.values()].map(({ id }) => id))
    const bytes = tokenBytes(parsed.decoder)
    if (!bytes) throw new Error('its decoder is not supported')
    this.bytes = bytes
    this.longest = longestToken(parsed)
    this.ends = textEndsOf(parsed, config)
    const isLeft = leftToEncoder(parsed)
    this.ordinary = added.filter((token) => !token.special && !isLeft(token))
    this.ordinaryTokens = new AddedTokens(this.ordinary)
    this.encoderFor = (controls) => {
      const left = added.filter((token) => !controls.has(token.content) && isLeft(token))
      return makeEncoder({ ...parsed, added_tokens: left }, config, controls, added)
    }
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
    const token = this.plain.token(id)
    return token === undefined ? new Uint8Array() : this.bytes(token)
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

/** An encoder to which no text becomes one of `controls`. */
type MakeEncoder = (
  json: TokenizerJson,
  config: unknown,
  controls: ReadonlyMap<string, AddedToken>,
  added: readonly AddedToken[],
) => Encoder

/** What makes the encoders of a tokenizer.json, which is not checked yet. What few of them need is imported for those only. */
async function encodersOf(parsed: TokenizerJson): Promise<MakeEncoder> {
  if (parsed.model?.type === 'SentencePiece') {
    const { SentencePieceEncoder } = await import('./sentencepiece/encoder.ts')
    return (json, _config, controls) => new SentencePieceEncoder(json.model as never, new Set(controls.keys()))
  }
  const mend = needsMending(parsed) ? (await import('./sentencepiece/mend.ts')).mend : undefined
  return (json, config, _controls, added) =>
    new LibraryEncoder(json, (config as object) ?? {}, new Set(added.map(({ content }) => content)), mend)
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
