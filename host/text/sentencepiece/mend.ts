/**
 * What @huggingface/tokenizers does otherwise than the tokenizers of transformers with what came from SentencePiece, put
 * right: Unigram, which there knows no bytes, and precompiled normalizers, which there are NFKC whatever the file says.
 */
import type { Mend, TokenizerJson } from '../library.ts'
import { bytesOfBase64, Charsmap } from './charsmap.ts'
import { isPiece, MAX_PIECE } from './settings.ts'
import { UNKNOWN_PENALTY, Unigram } from './unigram.ts'

/** Throws Error for a model or a charsmap that cannot be used. */
export const mend: Mend = (tokenizer, json, reserved) => {
  mendNormalizer(tokenizer.normalizer, json.normalizer)
  if (json.model?.type === 'Unigram') mendUnigram(tokenizer.model as unknown as Model, json.model, reserved)
}

/** What is changed of the library's objects; its package does not export their types. */
interface Normalizer {
  normalizers?: Normalizer[]
  normalize: (text: string) => string
}
interface Model {
  encode: (parts: string[]) => string[]
  fuse_unk: boolean
}
interface NormalizerJson {
  type?: unknown
  normalizers?: unknown[]
  precompiled_charsmap?: unknown
}

function mendNormalizer(normalizer: unknown, json: unknown): void {
  const { type, normalizers = [], precompiled_charsmap: base64 } = (json ?? {}) as NormalizerJson
  const own = normalizer as Normalizer
  if (type === 'Sequence')
    for (const [i, step] of (own.normalizers ?? []).entries()) mendNormalizer(step, normalizers[i])
  if (type !== 'Precompiled') return
  if (typeof base64 !== 'string' && base64 !== null) throw new Error('its charsmap is no text')
  // Nothing to replace is written as an empty text.
  const charsmap = base64 ? new Charsmap(bytesOfBase64(base64)) : undefined
  own.normalize = (text) => (charsmap ? precompiled(text, charsmap) : text)
}

const encoder = new TextEncoder()

/**
 * What the crate spm_precompiled does: not SentencePiece's longest rule at each place, but the shortest one for a short
 * grapheme, of which nothing else is left, or for each of its characters.
 */
function precompiled(text: string, charsmap: Charsmap): string {
  const replace = (part: string) => {
    const bytes = encoder.encode(part)
    return charsmap.find(bytes, 0, bytes.length, false)?.text
  }
  const segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' })
  let all = ''
  for (const { segment } of segmenter.segment(text.toWellFormed())) {
    const whole = encoder.encode(segment).length < 6 ? replace(segment) : undefined
    all += whole ?? Array.from(segment, (char) => replace(char) ?? char).join('')
  }
  return all
}

function mendUnigram(model: Model, json: NonNullable<TokenizerJson['model']>, reserved: ReadonlySet<string>): void {
  const vocab = checkUnigram(json.vocab)
  const unknown = typeof json.unk_id === 'number' ? json.unk_id : -1
  if (unknown >= vocab.length) throw new Error(`the id of its unknown token is ${unknown}`)
  const scores = vocab.map(([, score]) => score)
  const unigram = new Unigram({
    pieces: vocab.map(([text]) => (reserved.has(text) ? undefined : text)),
    scoreOf: (id) => scores[id] as number,
    unknown,
    unknownScore: scores.reduce((a, b) => Math.min(a, b)) - UNKNOWN_PENALTY,
    isSingle: false,
  })
  const names = new Set(vocab.map(([text]) => text))
  const spell = (text: string): string[] | undefined => {
    const bytes = Array.from(encoder.encode(text), (byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
    return json.byte_fallback === true && bytes.every((name) => names.has(name)) ? bytes : undefined
  }
  const unknownName = vocab[unknown]?.[0]
  model.encode = (parts) => parts.flatMap((part) => tokensOf(part.toWellFormed(), unigram, unknown, spell, unknownName))
  // Done here, before a run of unknown characters is spelt.
  model.fuse_unk = false
}

function tokensOf(
  part: string,
  unigram: Unigram,
  unknown: number,
  spell: (text: string) => string[] | undefined,
  unknownName: string | undefined,
): string[] {
  const tokens: string[] = []
  let run = ''
  const endRun = () => {
    if (run === '') return
    const spelt = spell(run)
    if (!spelt && unknownName === undefined) throw new Error('it has no token for what is unknown')
    tokens.push(...(spelt ?? [unknownName as string]))
    run = ''
  }
  for (const [begin, end, id] of unigram.segments(part)) {
    if (id === unknown) {
      run += part.slice(begin, end)
      continue
    }
    endRun()
    tokens.push(part.slice(begin, end))
  }
  endRun()
  return tokens
}

function checkUnigram(value: unknown): [string, number][] {
  if (!Array.isArray(value) || value.length === 0) throw new Error('the vocabulary of a Unigram model must be a list')
  for (const [id, entry] of value.entries())
    if (!isPiece(entry)) throw new Error(`token ${id} must be a text of 1 to ${MAX_PIECE} characters and a number`)
  return value as [string, number][]
}
