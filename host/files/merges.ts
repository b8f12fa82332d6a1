/** BPE merges of a SentencePiece vocabulary, which says scores instead. */

export interface ScoredMerge {
  left: string
  right: string
  score: number
}

/** All ways to cut a piece into two of `names`, in the order of the pieces, the shortest left part first. */
export function mergesOf(pieces: Iterable<{ text: string; score: number }>, names: ReadonlySet<string>): ScoredMerge[] {
  const merges: ScoredMerge[] = []
  // Looking up every part of a piece of a million characters would take hours.
  const lengths = new Set(Array.from(names, (name) => name.length))
  lengths.delete(0)
  for (const { text, score } of pieces) {
    let left = ''
    for (const char of text) {
      left += char
      if (!lengths.has(left.length) || !lengths.has(text.length - left.length) || !names.has(left)) continue
      const right = text.slice(left.length)
      if (names.has(right)) merges.push({ left, right, score })
    }
  }
  return merges
}
