/**
 * Text to token ids, equal to the host's tokenizer. Two kinds: byte level (tokens are made of bytes, text is cut by an
 * expression first) and SentencePiece (tokens are made of characters, ▁ is a blank, what has no token is spelt in bytes).
 *
 * User text never becomes a control token: those are not looked for.
 */
import { PREFIX_ALWAYS, PREFIX_FIRST, PREFIX_MISSING, SENTENCE_PIECE, SPLIT_NONE } from './abi'
import { encodePiece } from './bpe'
import { isMark } from './bytes'
import { reserve } from './memory'
import { normalise, Text } from './nfc'
import { isNumber, next, pieceEnd } from './split'
import { addId, NONE, tables, tokenizer, tokenLength, tokenText } from './tables'

/** Room for the ids of so many bytes of text: for each byte and for a blank before it three, and for what is added. */
export function reserveIds(length: usize): void {
  tokenizer().ids = reserve(4 * (4 * (length as u64) + 8))
  tokenizer().count = 0
}

/** Encodes text that is UTF-8: `count` ids behind what is at `ids` already. */
export function encode(at: usize, length: usize): void {
  const end = at + length
  let from = at
  let isFirst = true
  // Added tokens that are text are cut out first, wherever they begin, the longest of them.
  for (let i = tokenizer().addedTexts ? at : end; i < end; ) {
    const id = addedAt(i, end)
    if (id == NONE) {
      i++
      continue
    }
    if (i > from) encodePart(from, i, isFirst)
    addId(id)
    isFirst = false
    i += tokenLength(id)
    from = i
  }
  if (from < end) encodePart(from, end, isFirst)
}

/** The longest added token that is text and begins here. */
function addedAt(at: usize, end: usize): u32 {
  const t = tokenizer()
  let best: u32 = NONE
  for (let i: u32 = 0; i < tables().added; i++) {
    const word = load<u32>(t.added + (i << 2))
    const length = tokenLength(word >> 1)
    if (word & 1 || length == 0 || at + length > end) continue
    if (memory.compare(tokenText(word >> 1), at, length) != 0) continue
    if (best == NONE || length > tokenLength(best)) best = word >> 1
  }
  return best
}

/** Text without added tokens, not empty. `isFirst`: no token stands before it. */
export function encodePart(at: usize, end: usize, isFirst: bool): void {
  const h = tables()
  const hasBlank = startsWithBlank(at, end)
  const wantsBlank =
    h.prefix == PREFIX_ALWAYS || (!hasBlank && (h.prefix == PREFIX_MISSING || (h.prefix == PREFIX_FIRST && isFirst)))
  if (h.kind == SENTENCE_PIECE) {
    const marked = reserve(3 * ((end - at + 1) as u64))
    encodeMarked(marked, putMarks(at, end, marked, wantsBlank))
    return
  }
  const text = changetype<Text>(reserve(offsetof<Text>()))
  text.at = at
  text.end = end
  normalise(text)
  if (wantsBlank) putBlank(text)
  if (h.isolatesDigits) encodeAroundDigits(text.at, text.end)
  else encodePieces(text.at, text.end)
}

/** Where no token goes on behind a character with a blank, each word is a piece: a document needs no memory of its size. */
function encodeMarked(at: usize, end: usize): void {
  if (tokenizer().cutsAtBlanks && !tables().ignoresMerges) {
    let from = at
    for (let i = next(at); i < end; i = next(i))
      if (isMark(i, end) && !isMark(i - 3, end)) {
        encodePiece(from, i)
        from = i
      }
    at = from
  }
  encodePiece(at, end)
}

function putBlank(text: Text): void {
  const length = text.end - text.at
  const copy = reserve((length as u64) + 1)
  store<u8>(copy, 32)
  memory.copy(copy + 1, text.at, length)
  text.at = copy
  text.end = copy + 1 + length
}

/** Each digit is a text of its own. */
function encodeAroundDigits(at: usize, end: usize): void {
  while (at < end) {
    let digit = at
    while (digit < end && !isNumber(digit)) digit = next(digit)
    encodePieces(at, digit)
    if (digit == end) return
    at = next(digit)
    encodePieces(digit, at)
  }
}

/** Cuts text, and encodes the pieces. */
function encodePieces(at: usize, end: usize): void {
  if (tables().split == SPLIT_NONE) encodePiece(at, end)
  else
    while (at < end) {
      const behind = pieceEnd(at, end, tables().split)
      encodePiece(at, behind)
      at = behind
    }
}

/** ▁ is a blank to SentencePiece. */
function startsWithBlank(at: usize, end: usize): bool {
  return at < end && (load<u8>(at) == 32 || (tables().kind == SENTENCE_PIECE && isMark(at, end)))
}

/** Text with ▁ for blanks at `target`; returns its end. */
function putMarks(at: usize, end: usize, target: usize, wantsBlank: bool): usize {
  if (wantsBlank) target = putMark(target)
  for (; at < end; at++) {
    if (load<u8>(at) == 32) target = putMark(target)
    else store<u8>(target++, load<u8>(at))
  }
  return target
}

function putMark(at: usize): usize {
  store<u8>(at, 0xe2)
  store<u8>(at + 1, 0x96)
  store<u8>(at + 2, 0x81)
  return at + 3
}
