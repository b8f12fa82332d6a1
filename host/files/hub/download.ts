/**
 * One file of a repository, read from the beginning on into FILE.part; beside it, in FILE.part.json, whose bytes these are.
 * Whatever ends a download, a kill too, the next one goes on from there (Range and If-Range, RFC 9110 sections 13 and 14).
 * A part may be read while it grows: that is how the header of a model is looked at before the rest is fetched.
 */
import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errors, GtaError, megabytes } from '../../errors.ts'
import { makeDirectory } from '../../platform/directory.ts'
import type { ByteSource } from '../source.ts'
import { hubErrors } from './errors.ts'
import type { Answer, Hub } from './hub.ts'
import type { HubFile } from './listing.ts'
import { noteOf, partOf, type Repository } from './repository.ts'

/** Further than ever before by so much, and a connection is not one that always breaks. */
const ADVANCE = 2 ** 20
const PIECE = 2 ** 20
/** The header of a model is read in such pieces. */
const READ_BYTES = 2 ** 18

export interface DownloadOptions {
  hub: Hub
  repository: Repository
  file: HubFile
  /** Where it is to lie. */
  target: string
  onBytes?: (received: number) => void
  onNotice?: ((text: string) => void) | undefined
}

export class Download implements ByteSource {
  readonly readers = 1
  readonly readBytes = READ_BYTES
  /** Bytes that have arrived and are written, from the beginning on. */
  received = 0
  /** Bytes that came over the network. */
  fetched = 0
  commit: string | undefined
  private readonly options: DownloadOptions
  private readonly part: FileHandle
  private reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  private hash: Hash
  private expected: string
  private etag: string | undefined
  /** The most that there ever was. */
  private best = 0
  /** Bytes of an earlier program: the power may have gone before the disk had all of them. */
  private isResumed = false
  private isWhole = false

  private constructor(options: DownloadOptions, part: FileHandle) {
    this.options = options
    this.part = part
    this.expected = options.file.hash
    this.hash = this.newHash()
  }

  /** Opens what an earlier download left, or begins. */
  static async open(options: DownloadOptions): Promise<Download> {
    const { target, file } = options
    const path = partOf(target)
    const begin = () => {
      makeDirectory(dirname(target))
      return open(path, constants.O_RDWR | constants.O_CREAT, 0o644)
    }
    const part = await Promise.resolve()
      .then(begin)
      .catch((cause) => {
        throw unwritable(path, cause)
      })
    const download = new Download(options, part)
    try {
      const note = await readNote(target)
      const { size } = await part.stat()
      const isSame = note?.hash === file.hash && note.bytes === file.bytes && size <= file.bytes
      if (isSame && size > 0) await download.resume(size, note.etag)
      else if (size > 0) await part.truncate(0)
      return download
    } catch (error) {
      await download.close()
      throw error
    }
  }

  get size(): number {
    return this.options.file.bytes
  }

  /** Of what has arrived; waits until it has. */
  async read(target: Uint8Array, position: number): Promise<void> {
    const end = position + target.length
    if (end > this.size) throw errors.badFile(this.options.target, 'the size', `at least ${end} bytes`, this.size)
    await this.ensure(end)
    for (let done = 0; done < target.length; ) {
      const { bytesRead } = await this.part.read(target, done, target.length - done, position + done)
      if (bytesRead === 0) throw errors.badFile(partOf(this.options.target), 'the size', `${end} bytes`, 'fewer')
      done += bytesRead
    }
  }

  /** All of it, checked; afterwards nothing can be read of it here. */
  async finish(): Promise<void> {
    if (this.isWhole) return
    for (;;) {
      await this.ensure(this.size)
      const found = this.hash.digest('hex')
      if (found === this.expected) break
      if (!this.isResumed)
        throw await this.refuse(hubErrors.wrongBytes(this.options.file.path, 'the hash', this.expected, found))
      this.options.onNotice?.(`what was there of "${this.options.file.path}" is damaged: it is downloaded anew`)
      await this.startAgain()
    }
    await this.part.sync()
    await this.close()
    this.isWhole = true
  }

