/** How a SentencePiece model works: read from its file (host/files/sentencepiece), kept in the tokenizer.json made of it. */

/** Types of pieces, as sentencepiece_model.proto numbers them. */
export const NORMAL = 1
export const UNKNOWN = 2
export const CONTROL = 3
export const USER_DEFINED = 4
export const UNUSED = 5
export const BYTE = 6
export type PieceType =
  | typeof NORMAL
  | typeof UNKNOWN
  | typeof CONTROL
  | typeof USER_DEFINED
  | typeof UNUSED
  | typeof BYTE

/** UTF-16 units of a piece at most: at each place of a text, so many are looked at. */
export const MAX_PIECE = 1000

/** A piece and its score, as a vocabulary lists them. */
export function isPiece(entry: unknown): entry is [string, number] {
  if (!Array.isArray(entry) || typeof entry[0] !== 'string') return false
  return entry[0] !== '' && entry[0].length <= MAX_PIECE && Number.isFinite(entry[1])
}

export interface SentencePieceSettings {
  algorithm: 'BPE' | 'Unigram'
  /** Characters without a piece are spelt in bytes; else they are the unknown token. */
  byteFallback: boolean
  /** A blank before the text, so that its first word is like any other. */
  addDummyPrefix: boolean
  removeExtraWhitespaces: boolean
  /** Blanks are ▁ to the pieces. */
  escapeWhitespaces: boolean
  /** The blank of `addDummyPrefix` stands behind the text. */
  treatWhitespaceAsSuffix: boolean
}

/** The "model" of a tokenizer.json that is made of a SentencePiece model: a type that only this runtime knows. */
export interface SentencePieceJson extends SentencePieceSettings {
  type: 'SentencePiece'
  /** Piece and score; the place is the id. */
  vocab: [text: string, score: number][]
  /** The type of each piece, as a digit. */
  types: string
  /** Base64; empty: characters are taken as they are. */
  precompiledCharsmap: string
  /** `addDummyPrefix` is for the beginning of the prompt only, not behind control tokens (transformers' legacy: false). */
  prefixesFirstOnly: boolean
}
