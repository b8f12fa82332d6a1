/**
 * Unicode's normal form C (UAX #15) over a table of the packed file: characters are decomposed, their marks put in order,
 * and what belongs together composed. Entries are (u32 right, u32 left, u32 value), rising as u64: of a lone character,
 * left 0, the order of its class among marks or DECOMPOSITION; of a pair, the character which it becomes.
 */
import { DECOMPOSITION } from './abi'
import { storeChar } from './bytes'
import { reserve } from './memory'
import { refuseTables, tables, tokenizer } from './tables'
import { charAt, charBytes } from './utf8'

/** First bytes of characters below U+0300, which are in the form already. */
const PLAIN: u32 = 0xcc

/** Hangul syllables (The Unicode Standard, 3.12): their first, and those of leading, vowel and trailing letters. */
const SYLLABLE: u32 = 0xac00
const LEADING: u32 = 0x1100
const VOWEL: u32 = 0x1161
/** One before the first: 0 means that there is none. */
const TRAILING: u32 = 0x11a7
const LEADINGS: u32 = 19
const VOWELS: u32 = 21
const TRAILINGS: u32 = 28
const SYLLABLES: u32 = LEADINGS * VOWELS * TRAILINGS

/** Text in the form, with its length. */
@unmanaged
export class Text {
  at: usize
  end: usize
}

/** Brings text that is UTF-8 into the form; at most three times as long (Unicode's FAQ on normalization). */
export function normalise(text: Text): void {
  if (tables().nfcEntries == 0 || isPlain(text.at, text.end)) return
  const length = text.end - text.at
  // A character of two bytes or more becomes four at most: u32 each, class << 24 | character.
  const characters = reserve(8 * ((length as u64) + 4))
  let end = characters
  for (let at = text.at; at < text.end; at += charBytes(load<u8>(at))) end = decompose(charAt(at), end)
  orderMarks(characters, end, reserve((end - characters) as u64))
  end = compose(characters, end)
  const target = reserve((end - characters) as u64)
  text.at = target
  text.end = target
  for (let i = characters; i < end; i += 4) text.end = storeChar(text.end, load<u32>(i) & 0xffffff)
  if (text.end - text.at > 3 * length) refuseTables()
}

function isPlain(at: usize, end: usize): bool {
  while (at < end) if (load<u8>(at++) >= PLAIN) return false
  return true
}

/** Address of a value; 0 if there is none. */
function find(left: u32, right: u32): usize {
  const key = ((left as u64) << 32) | right
  let low: u32 = 0
  let high = tables().nfcEntries
  while (low < high) {
    const middle = (low + high) >> 1
    const entry = tokenizer().nfc + 12 * (middle as usize)
    const found = load<u64>(entry)
    if (found == key) return entry + 8
    if (found < key) low = middle + 1
    else high = middle
  }
  return 0
}

/** Adds what a character consists of at `end`; returns where that ends. */
function decompose(c: u32, end: usize): usize {
  const index = c - SYLLABLE
  if (index < SYLLABLES) {
    end = add(LEADING + index / (VOWELS * TRAILINGS), end)
    end = add(VOWEL + ((index / TRAILINGS) % VOWELS), end)
    return index % TRAILINGS ? add(TRAILING + (index % TRAILINGS), end) : end
  }
  const found = c < 0x80 ? 0 : find(0, c)
  if (!found || !(load<u32>(found) & DECOMPOSITION)) return add(c, end)
  const word = load<u32>(found) & ~DECOMPOSITION
  for (let i: u32 = 0; i < (word & 7); i++)
    end = add(load<u32>(tokenizer().nfcCharacters + (((word >> 3) + i) << 2)), end)
  return end
}

/** A character that is in no decomposition, with its class. */
function add(c: u32, end: usize): usize {
  const found = c < 0x300 ? 0 : find(0, c)
  const value = found ? load<u32>(found) : 0
  store<u32>(end, c | (value & DECOMPOSITION ? 0 : value << 24))
  return end + 4
}

function classOf(at: usize): u32 {
  return load<u32>(at) >> 24
}

/** Puts the marks behind each character in the order of their classes; those of one class stay as they are. */
function orderMarks(at: usize, end: usize, scratch: usize): void {
  while (at < end) {
    let last = at
    let isOrdered = true
    for (; last < end && classOf(last); last += 4) if (last > at && classOf(last) < classOf(last - 4)) isOrdered = false
    if (!isOrdered) {
      let to = scratch
      for (let next = leastAbove(0, at, last); next < 256; next = leastAbove(next, at, last))
        for (let i = at; i < last; i += 4)
          if (classOf(i) == next) {
            store<u32>(to, load<u32>(i))
            to += 4
          }
      memory.copy(at, scratch, last - at)
    }
    at = last + 4
  }
}

/** The least class above this one; 256 if there is none. */
function leastAbove(known: u32, at: usize, end: usize): u32 {
  let least: u32 = 256
  for (; at < end; at += 4) if (classOf(at) > known) least = min(least, classOf(at))
  return least
}

/** Puts characters together in their place; returns where they end. A mark is blocked by one of its class or a higher one. */
function compose(at: usize, end: usize): usize {
  let to = at
  let starter: usize = 0
  for (let i = at; i < end; i += 4) {
    const word = load<u32>(i)
    const isNext = starter == to - 4
    if (starter && (isNext || classOf(to - 4) < word >> 24)) {
      const whole = pair(load<u32>(starter), word & 0xffffff)
      if (whole) {
        store<u32>(starter, whole)
        continue
      }
    }
    if (word >> 24 == 0) starter = to
    store<u32>(to, word)
    to += 4
  }
  return to
}

/** The character that two become; 0 if they stay two. */
function pair(left: u32, right: u32): u32 {
  if (left - LEADING < LEADINGS && right - VOWEL < VOWELS)
    return SYLLABLE + ((left - LEADING) * VOWELS + right - VOWEL) * TRAILINGS
  if (left - SYLLABLE < SYLLABLES && (left - SYLLABLE) % TRAILINGS == 0 && right - TRAILING - 1 < TRAILINGS - 1)
    return left + right - TRAILING
  // U+0000 would be taken for no left one.
  const found = left ? find(left, right) : 0
  return found ? load<u32>(found) : 0
}
