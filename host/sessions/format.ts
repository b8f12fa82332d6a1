/**
 * The session file: a small JSON state and the pages of a KV cache, all of one size. Numbers are little-endian.
 *
 *        0  header slot A ┃ 128 bytes, zeros up to 4096
 *     4096  header slot B ┃ 128 bytes, zeros up to 8192; all zeros until the second save
 *     8192  pages of save 1, index 1 ┃ zeros up to a multiple of 4096 ┃ pages of save 2, index 2 ┃ …
 *
 *     header  0 "GTA-SESS"    8 u32 version     12 u32 pages       16 u64 generation    24 u64 bytes of a page
 *            32 u64 offset of the index         40 u64 bytes of the index               48 file id, 16 bytes
 *            64 SHA-256 of the index            96 SHA-256 of bytes 0 to 95 of the header
 *     index   one entry for every page of the session, in their order, { u64 offset, SHA-256 of the page } ┃ state, JSON
 *
 * A save appends the pages that are not in the file yet and an index of all of them, syncs, and only then writes the
 * header slot that does not name the newest session. So the file holds the session before until the last moment, and
 * a header that was torn by a power cut is one whose checksum is wrong. Header → index → pages is a chain of checksums:
 * whatever was mixed from two saves or two files is found.
 *
 * Each save begins at a multiple of 4096: no block of the disk that holds something older is written again, but for the
 * slot. Magic, version, generation and both checksums of a header stay where they are in later versions.
 */
import { createHash } from 'node:crypto'

export const SESSION_VERSION = 1
export const HEADER_BYTES = 128
/** Where the two header slots begin: far enough apart that no sector holds both. */
export const SLOTS = [0, 4096] as const
export const DATA_START = 8192
/** Saves begin at multiples of this. */
export const BLOCK = 4096
export const MAX_STATE = 2 ** 20
/** Pages of a session; bounds what an index can make a reader allocate. */
export const MAX_PAGES = 2 ** 20

/** Saves into one file; a new file starts again at 1. */
export const MAX_GENERATION = 2 ** 48

const MAGIC = Buffer.from('GTA-SESS')
const ENTRY_BYTES = 40
/** Nobody's state is nested deeper; some programs that walk through it would run out of stack. */
const MAX_DEPTH = 64

/** One page in the file. */
export interface SessionRecord {
  offset: number
  /** SHA-256 of its bytes, in hexadecimal digits. */
  sha256: string
}

export interface Header {
  version: number
  generation: number
  pageCount: number
  pageBytes: number
  indexOffset: number
  indexBytes: number
  /** Random, the same for all saves into one file: 32 hexadecimal digits. */
  fileId: string
  indexSha256: string
  /** SHA-256 of the fields above: the name of this one save. */
  sha256: string
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export function encodeHeader(fields: Omit<Header, 'version' | 'sha256'>): { bytes: Uint8Array; sha256: string } {
  const bytes = Buffer.alloc(HEADER_BYTES)
  MAGIC.copy(bytes)
  bytes.writeUInt32LE(SESSION_VERSION, 8)
  bytes.writeUInt32LE(fields.pageCount, 12)
  bytes.writeBigUInt64LE(BigInt(fields.generation), 16)
  bytes.writeBigUInt64LE(BigInt(fields.pageBytes), 24)
  bytes.writeBigUInt64LE(BigInt(fields.indexOffset), 32)
  bytes.writeBigUInt64LE(BigInt(fields.indexBytes), 40)
  bytes.write(fields.fileId, 48, 'hex')
  bytes.write(fields.indexSha256, 64, 'hex')
  const checksum = sha256(bytes.subarray(0, 96))
  bytes.write(checksum, 96, 'hex')
  return { bytes, sha256: checksum }
}

/** The header in the bytes of a slot; undefined where there is none, or a damaged one. */
export function decodeHeader(slot: Uint8Array): Header | undefined {
  if (slot.length < HEADER_BYTES || !hasMagic(slot)) return undefined
  const bytes = Buffer.from(slot.buffer, slot.byteOffset, HEADER_BYTES)
  const checksum = bytes.toString('hex', 96, 128)
  if (sha256(bytes.subarray(0, 96)) !== checksum) return undefined
  const [generation, pageBytes, indexOffset, indexBytes] = [16, 24, 32, 40].map((at) =>
    Number(bytes.readBigUInt64LE(at)),
  ) as [number, number, number, number]
  return {
    version: bytes.readUInt32LE(8),
    generation,
    pageCount: bytes.readUInt32LE(12),
    pageBytes,
    indexOffset,
    indexBytes,
    fileId: bytes.toString('hex', 48, 64),
    indexSha256: bytes.toString('hex', 64, 96),
    sha256: checksum,
  }
}

export function hasMagic(bytes: Uint8Array): boolean {
  return MAGIC.equals(bytes.subarray(0, MAGIC.length))
}

export function indexSize(pageCount: number, stateBytes: number): number {
  return ENTRY_BYTES * pageCount + stateBytes
}

export function encodeIndex(records: readonly SessionRecord[], state: Uint8Array): Uint8Array {
  const index = Buffer.alloc(indexSize(records.length, state.length))
  for (const [i, record] of records.entries()) {
    index.writeBigUInt64LE(BigInt(record.offset), ENTRY_BYTES * i)
    index.write(record.sha256, ENTRY_BYTES * i + 8, 'hex')
  }
  index.set(state, ENTRY_BYTES * records.length)
  return index
}

/** What does not hold of a file: the reader adds its path. */
export class FormatError extends Error {
  readonly what: string
  readonly expected: string
  readonly found: unknown

