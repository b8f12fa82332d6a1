/** Bytes compared with constant texts, which are ASCII; and characters as bytes. */

/** Are the bytes this text? */
export function isText(at: usize, length: usize, text: string): bool {
  return length == (text.length as usize) && startsWith(at, length, text)
}

export function startsWith(at: usize, length: usize, text: string): bool {
  if (length < (text.length as usize)) return false
  const source = changetype<usize>(text)
  for (let i = 0; i < text.length; i++) if (load<u8>(at + i) != load<u16>(source + (i << 1))) return false
  return true
}

/** Length of bytes that end with 0. */
export function lengthOf(at: usize): usize {
  let end = at
  while (load<u8>(end)) end++
  return end - at
}

/** ▁, U+2581. */
export function isMark(at: usize, end: usize): bool {
  return at + 3 <= end && load<u8>(at) == 0xe2 && load<u8>(at, 1) == 0x96 && load<u8>(at, 2) == 0x81
}

/** Writes a character in UTF-8, at most four bytes, and returns where it ends. */
export function storeChar(at: usize, c: u32): usize {
  if (c < 0x80) {
    store<u8>(at, c)
    return at + 1
  }
  if (c < 0x800) store<u8>(at++, 0xc0 | (c >> 6))
  else {
    if (c < 0x10000) store<u8>(at++, 0xe0 | (c >> 12))
    else {
      store<u8>(at++, 0xf0 | (c >> 18))
      store<u8>(at++, 0x80 | ((c >> 12) & 63))
    }
    store<u8>(at++, 0x80 | ((c >> 6) & 63))
  }
  store<u8>(at, 0x80 | (c & 63))
  return at + 1
}