  /** Ends the connection; the part stays. */
  async close(): Promise<void> {
    this.hangUp()
    await this.part.close().catch(() => undefined)
  }

  async discard(): Promise<void> {
    await this.close()
    await removePart(this.options.target)
  }

  private newHash(): Hash {
    return this.expected.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${this.size}\0`)
  }

  private async resume(size: number, etag: string | undefined): Promise<void> {
    const piece = new Uint8Array(PIECE)
    for (let at = 0; at < size; ) {
      const { bytesRead } = await this.part.read(piece, 0, Math.min(PIECE, size - at), at)
      if (bytesRead === 0) break
      this.hash.update(piece.subarray(0, bytesRead))
      at += bytesRead
      this.received = at
    }
    this.best = this.received
    this.etag = etag
    this.isResumed = true
    this.options.onBytes?.(this.received)
  }

  private async ensure(bytes: number): Promise<void> {
    while (this.received < bytes)
      await this.options.hub.again(`"${this.options.file.path}"`, async () => {
        try {
          await this.pull()
        } catch (error) {
          this.hangUp()
          throw error
        }
      })
  }

  /** Takes what comes next from the connection. */
  private async pull(): Promise<void> {
    this.reader ??= await this.connect()
    const { done, value } = await this.options.hub.patiently(this.reader.read())
    if (done) throw new Error(`a connection that ends after ${megabytes(this.received)} of ${megabytes(this.size)}`)
    if (this.received + value.length > this.size)
      throw await this.refuse(hubErrors.wrongBytes(this.options.file.path, 'the length', `${this.size} bytes`, 'more'))
    await this.write(value)
    this.hash.update(value)
    this.received += value.length
    this.fetched += value.length
    this.options.onBytes?.(this.received)
    if (this.received >= this.best + ADVANCE || this.received === this.size) {
      this.best = this.received
      this.options.hub.arrived()
    }
  }

  private async write(bytes: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; )
        done += (await this.part.write(bytes, done, bytes.length - done, this.received + done)).bytesWritten
    } catch (cause) {
      throw unwritable(partOf(this.options.target), cause)
    }
  }

  private async connect(): Promise<ReadableStreamDefaultReader<Uint8Array>> {
    const { hub, repository, file } = this.options
    const { received: from, etag } = this
    const headers: Record<string, string> = from > 0 ? { range: `bytes=${from}-` } : {}
    // A weak tag says that two versions mean the same, not that their bytes are (RFC 9110, 13.1.5).
    if (from > 0 && etag !== undefined && !etag.startsWith('W/')) headers['if-range'] = etag
    const [owner, name] = repository.id.split('/') as [string, string]
    const url = hub.url(owner, name, 'resolve', repository.revision, ...file.path.split('/'))
    const answer = await hub.open(url, `"${file.path}"`, repository, headers)
    const body = answer.response.body as ReadableStream<Uint8Array> | null
    try {
      await this.accept(answer, from)
      if (!body) throw new Error('an answer without content')
      if (this.received === 0) await this.begin(tagOf(answer.response.headers.get('etag')))
      return body.getReader()
    } catch (error) {
      await body?.cancel().catch(() => undefined)
      throw error
    }
  }

  /** Are these the bytes that are missing? If not, but all of the file: what has arrived is dropped. */
  private async accept(answer: Answer, from: number): Promise<void> {
    const { file, onNotice } = this.options
    const { response } = answer
    await this.checkLinked(answer)
    this.commit = answer.commit ?? this.commit
    const why = this.received > 0 ? this.whyAgain(response, from) : undefined
    if (why !== undefined) {
      onNotice?.(`${why} of "${file.path}": it is downloaded from the beginning`)
      await this.startAgain()
    }
    if (response.status !== 200 && this.received === 0) throw new Error('an answer for other bytes')
    const told = lengthOf(response)
    if (response.status === 200 && told !== undefined && told !== this.size)
      throw await this.refuse(hubErrors.wrongBytes(file.path, 'the length', `${this.size} bytes`, told))
  }

  private async refuse(error: GtaError): Promise<GtaError> {
    await this.discard()
    return error
  }

  /** Is the file behind the address the one of the list? */
  private async checkLinked({ linkedHash, linkedBytes }: Answer): Promise<void> {
    const isOther = linkedHash !== undefined && linkedHash !== this.expected
    if ((linkedBytes !== undefined && linkedBytes !== this.size) || (isOther && this.expected.length === 64))
      throw await this.refuse(hubErrors.changed(this.options.file.path))
    if (!isOther) return
    // A list that tells only the hash of the pointer in git. What is there already was hashed otherwise.
    this.expected = linkedHash
    await this.startAgain()
  }

  /** Why what has arrived cannot be gone on with; undefined: it can. */
  private whyAgain({ status, headers }: Response, from: number): string | undefined {
    const etag = tagOf(headers.get('etag'))
    if (etag !== undefined && this.etag !== undefined && etag !== this.etag)
      return 'the server has another version (ETag)'
    if (status === 200) return 'the server does not go on in the middle'
    if (status === 416) return 'the server has fewer bytes'
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? []
    if (Number(start) !== from) return 'the server sends other bytes than those that are missing'
    if (total !== '*' && Number(total) !== this.size) return 'the server has another length'
    return undefined
  }

  /** Says in the note whose bytes follow. */
  private async begin(etag: string | undefined): Promise<void> {
    this.etag = etag
    const { target, file } = this.options
    const note = noteOf(target)
    try {
      await writeFile(`${note}.new`, JSON.stringify({ etag, bytes: file.bytes, hash: file.hash }))
      await rename(`${note}.new`, note)
    } catch (cause) {
      throw unwritable(note, cause)
    }
  }

  private async startAgain(): Promise<void> {
    this.hangUp()
    if (this.received > 0) await this.part.truncate(0)
    this.received = 0
    this.etag = undefined
    this.isResumed = false
    this.hash = this.newHash()
  }

  private hangUp(): void {
    this.reader?.cancel().catch(() => undefined)
    this.reader = undefined
  }
}

/** Bytes of the whole answer; undefined where nobody tells, or tells those of a compressed one. */
function lengthOf({ headers }: Response): number | undefined {
  const isEncoded = (headers.get('content-encoding') ?? 'identity') !== 'identity'
  const length = headers.get('content-length')
  return isEncoded || length === null ? undefined : Number(length)
}

/** An ETag as RFC 9110 has them; undefined for anything else, which is not to become a header. */
function tagOf(found: unknown): string | undefined {
  return typeof found === 'string' && /^(?:W\/)?"[\x21\x23-\x7e]*"$/.test(found) ? found : undefined
}

interface Note {
  etag: string | undefined
  bytes: number
  hash: string
}

/** Undefined where none can be read: the part is begun anew. */
async function readNote(target: string): Promise<Note | undefined> {
  try {
    const note = JSON.parse(await readFile(noteOf(target), 'utf8')) as Partial<Note> | null
    const { etag, bytes, hash } = note ?? {}
    if (typeof bytes !== 'number' || typeof hash !== 'string') return undefined
    return { bytes, hash, etag: tagOf(etag) }
  } catch {
    return undefined
  }
}

export async function removePart(target: string): Promise<void> {
  for (const path of [noteOf(target), `${noteOf(target)}.new`, partOf(target)]) await rm(path, { force: true })
}

function unwritable(path: string, cause: unknown): GtaError {
  const isFull = ['ENOSPC', 'EDQUOT'].includes((cause as NodeJS.ErrnoException).code ?? '')
  const why = isFull
    ? 'the disk is full: make room'
    : `${cause instanceof Error ? cause.message : cause}: check its folder`
  return new GtaError(
    'WRITE_FAILED',
    `"${path}" must be written, found ${why}. What has arrived stays, and the same command goes on`,
    { cause },
  )
}
