/**
 * A tokenizer.json of a SentencePiece model. Where the library does the same as SentencePiece it is one of the usual kind,
 * as transformers makes it (convert_slow_tokenizer.py, LlamaConverter), which gta.wasm reads as well; else it holds the
 * model itself, and only this runtime reads it.
 */
import {
  BYTE,
  CONTROL,
  NORMAL,
  type SentencePieceJson,
  UNKNOWN,
  USER_DEFINED,
} from '../../text/sentencepiece/settings.ts'
import { mergesOf } from '../merges.ts'
import type { Piece, SentencePieceModel } from './model-file.ts'

/** `isLegacy`: the blank before the first word is also put behind control tokens (transformers' LlamaTokenizer). */
export function sentencePieceJson(model: SentencePieceModel, isLegacy: boolean): object {
  const { pieces } = model
  const added = pieces.flatMap(({ text, type }, id) =>
    type === UNKNOWN || type === CONTROL || type === USER_DEFINED
      ? [{ id, content: text, special: type !== USER_DEFINED, normalized: false }]
      : [],
  )
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    ...(model.byteFallback ? [{ type: 'ByteFallback' }] : []),
    { type: 'Fuse' },
  ]
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    ...(isUsual(model) ? usual(model, isLegacy) : own(model, isLegacy)),
    post_processor: null,
    decoder: { type: 'Sequence', decoders },
  }
}

/**
 * Merges and byte tokens alone say what text becomes. Of equal scores SentencePiece takes the leftmost, and merges cannot
 * say that: only runs of blanks may have them, as Llama 2's, where it comes to the same.
 */
function isUsual(model: SentencePieceModel): boolean {
  const joined = model.pieces.filter(({ text, type }) => type === NORMAL && Array.from(text).length > 1)
  const scores = (isRun: boolean) => joined.flatMap(({ text, score }) => (/^▁+$/.test(text) === isRun ? [score] : []))
  const others = new Set(scores(false))
  const areDistinct = others.size === scores(false).length && !scores(true).some((score) => others.has(score))
  return (
    areDistinct &&
    model.algorithm === 'BPE' &&
    model.byteFallback &&
    model.escapeWhitespaces &&
    !model.removeExtraWhitespaces &&
    !model.treatWhitespaceAsSuffix &&
    model.precompiledCharsmap.length === 0 &&
    model.pieces.every(({ type }) => type === NORMAL || type === UNKNOWN || type === CONTROL || type === BYTE)
  )
}

function usual({ pieces, addDummyPrefix }: SentencePieceModel, isLegacy: boolean): object {
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' }
  const vocab: Record<string, number> = Object.create(null)
  for (const [id, { text }] of pieces.entries()) vocab[text] = id
  const prepend = { type: 'Prepend', prepend: '▁' }
  return {
    normalizer:
      isLegacy && addDummyPrefix ? { type: 'Sequence', normalizers: [prepend, spaces] } : isLegacy ? spaces : null,
    pre_tokenizer: isLegacy
      ? null
      : { type: 'Metaspace', replacement: '▁', prepend_scheme: addDummyPrefix ? 'first' : 'never', split: false },
    model: {
      type: 'BPE',
      unk_token: pieces.find(({ type }) => type === UNKNOWN)?.text,
      fuse_unk: true,
      byte_fallback: true,
      vocab,
      merges: bestFirst(pieces),
    },
  }
}

/** All pairs of pieces that are a piece, the best one first. */
function bestFirst(pieces: readonly Piece[]): [string, string][] {
  const normal = pieces.filter(({ type }) => type === NORMAL)
  return mergesOf(normal, new Set(normal.map(({ text }) => text)))
    .sort((a, b) => b.score - a.score || b.left.length - a.left.length || b.right.length - a.right.length)
    .map(({ left, right }) => [left, right])
}

function own(model: SentencePieceModel, isLegacy: boolean): object {
  const { pieces, precompiledCharsmap, bos, eos, ...settings } = model
  const json: SentencePieceJson = {
    type: 'SentencePiece',
    ...settings,
    prefixesFirstOnly: !isLegacy,
    vocab: pieces.map(({ text, score }) => [text, score]),
    types: pieces.map(({ type }) => type).join(''),
    precompiledCharsmap: base64Of(precompiledCharsmap),
  }
  return { normalizer: null, pre_tokenizer: null, model: json }
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
