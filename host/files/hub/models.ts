/** The models in the cache: found by the names of their repositories, listed, removed. */
import { readdir, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errors } from '../../errors.ts'
import { makeDirectory } from '../../platform/directory.ts'
import { cacheFile } from '../../platform/remember.ts'
import { typeInName } from './choose.ts'
import { partOf } from './download.ts'
import { hubErrors } from './errors.ts'
import { removeUnused } from './fetched.ts'
import type { HubFile } from './listing.ts'
import { lock } from './lock.ts'
import { MANIFEST, type Manifest, type PulledModel, readManifest, writeManifest } from './manifest.ts'
import type { Pulled } from './options.ts'
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

export const modelsDirectory = () => cacheFile('models')

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

/**
 * Where a pulled model lies, by its name; undefined where nothing of it was pulled. Throws NOT_FOUND for one that is not whole, and
 * BAD_OPTION for a name that several have.
 */
export async function findPulled(text: string): Promise<string | undefined> {
  const repository = parseRepository(text)
  if (!repository) return undefined
  const { folder, found, whole } = await lookUp(repository)
  if (whole) return pathOf(folder, whole)
  if (found[0]) throw hubErrors.unfinished(text, await bytesThere(folder, found[0]), bytesOf(found[0].files))
  return undefined
}

/** What pull() would return if nothing had to be fetched. */
export async function pulledOffline(repository: Repository): Promise<Pulled> {
  const { folder, found, whole } = await lookUp(repository)
  if (whole) {
    const { file, type, files } = whole
    const name = repositoryName(repository, file)
    return { name, path: pathOf(folder, whole), type, bytes: bytesOf(files), downloaded: 0 }
  }
  const missing: string[] = []
  for (const file of found[0]?.files ?? []) {
    const done = await bytesOfFile(folder, file)
    if (done < file.bytes) missing.push(`${file.path} (${done} of ${file.bytes} bytes are there)`)
  }
  const name = repositoryName(repository, repository.file)
  throw hubErrors.offline(name, missing.length > 0 ? missing : ['all of it'])
}

/** All that a name means, and the only one of them that is whole. Throws BAD_OPTION where several are. */
async function lookUp(repository: Repository) {
  const folder = join(modelsDirectory(), folderOf(repository))
  const manifest = await readManifest(folder)
  const found = manifest ? modelsNamed(repository, manifest) : []
  const [whole, ...others] = found.filter(({ pulled }) => pulled !== null)
  if (whole && others.length > 0) {
    const names = [whole, ...others].map(({ file }) => repositoryName(repository, file))
    throw hubErrors.severalPulled(repositoryName(repository, repository.file), names)
  }
  return { folder, manifest, found, whole }
}

/** Those that a name means: a directory before its files. */
function modelsNamed({ file }: Repository, { models }: Manifest): PulledModel[] {
  if (file === undefined) {
    const directories = models.filter((model) => model.file === null)
    return directories.length > 0 ? directories : models
  }
  const exact = models.filter((model) => model.file === file)
  return exact.length > 0 ? exact : models.filter((model) => typeInName(model.file ?? '') === file.toUpperCase())
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
  return hubErrors.notPulled(text, [...new Set(known.map(({ name }) => name))])
}

async function describePulled(folder: string, manifest: Manifest, model: PulledModel): Promise<CachedModel> {
  const { file, files, type, commit, pulled } = model
  return {
    name: repositoryName(manifest, file),
    path: pathOf(folder, model),
    format: file === null ? 'safetensors' : /\.gta$/i.test(file) ? 'gta' : 'gguf',
    type,
    bytes: bytesOf(files),
    done: pulled === null ? await bytesThere(folder, model) : bytesOf(files),
    commit,
    pulled,
  }
}

function pathOf(folder: string, { file }: PulledModel): string {
  return file === null ? folder : join(folder, file)
}

const bytesOf = (files: HubFile[]) => files.reduce((sum, { bytes }) => sum + bytes, 0)

async function bytesThere(folder: string, { files }: PulledModel): Promise<number> {
  let sum = 0
  for (const file of files) sum += await bytesOfFile(folder, file)
  return sum
}

/** Of the file itself if it is there, else of its part. */
async function bytesOfFile(folder: string, { path, bytes }: HubFile): Promise<number> {
  for (const candidate of [join(folder, path), partOf(join(folder, path))]) {
    const found = await stat(candidate).catch(() => undefined)
    if (found) return Math.min(found.size, bytes)
  }
  return 0
}
