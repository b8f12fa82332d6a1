/** Bytes compared with constant texts; texts are ASCII. */

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
