/**
 * Pieces that a text may begin with at a place: a sorted list, of which each further character leaves a smaller part. It
 * takes no more memory than the list, and no more time than the longest piece that matches.
 */
export class PieceTable {
  private readonly sorted: string[]
  /** The part of the list with a first character. */
  private readonly parts = new Map<number, [low: number, high: number]>()

  constructor(pieces: Iterable<string>) {
    // As UTF-16 units, the order in which charCodeAt() finds them.
    this.sorted = [...pieces].sort()
    for (const [i, piece] of this.sorted.entries()) {
      const part = this.parts.get(piece.charCodeAt(0))
      if (part) part[1] = i + 1
      else this.parts.set(piece.charCodeAt(0), [i, i + 1])
    }
  }

  /** Calls `found` with each piece at `begin` of the text and where it ends, the shortest first. */
  each(text: string, begin: number, found: (piece: string, end: number) => void): void {
    const part = this.parts.get(text.charCodeAt(begin))
    if (!part) return
    let [low, high] = part
    for (let depth = 1; ; depth++) {
      const piece = this.sorted[low] as string
      if (piece.length === depth) {
        found(piece, begin + depth)
        low++
      }
      const code = text.charCodeAt(begin + depth)
      // NaN behind the end of the text.
      if (!(code >= 0)) return
      low = this.bound(low, high, depth, code)
      high = this.bound(low, high, depth, code + 1)
      if (low === high) return
    }
  }

  /** The longest piece at `begin` of the text; empty if there is none. */
  longest(text: string, begin: number): string {
    let longest = ''
    this.each(text, begin, (piece) => {
      longest = piece
    })
    return longest
  }

  /** The first of `low` … `high` whose character at `depth` is `code` or more. */
  private bound(low: number, high: number, depth: number, code: number): number {
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.sorted[middle] as string).charCodeAt(depth) < code) low = middle + 1
      else high = middle
    }
    return low
  }
}
