/** Files that are there complete or not at all: written under a temporary name, synced, then renamed. */
import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errors, GtaError } from '../errors.ts'

/**
 * `write` makes a new file of the path that it is given, and syncs it. On any failure nothing is left behind. `check` has the
 * last word before a file of that name would be replaced.
 */
export async function writeWhole<T>(
  path: string,
  write: (temporary: string) => Promise<T>,
  signal?: AbortSignal,
  check = async () => {},
): Promise<T> {
  const temporary = `${path}.tmp-${randomUUID().slice(0, 8)}`
  try {
    const result = await write(temporary)
    signal?.throwIfAborted()
    await check()
    await rename(temporary, path)
    await syncDirectory(dirname(path))
    return result
  } catch (error) {
    // An error of removing must not hide why the work failed.
    await rm(temporary, { force: true }).catch(() => undefined)
    if (error instanceof GtaError || signal?.aborted) throw error
    throw (error as NodeJS.ErrnoException)?.code ? errors.writeFailed(path, error) : error
  }
}

/** Makes a rename durable. Not every file system can sync a directory; then the rename is as safe as it gets. */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r')
    await directory.sync().finally(() => directory.close())
  } catch {}
}
