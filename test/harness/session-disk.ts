/**
 * A disk in memory that writes down what is done to it, fails when it is told to, and can lose power: it then holds any
 * of the states that POSIX allows. Of what was not synced every write, cut and name may be there or not, in any
 * combination; a write may be there in part.
 */
import type { Disk, DiskFile, FileStatus } from '../../host/sessions/disk.ts'

export const DIRECTORY = '/sessions'

export type Operation =
  | { kind: 'create'; path: string; ino: number }
  | { kind: 'write'; ino: number; position: number; bytes: Uint8Array }
  | { kind: 'truncate'; ino: number; length: number }
  | { kind: 'sync'; ino: number }
  | { kind: 'rename'; path: string; ino: number; from: string }
  | { kind: 'unlink'; path: string }
  | { kind: 'syncDirectory' }

/** What is on a disk: contents by inode, inodes by path. */
export interface Contents {
  files: Map<number, Uint8Array>
  names: Map<string, number>
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}

export class MemoryDisk implements Disk {
  readonly log: Operation[] = []
  /** Called before anything is changed; what it returns is thrown. A write may be done in part before it fails. */
  fault: ((operation: Operation, index: number) => { error: Error; written?: number } | undefined) | undefined
  /** Bytes that one read or write takes at most: short ones are legal. */
  most = Number.POSITIVE_INFINITY
  /** Files that are open. */
  handles = 0
  private readonly contents: Contents
  private nextInode: number

  constructor(contents: Contents = { files: new Map(), names: new Map() }) {
    this.contents = { files: new Map(contents.files), names: new Map(contents.names) }
    this.nextInode = 1 + Math.max(0, ...contents.files.keys())
  }

  get paths(): string[] {
    return [...this.contents.names.keys()].sort()
  }

  bytesOf(path: string): Uint8Array {
    return this.contents.files.get(this.inode(path)) as Uint8Array
  }

  /** Puts a file there, as another program would. */
  put(path: string, bytes: Uint8Array): void {
    this.contents.files.set(this.nextInode, bytes)
    this.contents.names.set(path, this.nextInode++)
  }

  private inode(path: string): number {
    const ino = this.contents.names.get(path)
    if (ino === undefined) throw systemError('ENOENT')
    return ino
  }

  private do(operation: Operation): void {
    const failed = this.fault?.(operation, this.log.length)
    if (failed) {
      if (operation.kind === 'write' && failed.written)
        apply(this.contents, { ...operation, bytes: operation.bytes.slice(0, failed.written) })
      throw failed.error
    }
    this.log.push(operation)
    apply(this.contents, operation)
  }

  async open(path: string, flags: 'r' | 'r+' | 'wx'): Promise<DiskFile> {
    if (path === DIRECTORY) {
      this.handles++
      return new OpenFile(this, -1)
    }
    if (flags === 'wx') {
      if (this.contents.names.has(path)) throw systemError('EEXIST')
      this.do({ kind: 'create', path, ino: this.nextInode })
      this.nextInode++
    }
    const ino = this.inode(path)
    this.handles++
    return new OpenFile(this, ino)
  }

  async stat(path: string): Promise<FileStatus> {
    return this.status(path === DIRECTORY ? -1 : this.inode(path))
  }

  async lstat(path: string): Promise<FileStatus> {
    return this.stat(path)
  }

  async realpath(path: string): Promise<string> {
    if (path !== DIRECTORY) this.inode(path)
    return path
  }

  async rename(from: string, path: string): Promise<void> {
    this.do({ kind: 'rename', path, ino: this.inode(from), from })
  }

  async unlink(path: string): Promise<void> {
    this.inode(path)
    this.do({ kind: 'unlink', path })
  }

  async readdir(): Promise<string[]> {
    return this.paths.map((path) => path.slice(DIRECTORY.length + 1))
  }

  status(ino: number): FileStatus {
    const size = this.contents.files.get(ino)?.length ?? 0
    return { size, dev: 1, ino, mtimeMs: Date.now(), isFile: () => ino >= 0 }
  }

  read(ino: number, target: Uint8Array, position: number): number {
    const found = (this.contents.files.get(ino) as Uint8Array).subarray(position, position + target.length)
    const taken = found.subarray(0, this.most)
    target.set(taken)
    return taken.length
  }

  write(ino: number, bytes: Uint8Array, position: number): number {
    // Not slice: of a Buffer it is a view.
    const taken = new Uint8Array(bytes.subarray(0, this.most))
    this.do({ kind: 'write', ino, position, bytes: taken })
    return taken.length
  }

  truncate(ino: number, length: number): void {
    this.do({ kind: 'truncate', ino, length })
  }

  sync(ino: number): void {
    this.do(ino < 0 ? { kind: 'syncDirectory' } : { kind: 'sync', ino })
  }
}

class OpenFile implements DiskFile {
  private readonly disk: MemoryDisk
  private readonly ino: number

  constructor(disk: MemoryDisk, ino: number) {
    this.disk = disk
    this.ino = ino
  }

