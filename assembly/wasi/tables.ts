/**
 * Tensor "tokenizer.tables" (abi.ts has its layout), checked before use. What is made from it for text lies beside it, and
 * is vocabulary.ts's to make.
 */
import {
  BYTE_LEVEL,
  CLASS_SPACE_OF_UNICODE,
  DECOMPOSITION,
  MAX_DECOMPOSITION,
  NOT_IN_VOCABULARY,
  PREFIX_FIRST,
  SENTENCE_PIECE,
  SPLIT_NONE,
  SPLIT_QWEN2,
  TokenizerTables,
  UNIT,
} from './abi'
import { TOKENIZER } from './addresses'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected } from './model-file'

/** No such token. */
export const NONE: u32 = u32.MAX_VALUE

@unmanaged
export class Tokenizer {
  /** TokenizerTables, then the tables. */
  tables: usize
  nfc: usize
  nfcCharacters: usize
  classes: usize
  merges: usize
  added: usize
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
  /** Added tokens that are text. */
  addedTexts: u32
  /** Of SentencePiece: 1 if ▁ is in a token only at the beginning and behind another. */
  cutsAtBlanks: u32
  /** Where ids go, and how many there are. */
  ids: usize
  count: u32
  /** Of bpe.ts; 0 before it is needed. */
  scratch: usize
}

const MAX_TOKENS: u32 = 1 << 24

export function tokenizer(): Tokenizer {
  return changetype<Tokenizer>(TOKENIZER)
}

export function tables(): TokenizerTables {
  return changetype<TokenizerTables>(tokenizer().tables)
}

export function refuseTables(): void {
  beginBadFile('tensor "tokenizer.tables"')
  expected('what gta convert writes, found other values')
  endBadFile()
}

/** Takes tables of `bytes` bytes that lie at `at`, after a look at every number in them. */
export function openTables(at: usize, bytes: u64): void {
  const t = tokenizer()
  t.tables = at
  const h = tables()
  if (h.kind - BYTE_LEVEL >= SENTENCE_PIECE || h.split > SPLIT_QWEN2 || h.prefix > PREFIX_FIRST) refuseTables()
  if ((h.ignoresMerges | h.isolatesDigits) > 1 || h.tokens == 0 || h.tokens > MAX_TOKENS || h.added > h.tokens)
    refuseTables()
  if (h.kind == SENTENCE_PIECE && (h.split != SPLIT_NONE || h.nfcEntries)) refuseTables()
  if ((h.split != SPLIT_NONE || h.isolatesDigits) && h.classes == 0) refuseTables()
  const words = 3 * (h.nfcEntries as u64) + h.nfcCharacters + h.classes + 2 * (h.merges as u64) + h.added
  const end = offsetof<TokenizerTables>() + 4 * words + 2 * (h.tokens as u64) + h.textBytes
  if (((end + UNIT - 1) & ~(UNIT - 1)) != bytes) refuseTables()
  t.nfc = at + offsetof<TokenizerTables>()
  t.nfcCharacters = t.nfc + 12 * (h.nfcEntries as usize)
  t.classes = t.nfcCharacters + ((h.nfcCharacters as usize) << 2)
  t.merges = t.classes + ((h.classes as usize) << 2)
  t.added = t.merges + ((h.merges as usize) << 3)
  t.lengths = t.added + ((h.added as usize) << 2)
  t.text = t.lengths + ((h.tokens as usize) << 1)
  checkNfc(t, h)
  checkClasses(t, h)
  checkTokens(t, h)
}

/** Keys rise; a decomposition lies in its table, and is no longer than Unicode has them. */
function checkNfc(t: Tokenizer, h: TokenizerTables): void {
  let before: u64 = 0x7f // Of ASCII there is nothing to say.
  for (let i: u32 = 0; i < h.nfcEntries; i++) {
    const entry = t.nfc + 12 * (i as usize)
    const value = load<u32>(entry, 8)
    const count = value & 7
    if (load<u64>(entry) <= before) refuseTables()
    before = load<u64>(entry)
    if (!(value & DECOMPOSITION)) {
      if (value >= 0x110000) refuseTables()
    } else if (load<u32>(entry, 4) || count == 0 || count > MAX_DECOMPOSITION) refuseTables()
    else if (((value & ~DECOMPOSITION) >> 3) + count > h.nfcCharacters) refuseTables()
  }
  for (let i: u32 = 0; i < h.nfcCharacters; i++) if (load<u32>(t.nfcCharacters + (i << 2)) >= 0x110000) refuseTables()
}

function checkClasses(t: Tokenizer, h: TokenizerTables): void {
  for (let i: u32 = 0; i < h.classes; i++) {
    const word = load<u32>(t.classes + (i << 2))
    if ((word & 255) > CLASS_SPACE_OF_UNICODE) refuseTables()
    if (i == 0 ? word >> 8 != 0 : word >> 8 <= load<u32>(t.classes + ((i - 1) << 2)) >> 8) refuseTables()
  }
}

/** All lengths are those of the text; merges and added tokens are tokens. */
function checkTokens(t: Tokenizer, h: TokenizerTables): void {
  t.offsets = reserve((h.tokens as u64) << 2)
  let end: u64 = 0
  for (let id: u32 = 0; id < h.tokens; id++) {
    store<u32>(t.offsets + (id << 2), end as u32)
    end += tokenLength(id)
  }
  if (end != h.textBytes) refuseTables()
  for (let i: u32 = 0; i < h.merges << 1; i++) if (load<u32>(t.merges + (i << 2)) >= h.tokens) refuseTables()
  t.addedTexts = 0
  for (let i: u32 = 0; i < h.added; i++) {
    const word = load<u32>(t.added + (i << 2))
    if (word >> 1 >= h.tokens) refuseTables()
    if (!(word & 1)) t.addedTexts++
  }
}

/** Bytes of a token's text. */
export function tokenLength(id: u32): u32 {
  return (load<u16>(tokenizer().lengths + (id << 1)) as u32) & ~NOT_IN_VOCABULARY
}

export function tokenText(id: u32): usize {
  const t = tokenizer()
  return t.text + load<u32>(t.offsets + (id << 2))
}

export function addId(id: u32): void {
  const t = tokenizer()
  store<u32>(t.ids + ((t.count++ as usize) << 2), id)
}
