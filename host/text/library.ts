/**
 * Encoders over @huggingface/tokenizers, with what it does otherwise than the tokenizers of transformers put right: digits
 * (digits.ts), and what came from SentencePiece (sentencepiece/mend.ts).
 */
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers'
import type { AddedToken } from './added-tokens.ts'
import type { DecoderConfig, TokenBytes } from './bytes.ts'
import { withAllDigits } from './digits.ts'
import type { Encoder } from './encoder.ts'

export interface TokenizerJson {
  added_tokens: AddedToken[]
  normalizer?: unknown
  pre_tokenizer?: unknown
  decoder?: DecoderConfig | null
  model?: { type?: unknown; vocab?: unknown; unk_id?: unknown; byte_fallback?: unknown; types?: string }
}

/** Puts right in a tokenizer of the library what it does otherwise; no text becomes a token of the names `reserved`. */
export type Mend = (tokenizer: HuggingFaceTokenizer, json: TokenizerJson, reserved: ReadonlySet<string>) => void

export class LibraryEncoder implements Encoder {
  private readonly json: TokenizerJson
  private readonly config: object
  private readonly reserved: ReadonlySet<string>
  private readonly mend: Mend | undefined
  private readonly bytes: TokenBytes
  private readonly first: HuggingFaceTokenizer
  /** For a text behind a token, if it is another one. */
  private later: HuggingFaceTokenizer | undefined

  /**
   * `json` has those added tokens that are looked for in a normalized text; no text becomes a token of the names
   * `reserved` otherwise. `mend` must be there if needsMending() says so. Throws Error.
   */
  constructor(
    json: TokenizerJson,
    config: object,
    bytes: TokenBytes,
    reserved: ReadonlySet<string>,
    mend: Mend | undefined,
  ) {
    this.json = json
    this.config = config
    this.reserved = reserved
    this.mend = mend
    this.bytes = bytes
    this.first = this.make(json)
  }

  encode(text: string, isFirst: boolean): number[] {
    if (!isFirst) this.later ??= this.makeLater()
    const tokenizer = isFirst ? this.first : (this.later as HuggingFaceTokenizer)
    // What stands alone of a pair is U+FFFD, as in all UTF-8.
    return tokenizer.encode(text.toWellFormed(), { add_special_tokens: false }).ids
  }

  bytesOf(id: number): Uint8Array {
    const token = this.first.id_to_token(id)
    return token === undefined ? new Uint8Array() : this.bytes(token)
  }

  /** SentencePiece's blank before the first word is left out behind a token, if it is for the first word of all only. */
  private makeLater(): HuggingFaceTokenizer {
    const before = JSON.stringify(this.json.pre_tokenizer ?? null)
    const after = before.replaceAll('"prepend_scheme":"first"', '"prepend_scheme":"never"')
    return after === before ? this.first : this.make({ ...this.json, pre_tokenizer: JSON.parse(after) })
  }

  private make(json: TokenizerJson): HuggingFaceTokenizer {
    const own = { ...json, pre_tokenizer: withAllDigits(json.pre_tokenizer) }
    const tokenizer = new HuggingFaceTokenizer(own, this.config)
    this.mend?.(tokenizer, json, this.reserved)
    return tokenizer
  }
}

/** Is there a Unigram model, or a precompiled normalizer, perhaps within others? Few tokenizers have any. */
export function needsMending({ model, normalizer }: TokenizerJson): boolean {
  return model?.type === 'Unigram' || JSON.stringify(normalizer ?? null).includes('"Precompiled"')
}
