/** UTF-8 (Unicode 16, table 3-7): bytes that are refused, read character by character, and put together from a stream. */
import { TEXT_STREAM } from './addresses'
import { codePoint } from './output'

/** Bytes of the character that begins with this byte; 0 if none does. */
export function charBytes(first: u32): u32 {
  if (first < 0x80) return 1
  if (first < 0xc2) return 0
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0
}

/** The character at `at`, in text that is known to be UTF-8. */
export function charAt(at: usize): u32 {
  const first: u32 = load<u8>(at)
  if (first < 0x80) return first
  let c = first & (first < 0xe0 ? 31 : first < 0xf0 ? 15 : 7)
  const end = at + charBytes(first)
  for (let i = at + 1; i < end; i++) c = (c << 6) | (load<u8>(i) & 63)
  return c
}

/** Lowest and highest second byte behind a first one: no other spelling of a character, no surrogates, nothing too large. */
function lowest(first: u32): u32 {
  return first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80
}
function highest(first: u32): u32 {
  return first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf
}

export function isUtf8(at: usize, length: usize): bool {
  const end = at + length
  while (at < end) {
    const first: u32 = load<u8>(at)
    const bytes = charBytes(first)
    if (!bytes || at + bytes > end) return false
    for (let i: u32 = 1; i < bytes; i++) {
      const next: u32 = load<u8>(at + i)
      if (next < (i == 1 ? lowest(first) : 0x80) || next > (i == 1 ? highest(first) : 0xbf)) return false
    }
    at += bytes
  }
  return true
}

/** What has come of a character: the decoder of the Encoding standard (encoding.spec.whatwg.org, "UTF-8 decoder"). */
@unmanaged
class Stream {
  /** Bytes that are still to come. */
  needed: u32
  character: u32
  low: u32
  high: u32
  /** Show control characters, do not send them: a terminal would obey them. */
  isShown: u32
}

function stream(): Stream {
  return changetype<Stream>(TEXT_STREAM)
}

export function beginStream(isShown: bool): void {
  stream().needed = 0
  stream().isShown = isShown ? 1 : 0
}

/** Adds a byte to the text on stdout: characters are written whole, broken ones as U+FFFD. */
export function push(value: u32): void {
  const s = stream()
  if (s.needed) {
    if (value >= s.low && value <= s.high) {
      s.character = (s.character << 6) | (value & 63)
      s.low = 0x80
      s.high = 0xbf
      if (--s.needed == 0) emit(s.character)
      return
    }
    s.needed = 0
    emit(0xfffd)
  }
  const bytes = charBytes(value)
  if (bytes == 1) emit(value)
  else if (!bytes) emit(0xfffd)
  else {
    s.needed = bytes - 1
    s.character = value & (bytes == 2 ? 31 : bytes == 3 ? 15 : 7)
    s.low = lowest(value)
    s.high = highest(value)
  }
}

/** No more comes: what is left of a character is broken. */
export function endStream(): void {
  if (stream().needed) emit(0xfffd)
  stream().needed = 0
}

function emit(c: u32): void {
  const isControl = (c < 0x20 && c != 9 && c != 10) || (c >= 0x7f && c < 0xa0)
  codePoint(stream().isShown && isControl ? 0xfffd : c)
}