  async read(target: Uint8Array, start: number, length: number, position: number) {
    return { bytesRead: this.disk.read(this.ino, target.subarray(start, start + length), position) }
  }

  async write(bytes: Uint8Array, start: number, length: number, position: number) {
    return { bytesWritten: this.disk.write(this.ino, bytes.subarray(start, start + length), position) }
  }

  async stat(): Promise<FileStatus> {
    return this.disk.status(this.ino)
  }

  async truncate(length: number): Promise<void> {
    this.disk.truncate(this.ino, length)
  }

  async sync(): Promise<void> {
    this.disk.sync(this.ino)
  }

  async close(): Promise<void> {
    this.disk.handles--
  }
}

/** Does an operation to what is on a disk. Contents of files are never changed in place: copies share them. */
function apply({ files, names }: Contents, operation: Operation, filler = 0): void {
  switch (operation.kind) {
    case 'create':
      if (!files.has(operation.ino)) files.set(operation.ino, new Uint8Array())
      names.set(operation.path, operation.ino)
      break
    case 'write': {
      const { ino, position, bytes } = operation
      const old = files.get(ino) ?? new Uint8Array()
      const result = new Uint8Array(Math.max(old.length, position + bytes.length)).fill(filler, old.length)
      result.set(old)
      result.set(bytes, position)
      files.set(ino, result)
      break
    }
    case 'truncate': {
      const result = new Uint8Array(operation.length)
      result.set((files.get(operation.ino) ?? new Uint8Array()).subarray(0, operation.length))
      files.set(operation.ino, result)
      break
    }
    case 'rename':
      names.delete(operation.from)
      names.set(operation.path, operation.ino)
      if (!files.has(operation.ino)) files.set(operation.ino, new Uint8Array())
      break
    case 'unlink':
      names.delete(operation.path)
  }
}

/** What is surely on the disk after some operations, and what may or may not be. */
export function afterSyncs(log: readonly Operation[]): { durable: Contents; pending: Operation[] } {
  const durable: Contents = { files: new Map(), names: new Map() }
  let pending: Operation[] = []
  for (const operation of log) {
    const isSynced = (other: Operation) =>
      operation.kind === 'syncDirectory'
        ? !isOfFile(other)
        : operation.kind === 'sync' && isOfFile(other) && other.ino === operation.ino
    for (const other of pending.filter(isSynced)) apply(durable, other)
    pending = pending.filter((other) => !isSynced(other))
    if (operation.kind !== 'sync' && operation.kind !== 'syncDirectory') pending.push(operation)
  }
  return { durable, pending }
}

type FileOperation = Extract<Operation, { kind: 'write' | 'truncate' }>
const isOfFile = (operation: Operation): operation is FileOperation =>
  operation.kind === 'write' || operation.kind === 'truncate'

/** What is found after power was lost behind these operations: all that a journal could do, then much that it could not. */
export function* crashes(log: readonly Operation[], next: () => number): Generator<Contents> {
  const { durable, pending } = afterSyncs(log)
  const state = (chosen: (Operation | undefined)[], filler = 0): Contents => {
    const contents = { files: new Map(durable.files), names: new Map(durable.names) }
    for (const operation of chosen) if (operation) apply(contents, operation, filler)
    return contents
  }
  // In order up to some operation, which is whole or cut anywhere: every byte of a header, some of a page.
  for (let count = 0; count <= pending.length; count++) {
    yield state(pending.slice(0, count))
    const last = pending[count]
    if (last?.kind !== 'write') continue
    const { bytes, position } = last
    const step = bytes.length <= 128 ? 1 : Math.ceil(bytes.length / 7)
    for (let cut = step; cut < bytes.length; cut += step)
      for (const part of [
        { ...last, bytes: bytes.slice(0, cut) },
        { ...last, bytes: bytes.slice(cut), position: position + cut },
      ]) {
        yield state([...pending.slice(0, count), part])
        // The rest was written before what stands in front of it.
        yield state([...pending.slice(0, count), part, ...pending.slice(count + 1)])
      }
  }
  // Each left out alone, each alone, and any combination; a hole may hold what the disk held before.
  for (const i of pending.keys()) {
    yield state(pending.filter((_, j) => j !== i))
    yield state([pending[i]])
  }
  for (let i = 0; i < 4 * pending.length; i++)
    yield state(
      pending.map((operation) => (next() < 0.5 ? undefined : torn(operation, next))),
      i % 2 ? 0xaa : 0,
    )
}

/** A write of which only some sectors arrived; anything else as it is. */
function torn(operation: Operation, next: () => number): Operation {
  if (operation.kind !== 'write' || next() < 0.5) return operation
  const bytes = operation.bytes.slice()
  const sector = bytes.length <= 512 ? 16 : 512
  for (let at = 0; at < bytes.length; at += sector)
    if (next() < 0.5) bytes.fill(0xaa, at, Math.min(bytes.length, at + sector))
  return { ...operation, bytes }
}
