/** From a text to what pieces are looked for in: characters by the charsmap, blanks by the settings (src/normalizer.cc). */
import { Charsmap } from './charsmap.ts'
import type { PieceTable } from './piece-table.ts'
import type { SentencePieceSettings } from './settings.ts'

const encoder = new TextEncoder()

export class Normalizer {
  private readonly settings: SentencePieceSettings
  private readonly charsmap: Charsmap | undefined
  private readonly userDefined: PieceTable

  /** User-defined pieces are taken as they stand. Throws Error for a broken charsmap. */
  constructor(settings: SentencePieceSettings, charsmap: Uint8Array, userDefined: PieceTable) {
    this.settings = settings
    this.charsmap = charsmap.length > 0 ? new Charsmap(charsmap) : undefined
    this.userDefined = userDefined
  }

  /** `text` is well formed. Without `hasPrefix`, no blank is added. */
  normalize(text: string, hasPrefix: boolean): string {
    const { removeExtraWhitespaces, escapeWhitespaces, treatWhitespaceAsSuffix, addDummyPrefix } = this.settings
    const blank = escapeWhitespaces ? '▁' : ' '
    const isPrefixed = addDummyPrefix && hasPrefix
    let all = isPrefixed && !treatWhitespaceAsSuffix ? blank : ''
    let isBegun = !removeExtraWhitespaces
    let isBehindBlank = removeExtraWhitespaces
    for (const part of this.parts(text)) {
      if (!isBegun && part === ' ') continue
      isBegun = true
      const kept = isBehindBlank ? part.replace(/^ +/, '') : part
      if (kept === '') continue
      all += escapeWhitespaces ? kept.replaceAll(' ', '▁') : kept
      isBehindBlank = removeExtraWhitespaces && kept.endsWith(' ')
    }
    // A text of nothing but blanks is none.
    if (!isBegun || text === '') return ''
    if (removeExtraWhitespaces) while (all.endsWith(blank)) all = all.slice(0, -1)
    return isPrefixed && treatWhitespaceAsSuffix ? all + blank : all
  }

  /** User-defined pieces, what the rules of the charsmap make of the text, and all other characters. */
  private *parts(text: string): Generator<string> {
    const bytes = this.charsmap && encoder.encode(text)
    // Places in the text and in its bytes.
    let at = 0
    let byte = 0
    while (at < text.length) {
      const own = this.userDefined.longest(text, at)
      const rule = own === '' && bytes ? this.charsmap?.find(bytes, byte, bytes.length, true) : undefined
      const begin = at
      const end = byte + (rule?.length ?? 0)
      if (own !== '') at += own.length
      else at += lengthAt(text, at)
      byte += utf8Length(text, begin, at)
      while (byte < end) {
        const next = at + lengthAt(text, at)
        byte += utf8Length(text, at, next)
        at = next
      }
      if (rule && byte !== end) throw new Error('a rule of its charsmap cuts a character')
      yield rule ? rule.text : text.slice(begin, at)
    }
  }
}

/** UTF-16 units of the character at a place. */
export function lengthAt(text: string, at: number): number {
  return (text.codePointAt(at) as number) > 0xffff ? 2 : 1
}

/** Bytes of a part of a text, which cuts no character. */
export function utf8Length(text: string, begin: number, end: number): number {
  let length = 0
  for (let i = begin; i < end; i++) {
    const code = text.charCodeAt(i)
    // Each half of a pair is two bytes of its four.
    length += code < 0x80 ? 1 : code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 2 : 3
  }
  return length
}
