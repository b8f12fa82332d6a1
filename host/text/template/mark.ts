/**
 * What somebody typed must not become a control token, however a template trims it, cuts it and puts it together: in a
 * message, a character that no text has is put before each control token that is written out in it. Templates see the
 * rest as it is, so `trim`, `startswith` or `split('</think>')` do what they did before; the mark is removed when the
 * prompt is encoded. What is not covered: a template that removes characters from the middle of a message and so joins
 * a control token from its halves.
 */
import { errors } from '../../errors.ts'

/** Noncharacters, which are never exchanged (Unicode 16, 23.7). */
const [FIRST, LAST] = [0xfdd0, 0xfdef]

/** A mark that none of the texts has. */
export function chooseMark(texts: readonly string[]): string {
  for (let code = FIRST; code <= LAST; code++) {
    const mark = String.fromCharCode(code)
    if (!texts.some((text) => text.includes(mark))) return mark
  }
  throw errors.badOption('messages', 'texts without U+FDD0 to U+FDEF, which no text has', 'all of these')
}

/** Puts a mark before each of `names` in a text, also where its first or last characters would complete one. */
export function markControls(text: string, names: readonly string[], mark: string): string {
  const places = new Set<number>()
  for (const name of names) {
    for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) places.add(at)
    const start = text.length - text.trimStart().length
    const end = text.trimEnd().length
    for (let length = 1; length < name.length; length++) {
      if (text.startsWith(name.slice(length), start)) places.add(start + name.length - length - 1)
      if (text.endsWith(name.slice(0, length), end)) places.add(end - length)
    }
  }
  if (places.size === 0) return text
  const cuts = [0, ...[...places].sort((a, b) => a - b), text.length]
  return cuts
    .slice(1)
    .map((cut, i) => text.slice(cuts[i], cut))
    .join(mark)
}
