/**
 * What gta.wasm has to know about characters, as words for its tables (assembly/wasi/abi.ts). All of it is what this
 * Node's regular expressions and normalize() say, so the command treats text as the Node that converted the model does.
 */
import {
  CLASS_LETTER,
  CLASS_NUMBER,
  CLASS_OTHER,
  CLASS_SPACE,
  CLASS_SPACE_OF_JS,
  CLASS_SPACE_OF_UNICODE,
  DECOMPOSITION,
} from '../../assembly/wasi/abi.ts'

/** Unicode scalar values. */
function* characters(from: number): Generator<[number, string]> {
  for (let c = from; c < 0x110000; c++) if (c < 0xd800 || c > 0xdfff) yield [c, String.fromCodePoint(c)]
}

/** Where the class of characters changes: character << 8 | class. Marks are letters to some expressions. */
export function characterClasses(areMarksLetters: boolean): number[] {
  const letter = areMarksLetters ? /[\p{L}\p{M}]/u : /\p{L}/u
  const words: number[] = []
  let before = -1
  for (const [c, char] of characters(0)) {
    const found = classOf(char, letter)
    if (found !== before) words.push(c * 256 + found)
    before = found
  }
  return words
}

function classOf(char: string, letter: RegExp): number {
  if (letter.test(char)) return CLASS_LETTER
  if (/\p{N}/u.test(char)) return CLASS_NUMBER
  const [isOfJs, isOfUnicode] = [/\s/u.test(char), /\p{White_Space}/u.test(char)]
  if (isOfJs && isOfUnicode) return CLASS_SPACE
  return isOfJs ? CLASS_SPACE_OF_JS : isOfUnicode ? CLASS_SPACE_OF_UNICODE : CLASS_OTHER
}

export interface NfcTable {
  /** Triples: right or lone character, left or 0, value. */
  entries: number[]
  /** Of all decompositions, one behind the other. */
  characters: number[]
}

const SYLLABLES = { first: 0xac00, last: 0xd7a3 }

/**
 * Canonical decompositions, compositions, and the order of marks (UAX #15), but for Hangul, which is arithmetic. The value
 * of a lone character is how its marks are ordered, or DECOMPOSITION | first of its `characters` << 3 | how many; that of
 * a pair is the character which it becomes.
 */
export function nfcTable(): NfcTable {
  const found: { right: number; left: number; value: number }[] = []
  const pool: number[] = []
  const order = new MarkOrder()
  for (const [c, char] of characters(0x80)) {
    if (c >= SYLLABLES.first && c <= SYLLABLES.last) continue
    const parts = char.normalize('NFD')
    if (parts === char) {
      if (/\p{M}/u.test(char)) order.add(char)
      continue
    }
    const points = Array.from(parts, (part) => part.codePointAt(0) as number)
    found.push({ right: c, left: 0, value: DECOMPOSITION + pool.length * 8 + points.length })
    pool.push(...points)
    if (char.normalize('NFC') !== char) continue
    const right = points.at(-1) as number
    const left = String.fromCodePoint(...points.slice(0, -1)).normalize('NFC')
    found.push({ right, left: left.codePointAt(0) as number, value: c })
  }
  for (const [char, rank] of order.ranks()) found.push({ right: char.codePointAt(0) as number, left: 0, value: rank })
  found.sort((a, b) => a.left - b.left || a.right - b.right)
  return { entries: found.flatMap(({ right, left, value }) => [right, left, value]), characters: pool }
}

/** Finds the order of combining classes, which JavaScript does not tell, by what normalize() changes places of. */
class MarkOrder {
  /** Marks of one class each, rising: all but those of class 0, which never change places. */
  private readonly classes: string[][] = []

  add(mark: string): void {
    // U+0334 is of the first class, U+0345 of the last.
    if (!isBefore('\u0334', mark) && !isBefore(mark, '\u0345')) return
    let i = 0
    while (i < this.classes.length && isBefore(this.classes[i]?.[0] as string, mark)) i++
    const same = this.classes[i]
    if (same && !isBefore(mark, same[0] as string)) same.push(mark)
    else this.classes.splice(i, 0, [mark])
  }

  /** Each mark and the number of its class, from 1 on. */
  *ranks(): Generator<[string, number]> {
    for (const [i, marks] of this.classes.entries()) for (const mark of marks) yield [mark, i + 1]
  }
}

/** Is the class of `a` lower than that of `b`? */
const isBefore = (a: string, b: string) => (b + a).normalize('NFD') === a + b && a !== b
