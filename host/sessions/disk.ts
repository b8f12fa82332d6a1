/**
 * The few calls through which sessions reach the disk. They have the signatures of `node:fs/promises`, which is the disk
 * unless somebody gives another one: tests give disks that fail, fill up or lose power.
 */
import { createHash } from 'node:crypto'
import * as nodeDisk from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isMissing } from '../errors.ts'
import { DATA_START, decodeHeader, HEADER_BYTES, type Header, SLOTS } from './format.ts'

export interface FileStatus {
  size: number
  dev: number
  ino: number
  mtimeMs: number
  isFile(): boolean
}

export interface DiskFile {
  read(target: Uint8Array, start: number, length: number, position: number): Promise<{ bytesRead: number }>
  write(bytes: Uint8Array, start: number, length: number, position: number): Promise<{ bytesWritten: number }>
  stat(): Promise<FileStatus>
  truncate(length: number): Promise<void>
  sync(): Promise<void>
  close(): Promise<void>
}

export interface Disk {
  open(path: string, flags: 'r' | 'r+' | 'wx', mode?: number): Promise<DiskFile>
  stat(path: string): Promise<FileStatus>
  lstat(path: string): Promise<FileStatus>
  realpath(path: string): Promise<string>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  readdir(path: string): Promise<string[]>
}

export const disk: Disk = nodeDisk

/** Largest single read or write; also the limit of some file systems. */
const CHUNK = 2 ** 26

/** Reads as much of `target` as the file has from `position` on, and returns how many bytes that are. */
export async function readUpTo(file: DiskFile, target: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < target.length) {
    const { bytesRead } = await file.read(target, done, Math.min(CHUNK, target.length - done), position + done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  return done
}

export async function writeFully(file: DiskFile, bytes: Uint8Array, position: number): Promise<void> {
  let done = 0
  while (done < bytes.length)
    done += (await file.write(bytes, done, Math.min(CHUNK, bytes.length - done), position + done)).bytesWritten
}

/** The bytes of both header slots, as far as the file has them. */
export async function readSlots(file: DiskFile): Promise<Uint8Array[]> {
  const start = new Uint8Array(DATA_START)
  const length = await readUpTo(file, start, 0)
  return SLOTS.map((slot) => start.subarray(slot, Math.min(length, slot + HEADER_BYTES)))
}

/** Undamaged headers, the newest first. */
export function headersOf(slots: Uint8Array[]): Header[] {
  const headers = slots.map(decodeHeader).filter((header) => header !== undefined)
  return headers.sort((a, b) => b.generation - a.generation)
}

/** The file that a path leads to, through links; it need not exist, its directory must. */
export async function resolveTarget(disk: Disk, path: string): Promise<string> {
  let target: string
  try {
    target = await disk.realpath(path)
  } catch (error) {
    if (!isMissing(error)) throw error
    const isLink = await disk.lstat(path).then(
      () => true,
      () => false,
    )
    if (isLink) throw notWritable('it must lead to a file, found a link that leads nowhere')
    return join(await disk.realpath(dirname(path)), basename(path))
  }
  if (!(await disk.stat(target)).isFile()) throw notWritable('it must be a regular file, found something else')
  return target
}

/** A reason of our own that is reported like those of the system. */
export function notWritable(reason: string): Error {
  return Object.assign(new Error(reason), { code: 'ENOTSUP' })
}

/** Name of a file beside a session that lives only while it is saved. Short, however long the name of the session is. */
export function besides(target: string, id: string, kind: 'tmp' | 'lock'): string {
  return join(dirname(target), `${besidesStart(target)}${id}.${kind}`)
}

export function besidesStart(target: string): string {
  return `.gta-session-${createHash('sha256').update(basename(target)).digest('hex').slice(0, 12)}-`
}

/**
 * Makes a rename durable. Throws only if the disk fails: not every system can sync a directory; there a rename is as
 * safe as it gets.
 */
export async function syncDirectory(disk: Disk, path: string): Promise<void> {
  try {
    const directory = await disk.open(path, 'r')
    await directory.sync().finally(() => directory.close())
  } catch (error) {
    if (['EIO', 'ENOSPC', 'EDQUOT', 'ENODEV'].includes((error as NodeJS.ErrnoException)?.code ?? '')) throw error
  }
}
