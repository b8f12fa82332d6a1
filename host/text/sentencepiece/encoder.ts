/** Text to ids as SentencePiece does it, from the tokenizer.json that is made of a tokenizer.model. */
import type { TokenBytes } from '../bytes.ts'
import type { Encoder } from '../encoder.ts'
import { Bpe } from './bpe.ts'
import { bytesOfBase64 } from './charsmap.ts'
import { Normalizer, utf8Length } from './normalizer.ts'
import { PieceTable } from './piece-table.ts'
import { BYTE, isPiece, MAX_PIECE, NORMAL, type SentencePieceJson, UNKNOWN, UNUSED, USER_DEFINED } from './settings.ts'
import { type Segment, UNKNOWN_PENALTY, Unigram } from './unigram.ts'

/** The smallest normal float: what SentencePiece begins with where it looks for the best score (FLT_MIN). */
const FLT_MIN = 2 ** -126

export class SentencePieceEncoder implements Encoder {
  private readonly json: SentencePieceJson
  private readonly bytesOfPiece: TokenBytes
  private readonly normalizer: Normalizer
  private readonly algorithm: { segments(text: string): Segment[] }
  private readonly unknown: number
  private readonly bytes: number[] = []

  /** User-defined pieces of these names are not taken out of a text. Throws Error for what is no such tokenizer. */
  constructor(json: SentencePieceJson, bytesOfPiece: TokenBytes, without: ReadonlySet<string>) {
    checkJson(json)
    this.json = json
    this.bytesOfPiece = bytesOfPiece
    const { vocab, types } = json
    const typeOf = (id: number) => types.charCodeAt(id) - 48
    const isText = (id: number) => {
      const type = typeOf(id)
      return type === NORMAL || type === UNUSED || (type === USER_DEFINED && !without.has(vocab[id]?.[0] as string))
    }
    const vocabulary = {
      pieces: vocab.map(([text], id) => (isText(id) ? text : undefined)),
      scores: vocab.map(([, score]) => score),
      typeOf,
      unknown: types.indexOf(String(UNKNOWN)),
    }
    this.unknown = vocabulary.unknown
    const userDefined = new PieceTable(
      vocabulary.pieces.flatMap((text, id) => (text !== undefined && typeOf(id) === USER_DEFINED ? [text] : [])),
    )
    this.normalizer = new Normalizer(json, bytesOfBase64(json.precompiledCharsmap), userDefined)
    if (json.byteFallback) this.bytes = byteIds(vocab.map(([text], id) => (typeOf(id) === BYTE ? text : '')))
    this.algorithm = json.algorithm === 'BPE' ? bpeOf(vocabulary, userDefined) : unigramOf(vocabulary)
  }

  encode(text: string, isFirst: boolean): number[] {
    const hasPrefix = isFirst || !this.json.prefixesFirstOnly
    const normal = this.normalizer.normalize(text.toWellFormed(), hasPrefix)
    const ids: number[] = []
    let isBehindUnknown = false
    for (const [begin, end, id] of this.algorithm.segments(normal)) {
      const isUnknown = id === this.unknown
      if (isUnknown && this.json.byteFallback)
        for (const byte of new TextEncoder().encode(normal.slice(begin, end))) ids.push(this.bytes[byte] as number)
      // Unknown characters in a row are one unknown token.
      else if (!isUnknown || !isBehindUnknown) ids.push(id)
      isBehindUnknown = isUnknown
    }
    return ids
  }

  bytesOf(id: number): Uint8Array {
    const piece = this.json.vocab[id]?.[0]
    return piece === undefined ? new Uint8Array() : this.bytesOfPiece(piece)
  }
}

interface Vocabulary {
  /** The place is the id; undefined: no text becomes it. */
  pieces: (string | undefined)[]
  scores: number[]
  typeOf: (id: number) => number
  unknown: number
}

function bpeOf({ pieces, scores, typeOf, unknown }: Vocabulary, userDefined: PieceTable): Bpe {
  const ids = new Map(pieces.flatMap((text, id) => (text === undefined ? [] : [[text, id] as const])))
  const isUnused = (id: number) => typeOf(id) === UNUSED
  return new Bpe({ ids, scoreOf: (id) => scores[id] as number, isUnused, userDefined, unknown })
}

function unigramOf({ pieces, scores, typeOf, unknown }: Vocabulary): Unigram {
  const normal = scores.filter((_, id) => typeOf(id) === NORMAL)
  const least = normal.reduce((a, b) => Math.min(a, b), Number.MAX_VALUE)
  const most = normal.reduce((a, b) => Math.max(a, b), FLT_MIN)
  return new Unigram({
    pieces: pieces.map((text, id) => (typeOf(id) === UNUSED ? undefined : text)),
    // A user-defined piece is better than all that it could be cut into.
    scoreOf: (id) => {
      if (typeOf(id) !== USER_DEFINED) return scores[id] as number
      const text = pieces[id] as string
      return Math.fround(utf8Length(text, 0, text.length) * most) - 0.1
    },
    unknown,
    unknownScore: Math.fround(least - UNKNOWN_PENALTY),
    isSingle: true,
  })
}

/** The file may be a packed one, which is hostile too. */
function checkJson({ vocab, types, algorithm, precompiledCharsmap }: SentencePieceJson): void {
  const isVocab = Array.isArray(vocab) && typeof types === 'string' && types.length === vocab.length
  if (!isVocab || !/^[1-6]*$/.test(types)) throw new Error('its pieces have no types')
  for (const [id, entry] of vocab.entries())
    if (!isPiece(entry)) throw new Error(`piece ${id} must be a text of 1 to ${MAX_PIECE} characters and a number`)
  if (!types.includes(String(UNKNOWN))) throw new Error('it has no piece for what is unknown')
  if (algorithm !== 'BPE' && algorithm !== 'Unigram') throw new Error(`its algorithm is not known`)
  if (typeof precompiledCharsmap !== 'string') throw new Error('its charsmap is no text')
}

function byteIds(names: readonly string[]): number[] {
  const ids = new Map(names.map((name, id) => [name, id]))
  return Array.from({ length: 256 }, (_, byte) => {
    const id = ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)
    if (id === undefined) throw new Error(`it has no piece for the byte ${byte}`)
    return id
  })
}
