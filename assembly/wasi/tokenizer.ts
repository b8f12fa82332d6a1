/**
 * Text to token ids and back, from tensor "tokenizer.tables" of a packed file, whose layout is in host/files/tables.ts.
 * Two kinds: byte level (tokens are made of bytes, text is cut by an expression first) and SentencePiece (tokens are made
 * of characters, ▁ is a blank, what has no token is spelt in bytes). Equal to the host's tokenizer.
 *
 * User text never becomes a control token: those are not looked for.
 */

import { U8 } from '../plan-tensors'
import { TOKENIZER } from './addresses'
import { encodePiece } from './bpe'
import { reserve } from './memory'
import { file, findTensor, read } from './model-file'
import { beginError, EXIT_FAILED, endError, quoted, text } from './output'
import { LAST_CLASS, pieceEnd, SPLIT_NONE, SPLIT_QWEN2 } from './split'
import { push } from './utf8'
import {
  addId,
  BYTE_LEVEL,
  findToken,
  lengthOf,
  NONE,
  PREFIX_ALWAYS,
  PREFIX_FIRST,
  PREFIX_MISSING,
  prepareMerges,
  prepareVocabulary,
  refuse,
  SENTENCE_PIECE,
  Tokenizer,
  textOf,
  tokenizer,
} from './vocabulary'

export const TABLES_VERSION: u32 = 1
const HEADER_BYTES: u64 = 64
const MAX_TABLES: u64 = 1 << 30
const MAX_TOKENS: u32 = 1 << 24

/** Reads the tables; false if the file has none. */
export function readTables(): bool {
  const t = findTensor('tokenizer.tables')
  if (!t) return false
  if (t.dtype != U8 || t.bytes < HEADER_BYTES || t.bytes > MAX_TABLES) refuse()
  const at = reserve(t.bytes)
  read(at, t.bytes, file().dataStart + t.begin)
  openTables(at, t.bytes)
  return true
}

/** The message of a model without tables, for text. */
export function failWithoutTables(): void {
  beginError()
  text('the tokenizer of ')
  quoted(file().path, file().pathLength)
  if (findTensor('tokenizer.json'))
    text(
      ' must have compact tables, found none: it was packed by an earlier version, or cuts text in a way that this command does not know. Convert the model again',
    )
  else text(' is missing (no tokenizer.json): get the model again')
  text(', or use --tokens with ids')
  endError(EXIT_FAILED)
}

/** Takes tables of `bytes` bytes that lie at `at`, after a look at every number in them. */
export function openTables(at: usize, bytes: u64): void {
  const t = tokenizer()
  memory.copy(TOKENIZER, at, HEADER_BYTES as usize)
  if (t.version != TABLES_VERSION || t.kind - BYTE_LEVEL > 1 || t.split > SPLIT_QWEN2 || t.prefix > PREFIX_FIRST)
    refuse()
  if (t.ignoresMerges > 1 || t.tokens == 0 || t.tokens > MAX_TOKENS || t.addedCount > t.tokens) refuse()
  if ((t.kind == SENTENCE_PIECE && t.split != SPLIT_NONE) || (t.split != SPLIT_NONE && t.classCount == 0)) refuse()
  const words = (t.classCount as u64) + 2 * (t.merges as u64) + t.addedCount
  if (HEADER_BYTES + 4 * words + 2 * (t.tokens as u64) + t.textBytes > bytes) refuse()
  t.classes = at + (HEADER_BYTES as usize)
  t.pairs = t.classes + (t.classCount << 2)
  t.added = t.pairs + (t.merges << 3)
  t.lengths = t.added + (t.addedCount << 2)
  t.text = t.lengths + (t.tokens << 1)
  checkClasses(t)
  t.offsets = reserve((t.tokens as u64) << 2)
  let end: u64 = 0
  for (let id: u32 = 0; id < t.tokens; id++) {
    store<u32>(t.offsets + (id << 2), end as u32)
    end += lengthOf(id)
  }
  if (end != t.textBytes) refuse()
  for (let i: u32 = 0; i < t.merges << 1; i++) if (load<u32>(t.pairs + (i << 2)) >= t.tokens) refuse()
  t.addedTexts = 0
  for (let i: u32 = 0; i < t.addedCount; i++) {
    const word = load<u32>(t.added + (i << 2))
    if (word >> 1 >= t.tokens) refuse()
    if (!(word & 1)) t.addedTexts++
  }
}

