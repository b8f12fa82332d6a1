/** Tokens by their bytes, and merges by the two tokens that they merge: what encoding looks up. */
import { BYTE_LEVEL, NOT_IN_VOCABULARY } from './abi'
import { isMark } from './bytes'
import { reserve } from './memory'
import { NONE, refuseTables, Tokenizer, tables, tokenizer, tokenLength, tokenText } from './tables'

/** Makes the tables that encoding searches; decoding does without. */
export function prepareEncoding(): void {
  const t = tokenizer()
  prepareVocabulary(t)
  prepareMerges(t)
  t.cutsAtBlanks = isMarkInside(t) ? 0 : 1
  t.byteTokens = reserve(1024)
  const name = reserve(8)
  const isBytes = tables().kind == BYTE_LEVEL
  for (let value: u32 = 0; value < 256; value++) {
    if (isBytes) store<u8>(name, value)
    else spellByte(name, value)
    const id = findToken(name, isBytes ? 1 : 6)
    if (id == NONE) refuseTables()
    store<u32>(t.byteTokens + (value << 2), id)
  }
}

/** <0x41>, six bytes. */
function spellByte(at: usize, value: u32): void {
  store<u32>(at, 0x0078303c) // <0x
  store<u8>(at + 3, hexDigit(value >> 4))
  store<u8>(at + 4, hexDigit(value & 15))
  store<u8>(at + 5, 62)
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
  const size = tableSize(tables().tokens)
  t.vocabularyMask = size - 1
  t.vocabulary = reserve((size as u64) << 2)
  memory.fill(t.vocabulary, 0xff, (size as usize) << 2)
  for (let id: u32 = 0; id < tables().tokens; id++) {
    if (load<u16>(t.lengths + (id << 1)) & NOT_IN_VOCABULARY) continue
    let slot = hash(tokenText(id), tokenLength(id)) & t.vocabularyMask
    while (load<u32>(t.vocabulary + (slot << 2)) != NONE) slot = (slot + 1) & t.vocabularyMask
    store<u32>(t.vocabulary + (slot << 2), id)
  }
}

/** Is there a token with ▁ behind another character? */
function isMarkInside(t: Tokenizer): bool {
  for (let id: u32 = 0; id < tables().tokens; id++) {
    if (load<u16>(t.lengths + (id << 1)) & NOT_IN_VOCABULARY) continue
    const at = tokenText(id)
    const end = at + tokenLength(id)
    for (let i = at + 1; i < end; i++) if (isMark(i, end) && (i < at + 3 || !isMark(i - 3, end))) return true
  }
  return false
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
    if ((tokenLength(id) as usize) == length && memory.compare(tokenText(id), at, length) == 0) break
    slot = (slot + 1) & t.vocabularyMask
    id = load<u32>(t.vocabulary + (slot << 2))
  }
  return id
}

function prepareMerges(t: Tokenizer): void {
  const size = tableSize(tables().merges)
  t.mergeMask = size - 1
  t.mergeTable = reserve((size as u64) << 4)
  memory.fill(t.mergeTable, 0xff, (size as usize) << 4)
  const joined = reserve(65536)
  for (let rank: u32 = 0; rank < tables().merges; rank++) {
    const left = load<u32>(t.merges + (rank << 3))
    const right = load<u32>(t.merges + (rank << 3), 4)
    memory.copy(joined, tokenText(left), tokenLength(left))
    memory.copy(joined + tokenLength(left), tokenText(right), tokenLength(right))
    const merged = findToken(joined, tokenLength(left) + tokenLength(right))
    if (merged == NONE) refuseTables()
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
