/**
 * Text to token ids and back, from tensor "tokenizer.tables" of a packed file, whose layout is in host/files/tables.ts.
 * Two kinds: byte level (tokens are made of bytes, text is cut by an expression first) and SentencePiece (tokens are made
 * of characters, ▁ is a blank, what has no token is spelt in bytes). Equal to the host's tokenizer.
 *
 * User text never becomes a control token: those are not looked for.
 */
import { TOKENIZER } from './addresses'
import { encodePiece } from './bpe'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected, file, findTensor, read, U8 } from './model-file'
import { beginError, EXIT_FAILED, endError, quoted, text } from './output'
import { LAST_CLASS, pieceEnd, SPLIT_NONE, SPLIT_QWEN2 } from './split'
import { charBytes, push } from './utf8'

export const TABLES_VERSION: u32 = 1
export const BYTE_LEVEL: u32 = 1
export const SENTENCE_PIECE: u32 = 2

export const PREFIX_NONE: u32 = 0
/** A blank before every part of the text; before a part that begins with none; before the first part that … */
export const PREFIX_ALWAYS: u32 = 1
export const PREFIX_MISSING: u32 = 2
export const PREFIX_FIRST: u32 = 3

/** No such token. */
export const NONE: u32 = u32.MAX_VALUE
/** Bit of a length: the token is none of the vocabulary, text never becomes it. */
const NOT_IN_VOCABULARY: u32 = 0x8000

/** The first sixteen words are those of the tensor. */
@unmanaged
export class Tokenizer {
  version: u32
  kind: u32
  split: u32
  prefix: u32
  /** A piece that is a token is taken as it is. */
  ignoresMerges: u32
  tokens: u32
  textBytes: u32
  merges: u32
  classCount: u32
  addedCount: u32
  unused0: u32
  unused1: u32
  unused2: u32
  unused3: u32
  unused4: u32
  unused5: u32

  /** u32 (classCount): first character << 8 | class, rising. */
  classes: usize
  /** u32 (merges, 2): left and right token; earlier ones go first. */
  pairs: usize
  /** u32 (addedCount): id << 1 | is a control token. */
  added: usize
  /** u16 (tokens). */
  lengths: usize
  text: usize
  /** u32 (tokens): where each token begins in `text`. */
  offsets: usize
  /** u32 (vocabularyMask + 1): ids by the hash of their bytes, NONE where free. */
  vocabulary: usize
  vocabularyMask: u32
  /** (u32 left, u32 right, u32 rank, u32 merged) (mergeMask + 1), left NONE where free. */
  mergeTable: usize
  mergeMask: u32
  /** u32[256]: the token of each byte. */
  byteTokens: usize
  /** Where ids go. */
  ids: usize
  count: u32
  /** Added tokens that are text. */
  addedTexts: u32
  /** Of bpe.ts; 0 before it is needed. */
  scratch: usize
}

const HEADER_BYTES: u64 = 64
const MAX_TABLES: u64 = 1 << 30
const MAX_TOKENS: u32 = 1 << 24

export function tokenizer(): Tokenizer {
  return changetype<Tokenizer>(TOKENIZER)
}

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

function refuse(): void {
  beginBadFile('tensor "tokenizer.tables"')
  expected('what gta convert writes, found other values')
  endBadFile()
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

function lengthOf(id: u32): u32 {
  return (load<u16>(tokenizer().lengths + (id << 1)) as u32) & ~NOT_IN_VOCABULARY
}

function textOf(id: u32): usize {
  const t = tokenizer()
  return t.text + load<u32>(t.offsets + (id << 2))
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

/** A power of two that leaves a third free and more. */
function tableSize(entries: u32): u32 {
  let size: u32 = 16
  while (size < entries + (entries >> 1)) size <<= 1
  return size
}

function prepareVocabulary(t: Tokenizer): void {
  const size = tableSize(t.tokens)
  t.vocabularyMask = size - 1
  t.vocabulary = reserve((size as u64) << 2)
  memory.fill(t.vocabulary, 0xff, (size as usize) << 2)
  for (let id: u32 = 0; id < t.tokens; id++) {
    if (load<u16>(t.lengths + (id << 1)) & NOT_IN_VOCABULARY) continue
    let slot = hash(textOf(id), lengthOf(id)) & t.vocabularyMask
    while (load<u32>(t.vocabulary + (slot << 2)) != NONE) slot = (slot + 1) & t.vocabularyMask
    store<u32>(t.vocabulary + (slot << 2), id)
  }
}

/** FNV-1a (Fowler, Noll, Vo). */
function hash(at: usize, length: usize): u32 {
  let h: u32 = 0x811c9dc5
  for (let i: usize = 0; i < length; i++) h = (h ^ load<u8>(at + i)) * 0x01000193
  return h ^ (h >> 15)
}

/** The token of these bytes; NONE if there is none. */
export function findToken(at: usize, length: usize): u32 {
  const t = tokenizer()
  let slot = hash(at, length) & t.vocabularyMask
  let id = load<u32>(t.vocabulary + (slot << 2))
  while (id != NONE) {
    if ((lengthOf(id) as usize) == length && memory.compare(textOf(id), at, length) == 0) break
    slot = (slot + 1) & t.vocabularyMask
    id = load<u32>(t.vocabulary + (slot << 2))
  }
  return id
}

function prepareMerges(t: Tokenizer): void {
  const size = tableSize(t.merges)
  t.mergeMask = size - 1
  t.mergeTable = reserve((size as u64) << 4)
  memory.fill(t.mergeTable, 0xff, (size as usize) << 4)
  const joined = reserve(65536)
  for (let rank: u32 = 0; rank < t.merges; rank++) {
    const left = load<u32>(t.pairs + (rank << 3))
    const right = load<u32>(t.pairs + (rank << 3), 4)
    memory.copy(joined, textOf(left), lengthOf(left))
    memory.copy(joined + lengthOf(left), textOf(right), lengthOf(right))
    const merged = findToken(joined, lengthOf(left) + lengthOf(right))
    if (merged == NONE) refuse()
    const entry = findMerge(left, right)
    store<u32>(entry, left)
    store<u32>(entry, right, 4)
    store<u32>(entry, rank, 8) // of two equal pairs the later one counts, as on the host
    store<u32>(entry, merged, 12)
  }
}

/** Address of the entry of a pair: its own, or the free one where it would be. */
export function findMerge(left: u32, right: u32): usize {
  const t = tokenizer()
  const mixed = (((left as u64) << 32) | right) * 0x9e3779b97f4a7c15
  let slot = ((mixed >> 32) as u32) & t.mergeMask
  let entry = t.mergeTable + ((slot as usize) << 4)
  while (load<u32>(entry) != NONE && (load<u32>(entry) != left || load<u32>(entry, 4) != right)) {
    slot = (slot + 1) & t.mergeMask
    entry = t.mergeTable + ((slot as usize) << 4)
  }
  return entry
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

export function addId(id: u32): void {
  const t = tokenizer()
  store<u32>(t.ids + ((t.count++ as usize) << 2), id)
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

/** Bytes of the unit that tokens begin from: a byte, or a character. */
export function unitBytes(at: usize): u32 {
  return tokenizer().kind == BYTE_LEVEL ? 1 : charBytes(load<u8>(at))
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
