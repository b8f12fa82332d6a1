/** Lines of a stream of bytes, one after the other, however long the whole is: no more than one line is held. */

export interface Line {
  /** From 1. */
  number: number
  /** Without its end; undefined if it has more bytes than it may have. */
  bytes: Uint8Array | undefined
  /** Where the next one begins. */
  end: number
  /** Has it an end? Only the last one may have none. */
  isWhole: boolean
}

const NEWLINE = 10

export async function* readLines(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Line> {
  let parts: Uint8Array[] = []
  let length = 0
  let number = 0
  let at = 0
  const keep = (part: Uint8Array) => {
    length += part.length
    at += part.length
    if (length > maxBytes) parts = []
    else if (part.length > 0) parts.push(part)
  }
  const take = (isWhole: boolean): Line => {
    const bytes = length > maxBytes ? undefined : Buffer.concat(parts)
    parts = []
    length = 0
    return { number: ++number, bytes, end: at, isWhole }
  }
  for await (const chunk of source) {
    let from = 0
    for (let to = chunk.indexOf(NEWLINE); to >= 0; to = chunk.indexOf(NEWLINE, from)) {
      keep(chunk.subarray(from, to))
      at++
      from = to + 1
      yield take(true)
    }
    keep(chunk.subarray(from))
  }
  if (length > 0) yield take(false)
}