  constructor(what: string, expected: string, found: unknown) {
    super(`${what} must be ${expected}, found ${found}`)
    this.what = what
    this.expected = expected
    this.found = found
  }
}

/** Numbers of a header against the size of the file, before anything is allocated for them. */
export function checkHeader(header: Header, fileBytes: number): void {
  const { generation, pageCount, pageBytes, indexOffset, indexBytes } = header
  const inRange = (what: string, n: number, least: number, most: number) => {
    if (!Number.isSafeInteger(n) || n < least || n > most) throw new FormatError(what, `from ${least} to ${most}`, n)
  }
  inRange('the generation', generation, 1, MAX_GENERATION)
  inRange('the number of pages', pageCount, 0, MAX_PAGES)
  inRange('the size of a page', pageBytes, pageCount && 1, pageCount && fileBytes - DATA_START)
  inRange('the offset of the index', indexOffset, DATA_START, fileBytes)
  const table = ENTRY_BYTES * pageCount
  inRange('the size of the index', indexBytes, table + 2, Math.min(table + MAX_STATE, fileBytes - indexOffset))
}

/** An index whose header has been checked; `fileBytes` bounds the pages. */
export function decodeIndex(
  index: Uint8Array,
  { pageCount, pageBytes, indexSha256 }: Header,
  fileBytes: number,
): { state: Record<string, unknown>; records: SessionRecord[] } {
  const checksum = sha256(index)
  if (checksum !== indexSha256)
    throw new FormatError('the checksum of the index', indexSha256.slice(0, 16), checksum.slice(0, 16))
  const bytes = Buffer.from(index.buffer, index.byteOffset, index.length)
  const records = Array.from({ length: pageCount }, (_, i) => {
    const at = ENTRY_BYTES * i
    return { offset: Number(bytes.readBigUInt64LE(at)), sha256: bytes.toString('hex', at + 8, at + ENTRY_BYTES) }
  })
  checkRecords(records, pageBytes, fileBytes)
  return { state: parseState(bytes.subarray(ENTRY_BYTES * pageCount)), records }
}

/** Pages lie in the file and do not overlap, so a session is never larger than its file. */
function checkRecords(records: SessionRecord[], pageBytes: number, fileBytes: number): void {
  let least = DATA_START
  for (const { offset } of records.toSorted((a, b) => a.offset - b.offset)) {
    if (!Number.isSafeInteger(offset) || offset < least || offset > fileBytes - pageBytes)
      throw new FormatError('the offset of a page', `from ${least} to ${fileBytes - pageBytes}`, offset)
    least = offset + pageBytes
  }
}

/** The state in its bytes: an object, not deep, without keys that change what an object is. */
export function parseState(bytes: Uint8Array): Record<string, unknown> {
  let state: unknown
  try {
    state = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch (cause) {
    throw new FormatError('the state', 'valid JSON', (cause as Error).message)
  }
  if (typeof state !== 'object' || state === null || Array.isArray(state))
    throw new FormatError('the state', 'a JSON object', Array.isArray(state) ? 'a list' : `${state}`.slice(0, 40))
  let level: object[] = [state]
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) throw new FormatError('the state', `at most ${MAX_DEPTH} levels deep`, 'more')
    if (level.some((value) => Object.hasOwn(value, '__proto__')))
      throw new FormatError('the state', 'without the key "__proto__"', 'it')
    level = level.flatMap((value) => Object.values(value).filter((v) => typeof v === 'object' && v !== null))
  }
  return state as Record<string, unknown>
}
