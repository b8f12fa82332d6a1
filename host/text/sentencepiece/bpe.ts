/**
 * SentencePiece's BPE: of all neighbours that together are a piece, the ones with the best score are joined, the leftmost
 * first, until there are none (google/sentencepiece, src/bpe_model.cc). User-defined pieces are joined with nothing; pieces
 * that are there but unused are taken apart again.
 */
import { lengthAt } from './normalizer.ts'
import type { PieceTable } from './piece-table.ts'
import type { Segment } from './unigram.ts'

export interface BpeOptions {
  /** Of what text can become. */
  ids: ReadonlyMap<string, number>
  scoreOf: (id: number) => number
  isUnused: (id: number) => boolean
  userDefined: PieceTable
  unknown: number
}

/** Where each symbol begins and ends, an empty one being part of another now; its neighbours, or -1; may it be joined? */
interface Symbols {
  begins: number[]
  ends: number[]
  isFrozen: boolean[]
  before: Int32Array
  behind: Int32Array
}

export class Bpe {
  private readonly options: BpeOptions

  constructor(options: BpeOptions) {
    this.options = options
  }

  segments(text: string): Segment[] {
    const symbols = this.symbolsOf(text)
    const cuts = this.join(text, symbols)
    const { begins, ends, behind } = symbols
    const found: Segment[] = []
    for (let i = begins.length > 0 ? 0 : -1; i >= 0; i = behind[i] as number)
      this.takeApart(text, begins[i] as number, ends[i] as number, cuts, found)
    return found
  }

  /** Characters and user-defined pieces. */
  private symbolsOf(text: string): Symbols {
    const begins: number[] = []
    const ends: number[] = []
    const isFrozen: boolean[] = []
    for (let at = 0; at < text.length; ) {
      const own = this.options.userDefined.longest(text, at).length
      begins.push(at)
      at += own || lengthAt(text, at)
      ends.push(at)
      isFrozen.push(own > 0)
    }
    const before = Int32Array.from(begins, (_, i) => i - 1)
    const behind = Int32Array.from(begins, (_, i) => (i + 1 < begins.length ? i + 1 : -1))
    return { begins, ends, isFrozen, before, behind }
  }

  /** Joins symbols; returns how each unused piece is taken apart: the length of its first half. */
  private join(text: string, { begins, ends, isFrozen, before, behind }: Symbols): Map<string, number> {
    const { ids, scoreOf, isUnused } = this.options
    const pairs = new Pairs()
    const cuts = new Map<string, number>()
    const lengthOf = (symbol: number) => (ends[symbol] as number) - (begins[symbol] as number)
    const offer = (left: number, right: number) => {
      if (left < 0 || right < 0 || isFrozen[left] || isFrozen[right]) return
      const piece = text.slice(begins[left], ends[right])
      const id = ids.get(piece)
      if (id === undefined) return
      pairs.push({ left, right, score: scoreOf(id), length: piece.length })
      if (isUnused(id)) cuts.set(piece, lengthOf(left))
    }
    for (let i = 1; i < begins.length; i++) offer(i - 1, i)
    for (let best = pairs.pop(); best; best = pairs.pop()) {
      const { left, right, length } = best
      const isThere = lengthOf(left) > 0 && lengthOf(right) > 0 && lengthOf(left) + lengthOf(right) === length
      if (!isThere) continue
      ends[left] = ends[right] as number
      begins[right] = ends[right] as number
      const next = behind[right] as number
      behind[left] = next
      if (next >= 0) before[next] = left
      offer(before[left] as number, left)
      offer(left, next)
    }
    return cuts
  }

  /** Pushes a symbol, or what an unused one was made of. */
  private takeApart(text: string, begin: number, end: number, cuts: Map<string, number>, found: Segment[]): void {
    const { ids, isUnused, unknown } = this.options
    // Not by calls: a piece may be as deep as it is long.
    const parts: [number, number][] = [[begin, end]]
    for (let part = parts.pop(); part; part = parts.pop()) {
      const [from, to] = part
      const piece = text.slice(from, to)
      const id = ids.get(piece) ?? unknown
      const cut = isUnused(id) ? cuts.get(piece) : undefined
      if (cut === undefined) found.push([from, to, id])
      else parts.push([from + cut, to], [from, from + cut])
    }
  }
}

interface Pair {
  left: number
  right: number
  score: number
  /** What the two were when they were offered. */
  length: number
}

/** A heap: the best score on top, of equal ones the leftmost. */
class Pairs {
  private readonly heap: Pair[] = []

  push(pair: Pair): void {
    const { heap } = this
    let i = heap.length
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (!isBetter(pair, heap[parent] as Pair)) break
      heap[i] = heap[parent] as Pair
      i = parent
    }
    heap[i] = pair
  }

  pop(): Pair | undefined {
    const { heap } = this
    const [top] = heap
    const last = heap.pop()
    if (!last || heap.length === 0) return top
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBetter(heap[child + 1] as Pair, heap[child] as Pair)) child++
      if (!isBetter(heap[child] as Pair, last)) break
      heap[i] = heap[child] as Pair
      i = child
    }
    heap[i] = last
    return top
  }
}

const isBetter = (a: Pair, b: Pair) => a.score > b.score || (a.score === b.score && a.left < b.left)