function checkClasses(t: Tokenizer): void {
  for (let i: u32 = 0; i < t.classCount; i++) {
    const word = load<u32>(t.classes + (i << 2))
    if ((word & 255) > LAST_CLASS) refuse()
    if (i == 0 ? word >> 8 != 0 : word >> 8 <= load<u32>(t.classes + ((i - 1) << 2)) >> 8) refuse()
  }
}

/** Makes the tables that encoding searches; decoding does without. */
export function prepareEncoding(): void {
  const t = tokenizer()
  prepareVocabulary(t)
  prepareMerges(t)
  t.byteTokens = reserve(1024)
  const name = reserve(8)
  for (let value: u32 = 0; value < 256; value++) {
    const length = t.kind == BYTE_LEVEL ? 1 : spellByte(name, value)
    if (t.kind == BYTE_LEVEL) store<u8>(name, value)
    const id = findToken(name, length)
    if (id == NONE) refuse()
    store<u32>(t.byteTokens + (value << 2), id)
  }
}

/** <0x41>; returns the length. */
function spellByte(at: usize, value: u32): u32 {
  store<u8>(at, 60)
  store<u8>(at + 1, 48)
  store<u8>(at + 2, 120)
  store<u8>(at + 3, hexDigit(value >> 4))
  store<u8>(at + 4, hexDigit(value & 15))
  store<u8>(at + 5, 62)
  return 6
}

function hexDigit(value: u32): u32 {
  return value < 10 ? 48 + value : 55 + value
}

/** Encodes text that is UTF-8: `count` ids behind what is at `ids` already, which has room for one per byte and some. */
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
    if (i > from) {
      encodePart(from, i, isFirst)
      isFirst = false
    }
    addId(id)
    isFirst = false
    i += lengthOf(id)
    from = i
  }
  if (from < end) encodePart(from, end, isFirst)
}

/** The longest added token that is text and begins here. */
function addedAt(at: usize, end: usize): u32 {
  const t = tokenizer()
  let best: u32 = NONE
  for (let i: u32 = 0; i < t.addedCount; i++) {
    const word = load<u32>(t.added + (i << 2))
    const length = lengthOf(word >> 1)
    if (word & 1 || length == 0 || at + length > end) continue
    if (memory.compare(textOf(word >> 1), at, length) != 0) continue
    if (best == NONE || length > lengthOf(best)) best = word >> 1
  }
  return best
}

function encodePart(at: usize, end: usize, isFirst: bool): void {
  const t = tokenizer()
  const hasBlank = startsWithBlank(at, end)
  const wantsBlank =
    t.prefix == PREFIX_ALWAYS || (!hasBlank && (t.prefix == PREFIX_MISSING || (t.prefix == PREFIX_FIRST && isFirst)))
  if (t.kind == SENTENCE_PIECE) {
    const normal = reserve(3 * ((end - at + 1) as u64))
    encodePiece(normal, normalise(at, end, normal, wantsBlank))
    return
  }
  if (wantsBlank) {
    const copy = reserve((end - at + 1) as u64)
    store<u8>(copy, 32)
    memory.copy(copy + 1, at, end - at)
    end = copy + 1 + (end - at)
    at = copy
  }
  if (t.split == SPLIT_NONE) encodePiece(at, end)
  else
    while (at < end) {
      const next = pieceEnd(at, end, t.split)
      encodePiece(at, next)
      at = next
    }
}

/** ▁ is a blank to SentencePiece. */
function startsWithBlank(at: usize, end: usize): bool {
  return at < end && (load<u8>(at) == 32 || (tokenizer().kind == SENTENCE_PIECE && isMark(at, end)))
}

/** ▁, U+2581. */
function isMark(at: usize, end: usize): bool {
  return at + 3 <= end && load<u8>(at) == 0xe2 && load<u8>(at, 1) == 0x96 && load<u8>(at, 2) == 0x81
}

/** Text with ▁ for blanks at `target`; returns its end. */
function normalise(at: usize, end: usize, target: usize, wantsBlank: bool): usize {
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

/** Adds what a token says to the text on stdout; control tokens say nothing. */
export function pushToken(id: u32): void {
  const t = tokenizer()
  if (id >= t.tokens) return
  const at = textOf(id)
  const length = lengthOf(id) as usize
  for (let i: u32 = 0; i < t.addedCount; i++) {
    const word = load<u32>(t.added + (i << 2))
    if (word >> 1 != id) continue
    if (!(word & 1)) pushBytes(at, length)
    return
  }
  if (t.kind == BYTE_LEVEL) pushBytes(at, length)
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
