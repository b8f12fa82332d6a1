/** Model files in Node. */
import type { Stats } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { errors } from '../errors.ts'
import { checkPacked, type PackedModel } from './packed.ts'
import { readSafetensors, type SafetensorsFile } from './safetensors.ts'
import type { ByteSource } from './source.ts'

/** Largest single read; also the limit of some file systems. */
const CHUNK = 2 ** 26

/** Several reads at a time: reading is copying from the page cache and touching fresh memory, work for more than one core. Node's pool has four threads. */
const READERS = 4
const READ_BYTES = 2 ** 24

/** What lies at a model's path; refuses a path with nothing behind it. */
export async function statModel(path: string): Promise<Stats> {
  const found = await stat(path).catch(() => undefined)
  if (!found) throw (await import('./missing.ts')).noModel(path)
  return found
}

/** Does a file begin as GGUF does? */
export async function isGguf(path: string): Promise<boolean> {
  if (!(await statModel(path)).isFile()) return false
  const file = await openFile(path)
  try {
    const begin = new Uint8Array(4)
    if (file.size >= begin.length) await file.read(begin, 0)
    return String.fromCharCode(...begin) === 'GGUF'
  } finally {
    await file.close()
  }
}

/** Opens a file for reading; throws NOT_FOUND, or BAD_FILE for what is no file. */
export async function openFile(path: string): Promise<ByteSource> {
  const unreadable = (cause: NodeJS.ErrnoException): never => {
    throw cause.code === 'ENOENT' ? errors.noFile(path) : errors.unreadable(path, cause)
  }
  // Looked at before it is opened: opening a pipe would wait for its writer.
  if (!(await stat(path).catch(unreadable)).isFile())
    throw errors.badFile(path, 'the kind', 'a regular file', 'something else')
  const file = await open(path, 'r').catch(unreadable)
  const { size } = await file.stat()
  return {
    size,
    readers: READERS,
    readBytes: READ_BYTES,
    async read(target, position) {
      let done = 0
      while (done < target.length) {
        const length = Math.min(CHUNK, target.length - done)
        const { bytesRead } = await file.read(target, done, length, position + done).catch((cause) => {
          throw errors.unreadable(path, cause)
        })
        if (bytesRead === 0)
          throw errors.badFile(path, 'the size', `at least ${position + target.length} bytes`, position + done)
        done += bytesRead
      }
    },
    close: () => file.close(),
  }
}

/** Opens a file and checks its header; the caller closes `file`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const file = await openFile(path)
  try {
    return await readSafetensors(path, file)
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Opens a packed model and checks all of it but the weights themselves; the caller closes it. */
export async function openPacked(path: string): Promise<PackedModel> {
  const opened = await openSafetensors(path)
  try {
    const packed = await checkPacked(opened)
    Object.assign(packed.files, await packed.readTokenizer())
    return packed
  } catch (error) {
    await opened.file.close()
    throw error
  }
}
