/**
 * A strict reader for the header of a safetensors file: objects and lists in the places where they must be, never deeper,
 * so nothing here recurses. It makes no tree: who reads takes one thing after the other. Any deviation ends the command.
 */
import { JSON_READER } from './addresses'
import { beginError, count, EXIT_FAILED, endError, quoted, text } from './output'

@unmanaged
class Reader {
  begin: usize
  at: usize
  end: usize
  /** The name of the file, for messages. */
  path: usize
  pathLength: usize
  /** The last string: raw bytes between its quotes. */
  text: usize
  length: usize
}

function reader(): Reader {
  return changetype<Reader>(JSON_READER)
}

/** Reads the header at `at` of the file of this name. */
export function beginJson(at: usize, length: usize, path: usize, pathLength: usize): void {
  const r = reader()
  r.path = path
  r.pathLength = pathLength
  r.begin = at
  r.at = at
  r.end = at + length
}

export function textAt(): usize {
  return reader().text
}
export function textLength(): usize {
  return reader().length
}

/** The next byte that is no white space, 0 at the end. */
function peek(): u32 {
  const r = reader()
  while (r.at < r.end) {
    const c: u32 = load<u8>(r.at)
    if (c != 32 && c != 10 && c != 13 && c != 9) return c
    r.at++
  }
  return 0
}

/** Takes a punctuation mark, if it is the next thing. */
export function take(mark: u32): bool {
  if (peek() != mark) return false
  reader().at++
  return true
}

export function expect(mark: u32): void {
  if (!take(mark)) failHere()
}

/** Is this where everything ends? Only spaces may follow. */
export function expectEnd(): void {
  if (reader().at < reader().end && (peek() != 0 || reader().at < reader().end)) failHere()
}

export function failHere(): void {
  const r = reader()
  beginError()
  quoted(r.path, r.pathLength)
  text(' must be valid JSON: its header is not at byte ')
  count(r.at - r.begin)
  text('. Get the file again')
  endError(EXIT_FAILED)
}

/** A string; escapes stay as they are. */
export function takeText(): void {
  const r = reader()
  expect(34)
  r.text = r.at
  for (;;) {
    if (r.at >= r.end) failHere()
    const c: u32 = load<u8>(r.at)
    if (c == 34) break
    if (c < 0x20) failHere()
    r.at += 1
    if (c == 92) takeEscape()
  }
  r.length = r.at - r.text
  r.at++
}

function takeEscape(): void {
  const r = reader()
  if (r.at >= r.end) failHere()
  const c: u32 = load<u8>(r.at++)
  if (c == 117) {
    for (let i = 0; i < 4; i++) {
      const digit: u32 = r.at < r.end ? load<u8>(r.at) : 0
      if (!(digit - 48 < 10 || (digit | 32) - 97 < 6)) failHere()
      r.at++
    }
  } else if (!(c == 34 || c == 92 || c == 47 || c == 98 || c == 102 || c == 110 || c == 114 || c == 116)) failHere()
}

/** A whole number from 0 to 2^53. */
export function takeCount(): u64 {
  const r = reader()
  let c = peek()
  if (!(c - 48 < 10)) failHere()
  const from = r.at
  let value: u64 = 0
  while (r.at < r.end) {
    c = load<u8>(r.at)
    if (!(c - 48 < 10)) break
    value = value * 10 + c - 48
    if (value > 9007199254740991) failHere()
    r.at++
  }
  if (r.at - from > 1 && load<u8>(from) == 48) failHere()
  return value
}
