/**
 * Where results go: a file that survives every end of the process, or a stream.
 *
 * A result is one write behind the last one. What was written outlives the process, whatever ends it; once a second, and at the
 * end, it is synced, so that a power cut takes what the last second wrote. A last line without an end was being written: who
 * goes on with the file cuts it off. So is what lies behind bytes of zero, which a power cut may leave; any other damage is
 * told and left alone.
 */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Writable } from 'node:stream'
import { errors } from '../errors.ts'
import { syncDirectory } from '../files/atomic.ts'
import { batchErrors } from './errors.ts'
import { IdSet } from './id-set.ts'
import { readLines } from './lines.ts'
import { readResult } from './results.ts'

export interface Output {
  /** Keys of the results that are there already. */
  readonly kept: Kept
  begin(): Promise<void>
  /** Resolves when the line is written, or when the reader can take more. Calls need not wait for each other. */
  write(line: string): Promise<void>
  /** Rejects if what was written cannot be made durable. A second call does nothing. */
  close(): Promise<void>
}

export class Kept {
  readonly keys = new IdSet()
  /** Those that are errors. */
  failed = 0
  private readonly order = new Order()

  /** False if it was there. */
  add(key: string): boolean {
    if (!this.keys.add(key)) return false
    this.order.add(key)
    return true
  }

  /** Do as many keys of another list stand in the same order? */
  isInOrder(order: Order): boolean {
    return this.order.digest === order.digest
  }
}

/** The order of keys, however many. */
export class Order {
  private readonly hash = createHash('sha256')

  add(key: string): void {
    this.hash.update(JSON.stringify(key))
  }

  get digest(): string {
    return this.hash.copy().digest('hex')
  }
}

/** Milliseconds after which what was written is synced. */
const SYNC = 1000
/** A result with the alternatives to every token of a long context. */
const MAX_RESULT = 2 ** 28

export interface OutputFileOptions {
  /** Go on with what is there. */
  isResumed?: boolean
  /** Write over what is there. */
  isForced?: boolean
  /** Told of what was cut off, in bytes. */
  onCut?: (bytes: number) => void
}

export class OutputFile implements Output {
  readonly kept = new Kept()
  private readonly path: string
  private readonly handle: FileHandle
  private readonly isFile: boolean
  private size = 0
  private synced = performance.now()
  private isDirty = false
  private last: Promise<void> = Promise.resolve()

  private constructor(path: string, handle: FileHandle, isFile: boolean) {
    this.path = path
    this.handle = handle
    this.isFile = isFile
  }

  /** Throws BAD_OPTION if something is there that is neither resumed nor forced, BAD_FILE where that is no output. */
  static async open(path: string, options: OutputFileOptions = {}): Promise<OutputFile> {
    const handle = await open(path, 'a+', 0o644).catch((cause) => {
      throw errors.writeFailed(path, cause)
    })
    try {
      const found = await handle.stat()
      const file = new OutputFile(path, handle, found.isFile())
      if (options.isResumed) await file.resume(options)
      // What is empty, or no file, has nothing to lose.
      else if (!options.isForced && found.isFile() && found.size > 0) throw batchErrors.exists(path)
      return file
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** Before the first result: what is to be written over goes. */
  async begin(): Promise<void> {
    if (this.kept.keys.size === 0) await this.truncate(0)
  }

  /** Is it the same file as the one that is open there? */
  async isSame(other: FileHandle): Promise<boolean> {
    const [a, b] = await Promise.all([this.handle.stat(), other.stat()])
    return a.isFile() && a.dev === b.dev && a.ino === b.ino
  }

  private async resume({ onCut }: OutputFileOptions): Promise<void> {
    if (!this.isFile) throw batchErrors.notResumable(this.path)
    const { size } = await this.handle.stat()
    let end = 0
    for await (const line of readLines(createReadStream(this.path), MAX_RESULT)) {
      if (!line.isWhole || line.bytes?.includes(0)) break
      const found = line.bytes && readResult(Buffer.from(line.bytes).toString())
      if (!found) throw batchErrors.badOutput(this.path, line.number, 'something else')
      if (!this.kept.add(found.key))
        throw batchErrors.badOutput(this.path, line.number, 'a second result of one request')
      if (!found.isGood) this.kept.failed++
      end = line.end
    }
    // What nobody has begun for us is not ours to cut.
    if (end === 0 && size > 0) await this.expectBeginning()
    if (end < size) {
      await this.truncate(end)
      onCut?.(size - end)
    }
    this.size = end
  }

  /** The file has no whole line: is it the beginning of ours? */
  private async expectBeginning(): Promise<void> {
    const start = '{"id":"batch_req_'
    const { buffer, bytesRead } = await this.handle.read(Buffer.alloc(start.length), 0, start.length, 0)
    const text = buffer.toString('latin1', 0, bytesRead)
    const known = text.replace(/\0.*$/s, '')
    if (known === '' || !start.startsWith(known)) throw batchErrors.badOutput(this.path, 1, 'something else')
  }

  private async truncate(size: number): Promise<void> {
    if (this.isFile) await this.handle.truncate(size)
    this.isDirty = this.isFile
  }

  write(line: string): Promise<void> {
    const written = this.last.then(() => this.append(Buffer.from(line)))
    this.last = written.catch(() => undefined)
    return written
  }

  private async append(line: Buffer): Promise<void> {
    try {
      if (this.isFile && (await this.handle.stat()).size !== this.size) throw batchErrors.shared(this.path)
      await this.handle.appendFile(line)
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause
      // Half a line is of no use to anybody; if this fails too, it is cut off by who goes on.
      await this.truncate(this.size).catch(() => undefined)
      throw errors.writeFailed(this.path, cause)
    }
    this.size += line.length
    this.isDirty = this.isFile
    if (performance.now() - this.synced >= SYNC) await this.sync()
  }

  private async sync(): Promise<void> {
    if (!this.isDirty) return
    this.isDirty = false
    await this.handle.datasync().catch((cause) => {
      throw errors.writeFailed(this.path, cause)
    })
    this.synced = performance.now()
  }

  async close(): Promise<void> {
    await this.last
    try {
      await this.sync()
      await syncDirectory(dirname(this.path))
    } finally {
      await this.handle.close()
    }
  }
}

/** Results on a stream: who reads them holds up who writes them. */
export class OutputStream implements Output {
  readonly kept = new Kept()
  private readonly stream: Writable

  constructor(stream: Writable) {
    this.stream = stream
  }

  write(line: string): Promise<void> {
    return new Promise((resolve, reject) => this.stream.write(line, (error) => (error ? reject(error) : resolve())))
  }

  async begin(): Promise<void> {}

  async close(): Promise<void> {}
}
