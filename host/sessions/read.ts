/** Opens a session file, hostile until checked: header and index at once, the pages when they are asked for. */
import { createHash } from 'node:crypto'
import { errors, GtaError, isMissing } from '../errors.ts'
import { type Disk, type DiskFile, headersOf, disk as nodeDisk, readSlots, readUpTo } from './disk.ts'
import { sessionErrors } from './errors.ts'
import {
  checkHeader,
  decodeIndex,
  FormatError,
  type Header,
  hasMagic,
  SESSION_VERSION,
  type SessionRecord,
} from './format.ts'

/** What is known of a session on disk after it was read or saved: the next save appends to it. */
export interface SessionImage {
  /** Through all links. */
  path: string
  fileId: string
  /** 1 for the first save into a file, one more for each that was appended. */
  generation: number
  /** SHA-256 of the header: no other save has the same. */
  headerSha256: string
  pageBytes: number
  /** One for every page of the session, in their order. */
  records: SessionRecord[]
  /** Where the session ends; what lies behind is of no use. */
  end: number
  /** Whether the directory was synced since the file got its name. */
  isNameSynced: boolean
}

/** Pages are verified in pieces of this size, so memory does not grow with them. */
const PIECE = 2 ** 20

/**
 * Opens the newest session of a file that is whole in header and index, and closes the file again if there is none.
 * Throws GtaError: NOT_FOUND; OTHER_VERSION; BAD_SESSION with the reason. The caller closes the reader.
 */
export async function openSession(path: string, options: { disk?: Disk } = {}): Promise<SessionReader> {
  const { disk = nodeDisk } = options
  const unreadable = (cause: unknown): never => {
    throw isMissing(cause) ? errors.noFile(path) : errors.unreadable(path, cause)
  }
  // Looked at before it is opened: opening a pipe would wait for its writer.
  if (!(await disk.stat(path).catch(unreadable)).isFile()) throw badKind(path)
  const target = await disk.realpath(path).catch(unreadable)
  const file = await disk.open(target, 'r').catch(unreadable)
  try {
    return await readNewest(path, target, file)
  } catch (error) {
    await file.close()
    throw error instanceof GtaError ? error : errors.badSession(path, 'the data', 'readable', reasonOf(error), error)
  }
}

const badKind = (path: string) => errors.badSession(path, 'the kind', 'a regular file', 'something else')
const reasonOf = (error: unknown) => (error instanceof Error ? error.message : error)

async function readNewest(path: string, target: string, file: DiskFile): Promise<SessionReader> {
  const status = await file.stat()
  if (!status.isFile()) throw badKind(path)
  const slots = await readSlots(file)
  const headers = headersOf(slots)
  let damage = slots.find((slot) => slot.some((byte) => byte !== 0) && headersOf([slot]).length === 0)
    ? new FormatError('the checksum of a header', 'right', 'another')
    : undefined
  for (const header of headers) {
    if (header.version !== SESSION_VERSION)
      throw sessionErrors.otherSessionVersion(path, header.version, SESSION_VERSION)
    try {
      checkHeader(header, status.size)
      const index = new Uint8Array(header.indexBytes)
      const length = await readUpTo(file, index, header.indexOffset)
      const content = decodeIndex(index.subarray(0, length), header, status.size)
      return new SessionReader(path, file, content.state, imageOf(target, header, content.records), damage?.message)
    } catch (error) {
      // A disk that lies about syncing may lose an index whose header it has: then the session before is the newest.
      if (!(error instanceof FormatError)) throw error
      if (header === headers[0]) damage = error
    }
  }
  if (!damage || (headers.length === 0 && !slots.some(hasMagic)))
    throw errors.badSession(path, 'the beginning', '"GTA-SESS"', `others in ${status.size} bytes`)
  throw errors.badSession(path, damage.what, damage.expected, damage.found)
}

function imageOf(path: string, header: Header, records: SessionRecord[]): SessionImage {
  const { fileId, generation, sha256: headerSha256, pageBytes } = header
  const end = header.indexOffset + header.indexBytes
  return { path, fileId, generation, headerSha256, pageBytes, records, end, isNameSynced: false }
}

export class SessionReader {
  readonly path: string
  /** As it was saved; that it makes sense is for the caller to check. */
  readonly state: Record<string, unknown>
  /** Lets the next save append to this one. */
  readonly image: SessionImage
  /** Set if the file holds another save that is not whole, perhaps a newer one: power failed while it was written. */
  readonly damage: string | undefined
  private readonly file: DiskFile

  constructor(
    path: string,
    file: DiskFile,
    state: Record<string, unknown>,
    image: SessionImage,
    damage: string | undefined,
  ) {
    this.path = path
    this.file = file
    this.state = state
    this.image = image
    this.damage = damage
  }

  /** Bytes of every page; 0 if there is none. */
  get pageBytes(): number {
    return this.image.pageBytes
  }

  get pageCount(): number {
    return this.image.records.length
  }

  /** Reads all pages once, in little memory. Throws GtaError BAD_SESSION if one of them is not what was saved. */
  async verify(signal?: AbortSignal): Promise<void> {
    const buffer = new Uint8Array(Math.min(PIECE, this.pageBytes))
    for (const [i, { offset }] of this.image.records.entries()) {
      const hash = createHash('sha256')
      for (let done = 0; done < this.pageBytes; done += buffer.length) {
        signal?.throwIfAborted()
        const piece = buffer.subarray(0, Math.min(buffer.length, this.pageBytes - done))
        await this.read(piece, offset + done)
        hash.update(piece)
      }
      this.check(i, hash.digest('hex'))
    }
  }

  /**
   * Page `i` into `target`, `pageBytes` long, which may be a view of shared memory. Throws GtaError BAD_SESSION if it is
   * not what was saved; `target` then holds anything.
   */
  async readPage(i: number, target: Uint8Array): Promise<void> {
    const record = this.image.records[i]
    if (!record) throw new RangeError(`a page must be from 0 to ${this.pageCount - 1}, found ${i}`)
    if (target.length !== this.pageBytes)
      throw new RangeError(`a page must have ${this.pageBytes} bytes, found ${target.length}`)
    await this.read(target, record.offset)
    this.check(i, createHash('sha256').update(target).digest('hex'))
  }

  async close(): Promise<void> {
    await this.file.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  private async read(target: Uint8Array, position: number): Promise<void> {
    const length = await readUpTo(this.file, target, position).catch((cause) => {
      throw errors.badSession(this.path, 'the data', 'readable', reasonOf(cause), cause)
    })
    if (length < target.length)
      throw errors.badSession(this.path, 'the size', `at least ${position + target.length} bytes`, position + length)
  }

  private check(i: number, found: string): void {
    const { sha256 } = this.image.records[i] as SessionRecord
    if (found !== sha256)
      throw errors.badSession(this.path, `the checksum of page ${i}`, sha256.slice(0, 16), found.slice(0, 16))
  }
}
