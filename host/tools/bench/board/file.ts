/** Board reports on the disk. They come from strangers: nothing of them is believed before it is checked. */
import { randomUUID } from 'node:crypto'
import { access, constants, link, lstat, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errors, GtaError } from '../../../errors.ts'
import { type BoardReport, checkBoardReport } from './report.ts'

/** The standard set takes some 20 kB. */
const MOST_BYTES = 2_000_000

/**
 * Measures, and writes the report to a new file, all of it or nothing; returns its size. A path that cannot be written is
 * refused before anything is measured.
 */
export async function writeBoardReport(
  path: string,
  measure: () => Promise<BoardReport>,
): Promise<{ report: BoardReport; bytes: number }> {
  await checkNew(path)
  const report = await measure()
  const content = Buffer.from(`${JSON.stringify(report, undefined, 2)}\n`)
  const temporary = `${path}.tmp-${randomUUID().slice(0, 8)}`
  try {
    await writeFile(temporary, content, { flag: 'wx', flush: true })
    // Not rename(): it would replace what somebody else wrote there meanwhile.
    await link(temporary, path).catch(async (error) => {
      // File systems without links, as on USB sticks.
      if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(error?.code)) throw error
      await checkNew(path)
      await rename(temporary, path)
    })
  } catch (error) {
    if (error instanceof GtaError) throw error
    throw (error as NodeJS.ErrnoException).code === 'EEXIST' ? errors.exists(path) : errors.writeFailed(path, error)
  } finally {
    await rm(temporary, { force: true })
  }
  return { report, bytes: content.length }
}

async function checkNew(path: string): Promise<void> {
  if (await lstat(path).catch(() => undefined)) throw errors.exists(path)
  await access(dirname(path), constants.W_OK | constants.X_OK).catch((error) => {
    throw errors.writeFailed(path, error)
  })
}

/** Reads a report that anybody may have written. Throws NOT_FOUND, BAD_FILE, or OTHER_VERSION. */
export async function readBoardReport(path: string): Promise<BoardReport> {
  // Not waiting for whoever writes into a pipe of that name.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause) => {
    throw cause?.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  })
  let content: string
  try {
    const status = await file.stat()
    if (!status.isFile()) throw errors.badFile(path, 'the kind', 'a regular file', 'something else')
    if (status.size > MOST_BYTES) throw errors.badFile(path, 'the size', `at most ${MOST_BYTES} bytes`, status.size)
    content = await file.readFile('utf8')
  } finally {
    await file.close()
  }
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch (cause) {
    throw errors.badJson(path, cause)
  }
  return checkBoardReport(value, path)
}
