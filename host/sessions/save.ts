/**
 * Saves a session so that at any moment, power cuts included, its file holds the session before or the new one:
 *
 *     append     lock ─ pages and index behind the end ─ sync ─ header into the older slot ─ sync ─ unlock
 *     new file   everything under a temporary name ─ sync ─ rename ─ sync of the directory
 *
 * It appends if the file is the one that was saved or read last and at most half of it becomes garbage. The lock is a
 * file beside it that nobody waits for: who does not get it writes a new file, which needs none. So two processes that
 * save to one path never mix, the last one wins; and a lock that a killed process left behind costs the next save one
 * whole file and goes with the file that it belongs to.
 */
import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { GtaError, isMissing } from '../errors.ts'
import { syncName, tryAppend } from './append.ts'
import { checkPages, encodeState, layOut, type PageToSave, type Save, type SavedSession, writeBody } from './body.ts'
import {
  besides,
  besidesStart,
  type Disk,
  disk as nodeDisk,
  notWritable,
  readSlots,
  resolveTarget,
  writeFully,
} from './disk.ts'
import { sessionErrors } from './errors.ts'
import { DATA_START, decodeHeader, hasMagic, SLOTS } from './format.ts'
import type { SessionImage } from './read.ts'

export type { PageToSave, SavedSession } from './body.ts'

export interface SaveOptions {
  signal?: AbortSignal
  disk?: Disk
}

/** Milliseconds after which a temporary file belongs to a save that was killed. */
const ABANDONED = 3_600_000

/**
 * Saves state and pages to a path, through links. With the image of the last save or read it writes only what is new.
 * The file is private to its owner (mode 0600).
 *
 * Throws GtaError BAD_OPTION for a state that could not be read back (a JSON object of at most 1 MiB and 64 levels) or
 * pages of different sizes; WRITE_FAILED with the path and the reason for all else, an abort among it. Then the session
 * that was there is still there, and nothing else is. Two failures cannot be undone: a directory that cannot be synced
 * (the new session is in its place; the message says so), and a disk that fails twice, at the header and at taking it
 * back (either session is in its place, whole).
 */
export async function saveSession(
  path: string,
  state: object,
  pages: readonly PageToSave[],
  image?: SessionImage,
  { disk = nodeDisk, signal }: SaveOptions = {},
): Promise<SavedSession> {
  const content = { state: encodeState(state), pages, pageBytes: checkPages(pages) }
  try {
    signal?.throwIfAborted()
    const save: Save = { ...content, disk, signal, target: await resolveTarget(disk, path) }
    return (image && (await tryAppend(save, image))) ?? (await writeNew(save))
  } catch (error) {
    if (error instanceof GtaError) throw error
    const isOfTheDisk = (error as NodeJS.ErrnoException | undefined)?.code !== undefined
    throw signal?.aborted || isOfTheDisk ? sessionErrors.saveFailed(path, error) : error
  }
}

async function writeNew(save: Save): Promise<SavedSession> {
  const { disk, target, signal } = save
  const replaced = await fileIdsAt(disk, target)
  const temporary = besides(target, randomBytes(16).toString('hex'), 'tmp')
  let saved: SavedSession
  try {
    saved = await writeTo(save, temporary)
    signal?.throwIfAborted()
    await disk.rename(temporary, target)
  } catch (error) {
    // An error of removing must not hide why the work failed.
    await disk.unlink(temporary).catch(() => undefined)
    throw error
  }
  await syncName(save)
  for (const id of replaced) await disk.unlink(besides(target, id, 'lock')).catch(() => undefined)
  await sweep(disk, target).catch(() => undefined)
  return saved
}

async function writeTo(save: Save, path: string): Promise<SavedSession> {
  const file = await save.disk.open(path, 'wx', 0o600)
  try {
    const id = { fileId: randomBytes(16).toString('hex'), generation: 1 }
    const { header, saved } = await writeBody(save, file, layOut(save, DATA_START), id)
    await writeFully(file, header, SLOTS[0])
    await file.sync()
    return saved
  } finally {
    await file.close()
  }
}

/** Ids of the session file that will be replaced. What is neither a session nor empty is not ours to replace. */
async function fileIdsAt(disk: Disk, target: string): Promise<string[]> {
  const file = await disk.open(target, 'r').catch((error) => {
    if (isMissing(error)) return undefined
    throw error
  })
  if (!file) return []
  try {
    const slots = await readSlots(file)
    if ((await file.stat()).size > 0 && !slots.some(hasMagic))
      throw notWritable('it must be a session or not there, found another file')
    return [...new Set(slots.map((slot) => decodeHeader(slot)?.fileId).filter((id) => id !== undefined))]
  } finally {
    await file.close()
  }
}

/** Removes what killed saves of this session left behind, long ago. */
async function sweep(disk: Disk, target: string): Promise<void> {
  const directory = dirname(target)
  const start = besidesStart(target)
  for (const name of await disk.readdir(directory)) {
    if (!name.startsWith(start) || !name.endsWith('.tmp')) continue
    const { mtimeMs } = await disk.lstat(join(directory, name))
    if (Date.now() - mtimeMs > ABANDONED) await disk.unlink(join(directory, name))
  }
}
