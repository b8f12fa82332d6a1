/** The models in the cache, listed and removed. */
import { readdir, rm, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errors } from '../../errors.ts'
import { makeDirectory } from '../../platform/directory.ts'
import { cacheErrors } from './cache-errors.ts'
import { removeUnused } from './fetched.ts'
import { bytesOf, bytesThere, modelsDirectory, modelsNamed, pathOf } from './find.ts'
import { lock } from './lock.ts'
import { MANIFEST, type Manifest, type PulledModel, readManifest, writeManifest } from './manifest.ts'
import { folderOf, parseRepository, type Repository, repositoryName } from './repository.ts'

export interface CachedModel {
  name: string
  path: string
  format: 'gguf' | 'gta' | 'safetensors'
  /** Of its weights. */
  type: string | null
  /** Bytes of all its files, and how many of these are there. */
  bytes: number
  done: number
  commit: string | null
  /** ISO 8601; null: it is not whole. */
  pulled: string | null
}

export const lockOf = (folder: string) => join(folder, '.lock')

/** The folder of a repository, made if need be. */
export function folderFor(repository: Repository): string {
  const folder = join(modelsDirectory(), folderOf(repository))
  try {
    makeDirectory(folder)
  } catch (cause) {
    throw errors.writeFailed(folder, cause)
  }
  return folder
}

/** A folder with nothing in it, and its owner's. */
export async function removeEmpty(folder: string): Promise<void> {
  for (const path of [folder, dirname(folder)]) await rmdir(path).catch(() => undefined)
}

/** All of them, by name. `onProblem` is told of a folder that cannot be read. */
export async function listPulled(onProblem: (text: string) => void): Promise<CachedModel[]> {
  const found: CachedModel[] = []
  const root = modelsDirectory()
  const namesIn = async (folder: string) => (await readdir(folder).catch(() => [] as string[])).sort()
  for (const owner of await namesIn(root))
    for (const name of await namesIn(join(root, owner))) {
      const folder = join(root, owner, name)
      try {
        const manifest = await readManifest(folder)
        for (const model of manifest?.models ?? [])
          found.push(await describePulled(folder, manifest as Manifest, model))
      } catch (error) {
        onProblem((error as Error).message)
      }
    }
  return found
}

/**
 * Removes a model, an unfinished one too; all models of a repository, if it is named alone. `isMeant` is asked before. Returns what
 * was removed.
 */
export async function removePulled(
  text: string,
  isMeant: (models: CachedModel[]) => Promise<boolean>,
): Promise<CachedModel[]> {
  const repository = parseRepository(text)
  const folder = repository && join(modelsDirectory(), folderOf(repository))
  if (!folder || !(await readManifest(folder))) throw await notPulled(text)
  const release = await lock(lockOf(folder), text)
  try {
    // Another program may have been at work until now.
    const manifest = await readManifest(folder)
    if (!manifest) throw await notPulled(text)
    const models = repository.file === undefined ? manifest.models : modelsNamed(repository, manifest)
    if (models.length === 0) throw await notPulled(text)
    const described = await Promise.all(models.map((model) => describePulled(folder, manifest, model)))
    if (!(await isMeant(described))) return []
    const others = manifest.models.filter((model) => !models.includes(model))
    // First nobody finds them any more.
    if (others.length > 0) await writeManifest(folder, { ...manifest, models: others })
    else await rm(join(folder, MANIFEST))
    await removeUnused(folder, models, others)
    return described
  } finally {
    await release()
    await removeEmpty(folder)
  }
}

async function notPulled(text: string): Promise<Error> {
  const known = await listPulled(() => undefined)
  return cacheErrors.notPulled(text, [...new Set(known.map(({ name }) => name))])
}

async function describePulled(folder: string, manifest: Manifest, model: PulledModel): Promise<CachedModel> {
  const { file, files, type, commit, pulled } = model
  return {
    name: repositoryName(manifest, file),
    path: pathOf(folder, model),
    format: file === null ? 'safetensors' : /\.gta$/i.test(file) ? 'gta' : 'gguf',
    type,
    bytes: bytesOf(files),
    done: await bytesThere(folder, model),
    commit,
    pulled,
  }
}
