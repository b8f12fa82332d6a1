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

/** All Unicode scalar values: texts of neighbours, with the first character of each. */
function* ranges(): Generator<[first: number, text: string]> {
  yield [0, neighbours(0, 0xd800)]
  for (let first = 0xe000; first < 0x110000; first = (first | 0xffff) + 1)
    yield [first, neighbours(first, (first | 0xffff) + 1)]
}

function neighbours(first: number, end: number): string {
  const units = new DataView(new ArrayBuffer(4 * (end - first)))
  let at = 0
  const put = (unit: number) => {
    units.setUint16(at, unit, true)
    at += 2
  }
  for (let c = first; c < end; c++) {
    if (c >= 0x10000) put(0xd7c0 + (c >> 10))
    put(c < 0x10000 ? c : 0xdc00 + (c & 0x3ff))
  }
  return new TextDecoder('utf-16le', { ignoreBOM: true }).decode(units.buffer.slice(0, at))
}

/** What was worked out for other tables in this process: a tenth of a second. */
const known: { nfc?: NfcTable; classes: Map<boolean, readonly number[]> } = { classes: new Map() }

/** Where the class of characters changes: character << 8 | class. Marks are letters to some expressions. */
export function characterClasses(areMarksLetters: boolean): readonly number[] {
  const classes = known.classes.get(areMarksLetters) ?? findClasses(areMarksLetters)
  known.classes.set(areMarksLetters, classes)
  return classes
}

function findClasses(areMarksLetters: boolean): number[] {
  const letters = areMarksLetters ? '\\p{L}\\p{M}' : '\\p{L}'
  const spaces = '((?:(?=\\s)\\p{White_Space})+)|(\\s+)|(\\p{White_Space}+)'
  const runs = new RegExp(`([${letters}]+)|(\\p{N}+)|${spaces}|([^${letters}\\p{N}\\s\\p{White_Space}]+)`, 'gu')
  const classes = [CLASS_LETTER, CLASS_NUMBER, CLASS_SPACE, CLASS_SPACE_OF_JS, CLASS_SPACE_OF_UNICODE, CLASS_OTHER]
  const words: number[] = []
  let before: number | undefined
  for (const [first, text] of ranges())
    for (const { index, ...groups } of text.matchAll(runs)) {
      const found = classes[[1, 2, 3, 4, 5, 6].findIndex((group) => groups[group] !== undefined)] as number
      if (found !== before) words.push((first + (first < 0x10000 ? index : index / 2)) * 256 + found)
      before = found
    }
  return words
}

export interface NfcTable {
  /** Triples: right or lone character, left or 0, value. */
  entries: readonly number[]
  /** Of all decompositions, one behind the other. */
  characters: readonly number[]
}

const SYLLABLES = { first: 0xac00, last: 0xd7a3 }

/**
 * Canonical decompositions, compositions, and the order of marks (UAX #15), but for Hangul, which is arithmetic. The value
 * of a lone character is how its marks are ordered, or DECOMPOSITION | first of its `characters` << 3 | how many; that of
 * a pair is the character which it becomes.
 */
export function nfcTable(): NfcTable {
  known.nfc ??= findNfc()
  return known.nfc
}

function findNfc(): NfcTable {
  const found: { right: number; left: number; value: number }[] = []
  const pool: number[] = []
  const order = new MarkOrder()
  for (const char of changingCharacters()) {
    const c = char.codePointAt(0) as number
    if (c >= SYLLABLES.first && c <= SYLLABLES.last) continue
    const parts = char.normalize('NFD')
    if (parts === char) {
      if (mark.test(char)) order.add(char)
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

/** UTF-16 units of characters that are looked at together: most are like those around them. */
const BLOCK = 512

/** Characters that decompose, all marks, and some others. */
function* changingCharacters(): Generator<string> {
  for (const [, text] of ranges())
    for (let at = 0; at < text.length; at += BLOCK) {
      const block = text.slice(at, at + BLOCK)
      if (block.normalize('NFD') !== block || mark.test(block)) yield* block
    }
}

const mark = /\p{M}/u

/** Finds the order of combining classes, which JavaScript does not tell, by what normalize() changes places of. */
class MarkOrder {
  /** Marks of one class each, rising: all but those of class 0, which never change places. */
  private readonly classes: string[][] = []

  add(mark: string): void {
    // U+0334 is of the first class, U+0345 of the last.
    if (!isBefore('\u0334', mark) && !isBefore(mark, '\u0345')) return
    // The first class that is not lower.
    let low = 0
    let high = this.classes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(this.classes[middle]?.[0] as string, mark)) low = middle + 1
      else high = middle
    }
    const same = this.classes[low]
    if (same && !isBefore(mark, same[0] as string)) same.push(mark)
    else this.classes.splice(low, 0, [mark])
  }

  /** Each mark and the number of its class, from 1 on. */
  *ranks(): Generator<[string, number]> {
    for (const [i, marks] of this.classes.entries()) for (const mark of marks) yield [mark, i + 1]
  }
}

/** Is the class of `a` lower than that of `b`? */
const isBefore = (a: string, b: string) => (b + a).normalize('NFD') === a + b && a !== b
