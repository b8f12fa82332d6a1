/**
 * What a tokenizer knows, from the tables of a packed file: tokens by their bytes, and the merges of two tokens. Who cuts
 * text (split.ts), merges (bpe.ts) and puts it all together (tokenizer.ts) looks things up here.
 */
import { TOKENIZER } from './addresses'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected } from './model-file'
import { charBytes } from './utf8'

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

export function tokenizer(): Tokenizer {
  return changetype<Tokenizer>(TOKENIZER)
}

export function refuse(): void {
  beginBadFile('tensor "tokenizer.tables"')
  expected('what gta convert writes, found other values')
  endBadFile()
}

export function lengthOf(id: u32): u32 {
  return (load<u16>(tokenizer().lengths + (id << 1)) as u32) & ~NOT_IN_VOCABULARY
}

export function textOf(id: u32): usize {
  const t = tokenizer()
  return t.text + load<u32>(t.offsets + (id << 2))
}

export function addId(id: u32): void {
  const t = tokenizer()
  store<u32>(t.ids + ((t.count++ as usize) << 2), id)
}

/** Bytes of the unit that tokens begin from: a byte, or a character. */
export function unitBytes(at: usize): u32 {
  return tokenizer().kind == BYTE_LEVEL ? 1 : charBytes(load<u8>(at))
}

/** A power of two that leaves a third free and more. */
function tableSize(entries: u32): u32 {
  let size: u32 = 16
  while (size < entries + (entries >> 1)) size <<= 1
  return size
}

export function prepareVocabulary(t: Tokenizer): void {
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

export function prepareMerges(t: Tokenizer): void {
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
