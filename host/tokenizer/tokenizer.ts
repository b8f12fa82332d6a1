/**
 * Text to token ids and back, over @huggingface/tokenizers. User text never becomes a control token: the library is
 * given a tokenizer without its special tokens, so a typed "<|endoftext|>" is nine characters like any others. A corpus,
 * whose documents are separated by such tokens, is encoded with `encodeCorpus`.
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import { show } from '../../models/index.ts'
import { errors } from '../errors.ts'
import { type TokenBytes, tokenBytes } from './bytes.ts'

interface AddedToken {
  id: number
  content: string
  special?: boolean
}

export class Tokenizer {
  private readonly inner: HuggingFaceTokenizer
  private readonly bytes: TokenBytes
  private readonly special: Map<string, number>
  private readonly added: Map<number, string>
  private readonly specialIds: Set<number>
  private readonly path: string

  /** Throws GtaError BAD_TOKENIZER; `path` is for its message. */
  constructor(path: string, json: Uint8Array, config: unknown) {
    this.path = path
    try {
      const parsed = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(json))
      const added = checkAddedTokens(parsed.added_tokens)
      checkVocab(parsed.model?.vocab)
      this.special = new Map(added.filter(({ special }) => special).map(({ content, id }) => [content, id]))
      this.added = new Map(added.map(({ id, content }) => [id, content]))
      this.specialIds = new Set(this.special.values())
      const bytes = tokenBytes(parsed.decoder)
      if (!bytes) throw new Error('its decoder is not supported')
      this.bytes = bytes
      const plain = { ...parsed, added_tokens: added.filter(({ special }) => !special) }
      this.inner = new HuggingFaceTokenizer(plain, (config as object) ?? {})
    } catch (cause) {
      throw errors.badTokenizer(path, `cannot be used (${cause instanceof Error ? cause.message : cause})`)
    }
  }

  /** Ids of text; nothing in it is a control token, and none is added. */
  encode(text: string): number[] {
    if (text === '') return []
    try {
      return this.inner.encode(text, { add_special_tokens: false }).ids
    } catch (cause) {
      throw errors.badTokenizer(this.path, `failed on this text (${cause instanceof Error ? cause.message : cause})`)
    }
  }

  /** Ids of a corpus: special tokens written out in it are themselves. */
  encodeCorpus(text: string): number[] {
    if (this.special.size === 0) return this.encode(text)
    const names = [...this.special.keys()].sort((a, b) => b.length - a.length)
    const pattern = new RegExp(`(${names.map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|')})`)
    const ids: number[] = []
    // Not push(...ids): a long document has more ids than a call may have arguments.
    for (const part of text.split(pattern)) {
      const id = this.special.get(part)
      if (id !== undefined) ids.push(id)
      else for (const token of this.encode(part)) ids.push(token)
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

/** Turns tokens into text as they come; half a character waits for its other half. */
export class TextStream {
  private readonly tokenizer: Tokenizer
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true })

  constructor(tokenizer: Tokenizer) {
    this.tokenizer = tokenizer
  }

  push(id: number): string {
    return this.decoder.decode(this.tokenizer.bytesOf(id), { stream: true })
  }

  /** What is left when no more comes: a broken character shows as U+FFFD. */
  end(): string {
    return this.decoder.decode()
  }
}
