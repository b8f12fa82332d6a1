/** One save under way: where its pages and its index go, and the writing of them. The header is the caller's last step. */
import { errors, Words } from '../errors.ts'
import { type Disk, type DiskFile, writeFully } from './disk.ts'
import {
  DATA_START,
  encodeHeader,
  encodeIndex,
  FormatError,
  HEADER_BYTES,
  type Header,
  indexSize,
  MAX_PAGES,
  MAX_STATE,
  parseState,
  type SessionRecord,
  sha256,
} from './format.ts'
import type { SessionImage } from './read.ts'

export interface PageToSave {
  /** All pages have the same size. May be a view of shared memory; it must not change before the save has ended. */
  bytes: Uint8Array | UnreadPage
  /** Where it lies unchanged in the image; without it, it is written. */
  record?: SessionRecord
}

/** A page that is put together when it is written, and not before: memory may not have room for all of them. */
export interface UnreadPage {
  length: number
  read(): Promise<Uint8Array>
}

export interface SavedSession extends SessionImage {
  bytesWritten: number
  /** Whether it was appended to what the file held before. */
  isIncremental: boolean
}

export interface Save {
  disk: Disk
  /** Path of the file, through links. */
  target: string
  state: Uint8Array
  pages: readonly PageToSave[]
  pageBytes: number
  signal: AbortSignal | undefined
}

/** The state as JSON that can be read back. */
export function encodeState(state: object): Uint8Array {
  try {
    const bytes = Buffer.from(JSON.stringify(state) ?? '')
    if (bytes.length > MAX_STATE) throw new FormatError('the state', `at most ${MAX_STATE} bytes`, bytes.length)
    parseState(bytes)
    return bytes
  } catch (error) {
    if (error instanceof FormatError) throw errors.badOption(error.what, error.expected, error.found)
    throw errors.badOption('the state', 'an object that can be written as JSON', new Words((error as Error).message))
  }
}

/** The size of all pages, 0 if there are none. */
export function checkPages(pages: readonly PageToSave[]): number {
  const pageBytes = pages[0]?.bytes.length ?? 0
  if (pages.length > MAX_PAGES) throw errors.badOption('a session', `of at most ${MAX_PAGES} pages`, pages.length)
  if (pages.length > 0 && pageBytes === 0) throw errors.badOption('a page', 'of at least one byte', 0)
  for (const [i, { bytes }] of pages.entries())
    if (bytes.length !== pageBytes)
      throw errors.badOption(`page ${i}`, `of ${pageBytes} bytes like page 0`, bytes.length)
  return pageBytes
}

export interface Layout {
  start: number
  /** One for each page; with a record, it is in the file already. */
  places: { offset: number; record?: SessionRecord }[]
  indexOffset: number
  end: number
  /** Bytes of the file that are not garbage. */
  live: number
}

/** Lays out behind `start` what is not among the known records. */
export function layOut({ pages, pageBytes, state }: Save, start: number, known: readonly SessionRecord[] = []): Layout {
  const left = new Map(known.map(({ offset, sha256 }) => [offset, sha256]))
  let next = start
  const places = pages.map(({ record }) => {
    // A record of another file, or one that another page has taken, counts for nothing: the bytes are at hand.
    if (record && left.get(record.offset) === record.sha256) {
      left.delete(record.offset)
      return { offset: record.offset, record }
    }
    next += pageBytes
    return { offset: next - pageBytes }
  })
  const indexBytes = indexSize(pages.length, state.length)
  return {
    start,
    places,
    indexOffset: next,
    end: next + indexBytes,
    live: DATA_START + pages.length * pageBytes + indexBytes,
  }
}

/** Writes pages and index; returns the bytes of the header that is still missing, and the session as it will then be. */
export async function writeBody(
  save: Save,
  file: DiskFile,
  layout: Layout,
  id: Pick<Header, 'fileId' | 'generation'>,
): Promise<{ header: Uint8Array; saved: SavedSession }> {
  const { target: path, pages, pageBytes, signal } = save
  const { places, start, indexOffset, end } = layout
  const records: SessionRecord[] = []
  for (const [i, { record, offset }] of places.entries()) {
    signal?.throwIfAborted()
    if (record) {
      records.push(record)
      continue
    }
    const { bytes: given } = pages[i] as PageToSave
    const bytes = given instanceof Uint8Array ? given : await given.read()
    records.push({ offset, sha256: sha256(bytes) })
    await writeFully(file, bytes, offset)
  }
  const index = encodeIndex(records, save.state)
  await writeFully(file, index, indexOffset)
  const fields = { ...id, pageCount: pages.length, pageBytes, indexOffset, indexBytes: index.length }
  const { bytes: header, sha256: headerSha256 } = encodeHeader({ ...fields, indexSha256: sha256(index) })
  const image = { path, ...id, headerSha256, pageBytes, records, end, isNameSynced: true }
  const isIncremental = start !== DATA_START
  return { header, saved: { ...image, bytesWritten: end - start + HEADER_BYTES, isIncremental } }
}
