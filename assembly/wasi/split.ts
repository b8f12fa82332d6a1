/**
 * How byte-level tokenizers cut text before they merge: the regular expressions of GPT-2, Llama 3 and Qwen 2, by hand.
 * Each function takes text that is UTF-8 and returns where the next piece ends. What a letter, a number and white space
 * is comes from the file: two expressions do not mean the same by \s.
 *
 *     GPT-2     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *     Llama 3   (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|
 *               \s*[\r\n]+|\s+(?!\S)|\s+
 *     Qwen 2    the same, but \p{N} without {1,3}
 *     Qwen 3.5  as Qwen 2; to its classes marks are letters
 */
import {
  CLASS_LETTER,
  CLASS_NUMBER,
  CLASS_OTHER,
  CLASS_SPACE,
  CLASS_SPACE_OF_JS,
  SPLIT_GPT2,
  SPLIT_LLAMA3,
} from './abi'
import { tables, tokenizer } from './tables'
import { charAt, charBytes } from './utf8'

const APOSTROPHE: u32 = 39
const BLANK: u32 = 32

/** Class of the character at `at`; CLASS_OTHER at the end, which nothing matches. */
function classAt(at: usize): u32 {
  const classes = tokenizer().classes
  const c = charAt(at)
  // The last boundary that is not above c.
  let low: u32 = 0
  let high = tables().classes
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (load<u32>(classes + (middle << 2)) >> 8 <= c) low = middle
    else high = middle
  }
  const found = load<u32>(classes + (low << 2)) & 255
  if (found < CLASS_SPACE_OF_JS) return found
  return (found == CLASS_SPACE_OF_JS) == (tables().split == SPLIT_GPT2) ? CLASS_SPACE : CLASS_OTHER
}

/** What Digits takes for a digit: any number, of which some are several bytes. */
export function isNumber(at: usize): bool {
  return classAt(at) == CLASS_NUMBER
}

export function next(at: usize): usize {
  return at + charBytes(load<u8>(at))
}

/** Where the characters of this class that begin at `at` end, at most `most` of them. */
function runEnd(at: usize, end: usize, wanted: u32, most: u32): usize {
  for (let i: u32 = 0; i < most && at < end && classAt(at) == wanted; i++) at = next(at)
  return at
}

function newlinesEnd(at: usize, end: usize): usize {
  while (at < end && (load<u8>(at) == 10 || load<u8>(at) == 13)) at++
  return at
}

/** End of the piece of text that begins at `at`, which is not the end. */
export function pieceEnd(at: usize, end: usize, split: u32): usize {
  const isGpt2 = split == SPLIT_GPT2
  if (load<u8>(at) == APOSTROPHE) {
    const found = contraction(at + 1, end, isGpt2)
    if (found) return found
  }
  const found = isGpt2 ? gpt2Word(at, end) : llama3Word(at, end, split == SPLIT_LLAMA3 ? 3 : 1)
  return found ? found : spacesEnd(at, end, !isGpt2)
}

/** 's, 't, 're, 've, 'm, 'll, 'd; 0 if none follows the apostrophe. */
function contraction(at: usize, end: usize, isLowerOnly: bool): usize {
  const a = letter(at, end, isLowerOnly)
  const b = letter(at + 1, end, isLowerOnly)
  if (a == 115 || a == 116 || a == 109 || a == 100) return at + 1
  const isTwo = (a == 114 && b == 101) || (a == 118 && b == 101) || (a == 108 && b == 108)
  return isTwo ? at + 2 : 0
}

/** The ASCII letter at `at` in lower case; 0 if there is none. */
function letter(at: usize, end: usize, isLowerOnly: bool): u32 {
  if (at >= end) return 0
  const c: u32 = load<u8>(at)
  return isLowerOnly || c - 65 >= 26 ? c : c | 32
}

/** A run of one class, with a blank before it; 0 if there is none. */
function gpt2Word(at: usize, end: usize): usize {
  const from = load<u8>(at) == BLANK ? at + 1 : at
  if (from == end) return 0
  const kind = classAt(from)
  return kind == CLASS_SPACE ? 0 : runEnd(from, end, kind, u32.MAX_VALUE)
}

function llama3Word(at: usize, end: usize, digits: u32): usize {
  const c: u32 = load<u8>(at)
  const kind = classAt(at)
  if (kind == CLASS_LETTER) return runEnd(at, end, CLASS_LETTER, u32.MAX_VALUE)
  if (kind != CLASS_NUMBER && c != 10 && c != 13) {
    const after = next(at)
    if (after < end && classAt(after) == CLASS_LETTER) return runEnd(after, end, CLASS_LETTER, u32.MAX_VALUE)
  }
  if (kind == CLASS_NUMBER) return runEnd(at, end, CLASS_NUMBER, digits)
  const from = c == BLANK ? at + 1 : at
  if (from == end || classAt(from) != CLASS_OTHER) return 0
  return newlinesEnd(runEnd(from, end, CLASS_OTHER, u32.MAX_VALUE), end)
}

/** White space: up to the last newline, else all but what goes with the next word. */
function spacesEnd(at: usize, end: usize, endsAtNewline: bool): usize {
  let last = at
  let newline: usize = 0
  let i = at
  while (i < end && classAt(i) == CLASS_SPACE) {
    last = i
    i = next(i)
    if (load<u8>(last) == 10 || load<u8>(last) == 13) newline = i
  }
  if (endsAtNewline && newline) return newline
  return i == end || last == at ? i : last
}
