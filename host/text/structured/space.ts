/**
 * White space between the parts of a value: none, one space, or one new line and its indentation; behind a colon no new
 * line, and before a comma and a colon nothing. JSON would take any; a model must not be able to write it for ever.
 *
 *     0 none yet    1 a space, no more    2 + n a new line and n characters
 */
const MOST_INDENTATION = 16

/** Behind a byte; -1: it cannot come, or is none. */
export function nextSpace(space: number, byte: number, isInLine = false): number {
  if (space === 0) return byte === 0x20 ? 1 : byte === 0x0a && !isInLine ? 2 : -1
  const isIndentation = space >= 2 && (byte === 0x20 || byte === 0x09)
  return isIndentation && space < 2 + MOST_INDENTATION ? space + 1 : -1
}
