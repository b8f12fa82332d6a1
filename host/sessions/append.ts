/** Saves into the file that holds the session before: only what is new is written, behind what is there. */
import { dirname } from 'node:path'
import { GtaError, isMissing } from '../errors.ts'
import { type Layout, layOut, type Save, type SavedSession, writeBody } from './body.ts'
import { besides, type Disk, type DiskFile, headersOf, readSlots, syncDirectory, writeFully } from './disk.ts'
import { sessionErrors } from './errors.ts'
import { BLOCK, HEADER_BYTES, MAX_GENERATION, SLOTS } from './format.ts'
import type { SessionImage } from './read.ts'

/** Undefined if it must be a new file: this one is another than the image says, in use, or would be garbage mostly. */
export async function tryAppend(save: Save, image: SessionImage): Promise<SavedSession | undefined> {
  const { disk, target } = save
  if (image.path !== target || image.pageBytes !== save.pageBytes || image.generation >= MAX_GENERATION)
    return undefined
  const layout = layOut(save, Math.ceil(image.end / BLOCK) * BLOCK, image.records)
  if (layout.end > 2 * layout.live) return undefined
  const lock = besides(target, image.fileId, 'lock')
  if (!(await takeLock(disk, lock))) return undefined
  const status = { isSound: true }
  try {
    return await openAndAppend(save, image, layout, status)
  } finally {
    // A file that could not be set right again keeps its lock: nobody appends to it any more.
    if (status.isSound) await disk.unlink(lock).catch(() => undefined)
  }
}

async function takeLock(disk: Disk, path: string): Promise<boolean> {
  try {
    const lock = await disk.open(path, 'wx', 0o600)
    await lock.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

async function openAndAppend(
  save: Save,
  image: SessionImage,
  layout: Layout,
  status: { isSound: boolean },
): Promise<SavedSession | undefined> {
  const file = await save.disk.open(save.target, 'r+').catch((error) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (!file) return undefined
  try {
    const slots = await readSlots(file)
    const newest = headersOf(slots)[0]?.sha256
    // Whoever else saved here since then has left another header.
    if (newest !== image.headerSha256 || (await file.stat()).size < image.end) return undefined
    const slot = headersOf(slots.slice(0, 1))[0]?.sha256 === newest ? 1 : 0
    const before = new Uint8Array(HEADER_BYTES)
    before.set(slots[slot] as Uint8Array)
    return await append(save, image, layout, file, { position: SLOTS[slot], before }, status)
  } finally {
    await file.close()
  }
}

interface Slot {
  position: number
  before: Uint8Array
}

async function append(
  save: Save,
  image: SessionImage,
  layout: Layout,
  file: DiskFile,
  slot: Slot,
  status: { isSound: boolean },
): Promise<SavedSession | undefined> {
  let touched: Slot | undefined
  try {
    const id = { fileId: image.fileId, generation: image.generation + 1 }
    const { header, saved } = await writeBody(save, file, layout, id)
    await file.sync()
    save.signal?.throwIfAborted()
    touched = slot
    await writeFully(file, header, slot.position)
    await file.sync()
    if (!(await isInPlace(save, file))) return undefined
    if (!image.isNameSynced) await syncName(save)
    return saved
  } catch (error) {
    if (!(error instanceof GtaError)) status.isSound = await undo(file, image.end, touched)
    throw error
  }
}

/** Whether the path still leads to this file: somebody may have put another one in its place. */
async function isInPlace({ disk, target }: Save, file: DiskFile): Promise<boolean> {
  const ours = await file.stat()
  const found = await disk.stat(target).catch((error) => {
    if (isMissing(error)) return undefined
    throw error
  })
  return found?.dev === ours.dev && found?.ino === ours.ino
}

/** Returns whether the file is as it was before. The slot comes first: no header must name what is cut off. */
async function undo(file: DiskFile, end: number, slot?: Slot): Promise<boolean> {
  try {
    if (slot) {
      await writeFully(file, slot.before, slot.position)
      await file.sync()
    }
  } catch {
    return false
  }
  // A tail that stays is garbage like any other.
  await file.truncate(end).catch(() => undefined)
  return true
}

/** Makes the name of a saved file durable. */
export async function syncName({ disk, target }: Save): Promise<void> {
  await syncDirectory(disk, dirname(target)).catch((cause) => {
    throw sessionErrors.saveUnconfirmed(target, cause)
  })
}
