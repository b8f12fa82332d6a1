/** What was pulled into a folder, and what is under way: gta-pull.json in it. */
import { randomUUID } from 'node:crypto'
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errors } from '../../errors.ts'
import { cacheErrors } from './cache-errors.ts'
import type { HubFile } from './listing.ts'
import { isSafePath } from './repository.ts'

export const MANIFEST = 'gta-pull.json'
const SCHEMA = 'gta-pulled/1'
/** A larger one is not ours. */
const MAX_BYTES = 2 ** 24

export interface PulledModel {
  /** The file that is the model; null: the folder is, a Hugging Face directory. */
  file: string | null
  files: HubFile[]
  /** Of its weights: 'BF16', 'Q4_K'. */
  type: string | null
  commit: string | null
  /** ISO 8601; null: not whole yet. */
  pulled: string | null
}

export interface Manifest {
  id: string
  revision: string
  endpoint: string
  models: PulledModel[]
}

/** Undefined if there is none. Throws BAD_FILE for one that pull did not write. */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST)
  const found = await stat(path).catch(() => undefined)
  if (!found) return undefined
  try {
    if (!found.isFile() || found.size > MAX_BYTES) throw undefined
    const { schema, ...manifest } = JSON.parse(await readFile(path, 'utf8'))
    if (schema !== SCHEMA || !isManifest(manifest)) throw undefined
    return manifest
  } catch {
    throw cacheErrors.badManifest(path)
  }
}

/** Whole or not at all, also where the power goes. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const path = join(folder, MANIFEST)
  const temporary = `${path}.${randomUUID()}`
  try {
    const file = await open(temporary, 'wx')
    try {
      await file.writeFile(`${JSON.stringify({ schema: SCHEMA, ...manifest }, undefined, 1)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw errors.writeFailed(path, cause)
  }
}

/** Somebody may have edited it: paths lead out of the folder, and to removal. */
function isManifest(value: unknown): value is Manifest {
  const isText = (text: unknown): text is string => typeof text === 'string'
  const isFile = (file: HubFile | null) =>
    isText(file?.path) && isSafePath(file.path) && Number.isSafeInteger(file.bytes) && isText(file.hash)
  const isModel = (model: PulledModel | null) =>
    Array.isArray(model?.files) &&
    model.files.every(isFile) &&
    (model.file === null || model.files.some(({ path }) => path === model.file)) &&
    [model.type, model.commit, model.pulled].every((text) => text === null || isText(text))
  const { id, revision, endpoint, models } = (value ?? {}) as Partial<Manifest>
  return [id, revision, endpoint].every(isText) && Array.isArray(models) && models.every(isModel)
}
