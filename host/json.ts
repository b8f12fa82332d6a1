/**
 * JSON of files, which are somebody else's: V8 makes objects of 60 bytes of values that took 3, so what stands there is counted
 * before it is parsed. A vocabulary of 262,144 tokens with its merges has 600,000 lists and 2 million values, the header of a
 * file with 10,000 tensors 30,000 and 70,000.
 */

/** What a JSON text may have at most; what is left out may be as many as there are. */
export interface JsonLimits {
  /** Lists and objects, and how deep they may lie in each other. */
  containers?: number
  depth?: number
  /** Names and texts with lists and objects: what takes memory by itself. */
  parts?: number
  /** Values that follow a comma. */
  values?: number
}

const ofFiles: JsonLimits = { containers: 1_000_000, depth: 1000, values: 8_000_000 }

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = [0x5b, 0x7b, 0x5d, 0x7d]

/** Throws Error: what is not UTF-8 or JSON, and what has more values than any file that is meant for us. */
export function parseJson(bytes: Uint8Array): unknown {
  const excess = excessOf(bytes, ofFiles)
  if (excess !== undefined) throw new Error(`it has ${excess}`)
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

/** What it has too many of, in words; found without parsing, in some 3 ms a megabyte. */
export function excessOf(bytes: Uint8Array, limits: JsonLimits): string | undefined {
  const most = Number.POSITIVE_INFINITY
  const { containers = most, depth = most, parts = most, values = most } = limits
  let [opened, deep, texts, commas] = [0, 0, 0, 0]
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    // Digits and letters, which are most of it.
    if (byte > COMMA && byte < OPEN_LIST) continue
    if (byte === COMMA) {
      if (++commas > values) return `more than ${values} values`
      continue
    }
    if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) deep--
    if (byte === QUOTE) {
      texts++
      i = endOfText(bytes, i)
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++opened > containers) return `more than ${containers} lists and objects`
      if (++deep > depth) return `lists and objects nested more than ${depth} deep`
    } else continue
    if (opened + texts > parts) return `more than ${parts} names, texts, lists and objects together`
  }
  return undefined
}

/** Where the text ends whose first quote is there; behind everything if it does not. */
export function endOfText(bytes: Uint8Array, start: number): number {
  for (let at = bytes.indexOf(QUOTE, start + 1); at >= 0; at = bytes.indexOf(QUOTE, at + 1)) {
    let escapes = 0
    while (bytes[at - 1 - escapes] === BACKSLASH) escapes++
    if (escapes % 2 === 0) return at
  }
  return bytes.length
}
