/**
 * Unigram: the pieces whose scores have the greatest sum, by Viterbi's algorithm from left to right (google/sentencepiece,
 * src/unigram_model.cc, EncodeOptimized; huggingface/tokenizers, models/unigram). They differ in the width of the sums.
 */
import { lengthAt } from './normalizer.ts'
import { PieceTable } from './piece-table.ts'

/** What an unknown character costs, next to the worst piece. */
export const UNKNOWN_PENALTY = 10

/** A part of a text, and its id; of a character without a piece, that of the unknown token. */
export type Segment = [begin: number, end: number, id: number]

export interface UnigramOptions {
  /** The place of each piece is its id; an undefined one matches nothing. */
  pieces: readonly (string | undefined)[]
  /** The score of a piece; that of a user-defined one is more than all. */
  scoreOf: (id: number) => number
  unknown: number
  unknownScore: number
  /** SentencePiece adds 32-bit floats, tokenizers 64-bit ones. */
  isSingle: boolean
}

export class Unigram {
  private readonly options: UnigramOptions
  private readonly table: PieceTable
  private readonly ids = new Map<string, number>()

  constructor(options: UnigramOptions) {
    this.options = options
    for (const [id, piece] of options.pieces.entries()) if (piece) this.ids.set(piece, id)
    this.table = new PieceTable(this.ids.keys())
  }

  segments(text: string): Segment[] {
    const { scoreOf, unknown, unknownScore, isSingle } = this.options
    const n = text.length + 1
    // Of the best way to each place: its score, and the last piece.
    const scores = isSingle ? new Float32Array(n) : new Float64Array(n)
    const begins = new Int32Array(n).fill(-1)
    const ids = new Int32Array(n)
    const offer = (begin: number, end: number, id: number, score: number) => {
      const sum = score + (scores[begin] as number)
      if (begins[end] !== -1 && !(sum > (scores[end] as number))) return
      scores[end] = sum
      begins[end] = begin
      ids[end] = id
    }
    for (let at = 0; at < text.length; ) {
      const next = at + lengthAt(text, at)
      let isKnown = false
      this.table.each(text, at, (piece, end) => {
        const id = this.ids.get(piece) as number
        offer(at, end, id, scoreOf(id))
        if (end === next) isKnown = true
      })
      if (!isKnown) offer(at, next, unknown, unknownScore)
      at = next
    }
    const segments: Segment[] = []
    for (let end = text.length; end > 0; end = begins[end] as number)
      segments.push([begins[end] as number, end, ids[end] as number])
    return segments.reverse()
  }
}
