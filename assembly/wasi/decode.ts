/** Token ids to text. */
import { BYTE_LEVEL } from './abi'
import { isMark } from './bytes'
import { tables, tokenizer, tokenLength, tokenText } from './tables'
import { push } from './utf8'

/** Adds what a token says to the text on stdout; control tokens say nothing. */
export function pushToken(id: u32): void {
  const t = tokenizer()
  if (id >= tables().tokens) return
  const at = tokenText(id)
  const length = tokenLength(id) as usize
  for (let i: u32 = 0; i < tables().added; i++) {
    const word = load<u32>(t.added + (i << 2))
    if (word >> 1 != id) continue
    if (!(word & 1)) pushBytes(at, length)
    return
  }
  if (tables().kind == BYTE_LEVEL) pushBytes(at, length)
  else if (length == 6 && isByteName(at)) push((hexValue(load<u8>(at, 3)) << 4) | hexValue(load<u8>(at, 4)))
  else pushText(at, at + length)
}

function pushBytes(at: usize, length: usize): void {
  for (let i: usize = 0; i < length; i++) push(load<u8>(at + i))
}

function pushText(at: usize, end: usize): void {
  while (at < end) {
    if (isMark(at, end)) {
      push(32)
      at += 3
    } else push(load<u8>(at++))
  }
}

/** <0x41>, in either case. */
function isByteName(at: usize): bool {
  return (
    load<u8>(at) == 60 && load<u8>(at, 1) == 48 && load<u8>(at, 2) == 120 && load<u8>(at, 5) == 62 &&
    hexValue(load<u8>(at, 3)) < 16 && hexValue(load<u8>(at, 4)) < 16
  )
} // biome-ignore format: one line per thought

/** 16 if the character is no digit. */
function hexValue(c: u32): u32 {
  if (c - 48 < 10) return c - 48
  const digit = (c | 32) - 97
  return digit < 6 ? 10 + digit : 16
}
