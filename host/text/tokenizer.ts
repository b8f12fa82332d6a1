/**
 * Text to token ids and back, over @huggingface/tokenizers. User text never becomes a control token: the library is
 * given a tokenizer without its special tokens, so a typed "<|endoftext|>" is nine characters like any others. A corpus,
 * whose documents are separated by such tokens, is encoded with `encodeCorpus`, the prompt of a chat with `encodeChat`.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { type TokenBytes, tokenBytes } from './bytes.ts'
import { withAllDigits } from './digits.ts'
import { longestToken } from './longest-token.ts'
import { type TextEnds, textEndsOf } from './special-tokens.ts'
import { TextStream } from './text-stream.ts'

interface AddedToken {
  id: number
  content: string
  special?: boolean
  /** White space before it, or behind it, belongs to it. */
  lstrip?: boolean
  rstrip?: boolean
}

export class Tokenizer {
  /** What a prompt has around its text. @internal */
  readonly ends: TextEnds
  private readonly inner: HuggingFaceTokenizer
  private readonly bytes: TokenBytes
  private readonly special: Map<string, AddedToken>
  /** Special tokens, and others such as DeepSeek's <｜User｜>: all that are no white space. */
  private readonly controls: Map<string, AddedToken>
  private readonly added: Map<number, string>
  private readonly specialIds: Set<number>
  private readonly path: string
  private readonly longest: number
  /** Tokenizers of a chat's text: where it begins, and behind a control token. Made when they are needed. */
  private readonly chat: { first?: HuggingFaceTokenizer; later?: HuggingFaceTokenizer } = {}
  private readonly makeChat: (isFirst: boolean) => HuggingFaceTokenizer

  /** Throws GtaError BAD_TOKENIZER; `path` is for its message. @internal */
  constructor(path: string, json: Uint8Array, config: unknown) {
    this.path = path
    try {
      const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json))
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
      const plain = {
        ...parsed,
        added_tokens: added.filter(({ special }) => !special),
        pre_tokenizer: withAllDigits(parsed.pre_tokenizer),
      }
      this.inner = new HuggingFaceTokenizer(plain, (config as object) ?? {})
      this.makeChat = (isFirst) => makeChat(plain, (config as object) ?? {}, this.controls, this.inner, isFirst)
    } catch (cause) {
      throw errors.badTokenizer(path, `cannot be used (${cause instanceof Error ? cause.message : cause})`)
    }
  }

  /** Ids of text; nothing in it is a control token, and none is added. */
  encode(text: string): number[] {
    return this.encodeWith(this.inner, text)
  }

  /** Tokens that a text of so many UTF-16 units has at least: found without reading it. 0 where nothing is known. @internal */
  leastTokens(length: number): number {
    return Math.ceil(length / this.longest)
  }

  /** Ids of a corpus: special tokens written out in it are themselves. */
  encodeCorpus(text: string): number[] {
    return this.encodeAround(text, this.special, '', () => this.inner)
  }

  /**
   * Ids of a prompt as a chat template wrote it: control tokens are themselves, unless `mark` stands before them. Marks
   * are no part of the text. @internal
   */
  encodeChat(text: string, mark: string): number[] {
    return this.encodeAround(text, this.controls, mark, (isFirst) => {
      const place = isFirst ? 'first' : 'later'
      this.chat[place] ??= this.makeChat(isFirst)
      return this.chat[place]
    })
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

  private encodeWith(inner: HuggingFaceTokenizer, text: string): number[] {
    if (text === '') return []
    try {
      return inner.encode(text, { add_special_tokens: false }).ids
    } catch (cause) {
      throw errors.badTokenizer(this.path, `failed on this text (${cause instanceof Error ? cause.message : cause})`)
    }
  }

  /** Ids of a text in which some tokens are written out. */
  private encodeAround(
    text: string,
    tokens: ReadonlyMap<string, AddedToken>,
    mark: string,
    innerFor: (isFirst: boolean) => HuggingFaceTokenizer,
  ): number[] {
    const names = [...tokens.keys()].sort((a, b) => b.length - a.length)
    const pattern = names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')
    const parts = names.length === 0 ? [text] : text.split(new RegExp(`${mark && `(?<!${mark})`}(${pattern})`))
    const ids: number[] = []
    // Between two texts there is a token.
    for (let i = 0; i < parts.length; i += 2) {
      const [before, after] = [tokens.get(parts[i - 1] ?? ''), tokens.get(parts[i + 1] ?? '')]
      let part = mark ? (parts[i] as string).replaceAll(mark, '') : (parts[i] as string)
      if (before?.rstrip) part = part.trimStart()
      if (after?.lstrip) part = part.trimEnd()
      // Not push(...ids): a long document has more ids than a call may have arguments.
      for (const id of this.encodeWith(innerFor(i === 0), part)) ids.push(id)
      if (after) ids.push(after.id)
    }
    return ids
  }

  /** Bytes of one token; none for control tokens and unknown ids. */
  bytesOf(id: number): Uint8Array {
    if (this.specialIds.has(id)) return new Uint8Array()
    const added = this.added.get(id)
    if (added !== undefined) return new TextEncoder().encode(added)
    const token = this.inner.id_to_token(id)
    return token === undefined ? new Uint8Array() : this.bytes(token)
  }

  /** Text of tokens that follow others: no space is stripped, control tokens are silent. */
  decode(ids: Iterable<number>): string {
    const stream = new TextStream(this)
    let text = ''
    for (const id of ids) text += stream.push(id)
    return text + stream.end()
  }
}

/**
 * The tokenizer of the text of a chat: nothing in it is a control token. SentencePiece's space before the first word is
 * left out behind a control token, if it is only for the first word of all (`prepend_scheme` first).
 */
function makeChat(
  plain: { added_tokens: AddedToken[]; pre_tokenizer?: unknown },
  config: object,
  controls: ReadonlyMap<string, AddedToken>,
  inner: HuggingFaceTokenizer,
  isFirst: boolean,
): HuggingFaceTokenizer {
  const added = plain.added_tokens.filter(({ content }) => !controls.has(content))
  const before = JSON.stringify(plain.pre_tokenizer ?? null)
  const after = isFirst ? before : before.replaceAll('"prepend_scheme":"first"', '"prepend_scheme":"never"')
  if (added.length === plain.added_tokens.length && after === before) return inner
  return new HuggingFaceTokenizer({ ...plain, added_tokens: added, pre_tokenizer: JSON.parse(after) }, config)
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
