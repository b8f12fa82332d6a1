/** Small files beside the weights. */
import { readFile } from 'node:fs/promises'
import { errors } from '../errors.ts'
import { parseJson } from '../json.ts'
import { refuseOtherKind } from './other-kinds.ts'

/** A file's text; undefined if there is no such file. Throws BAD_FILE. */
export async function readText(path: string): Promise<string | undefined> {
  const bytes = await readOptional(path)
  try {
    return bytes && new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw errors.badFile(path, 'the content', 'UTF-8 text', 'other bytes')
  }
}

/** A file's bytes; undefined if there is no such file. */
export async function readOptional(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFile(path)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw errors.unreadable(path, cause)
  }
}

/** A parsed JSON file; undefined if there is no such file. */
export async function readJson(path: string): Promise<unknown> {
  const bytes = await readOptional(path)
  if (!bytes) return undefined
  refuseOtherKind(path, bytes, 'a JSON file')
  try {
    return parseJson(bytes)
  } catch (cause) {
    throw errors.badJson(path, cause)
  }
}
