/**
 * JSON of files, which are somebody else's: V8 makes objects of 60 bytes of values that took 3, so what stands there is counted
 * before it is parsed. A vocabulary of 262,144 tokens with its merges has 600,000 lists and 2 million values, the header of a
 * file with 10,000 tensors 30,000 and 70,000.
 */

/** Lists and objects, and how deep they may lie in each other. */
const MOST_CONTAINERS = 1_000_000
const MOST_DEPTH = 1000
/** All others. */
const MOST_SCALARS = 8_000_000

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT] = [0x5b, 0x7b, 0x5d, 0x7d]

/** Throws Error: what is not UTF-8 or JSON, and what has more values than any file that is meant for us. */
export function parseJson(bytes: Uint8Array): unknown {
  countValues(bytes)
  return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
}

function countValues(bytes: Uint8Array): void {
  let containers = 0
  let commas = 0
  let depth = 0
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number
    if (byte === QUOTE) i = endOfString(bytes, i + 1)
    else if (byte === COMMA) commas++
    else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++containers > MOST_CONTAINERS) throw new Error(`it has more than ${MOST_CONTAINERS} lists and objects`)
      if (++depth > MOST_DEPTH) throw new Error(`its lists and objects are nested more than ${MOST_DEPTH} deep`)
    }
  }
  // Each value but the first of its container follows a comma.
  if (commas - containers > MOST_SCALARS) throw new Error(`it has more than ${MOST_SCALARS} values`)
}

/** Where its closing quote is, or the end of all. */
function endOfString(bytes: Uint8Array, start: number): number {
  let i = start
  while (i < bytes.length && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1
  return i
}
