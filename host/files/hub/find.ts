/** Where pulled models lie, by the names of their repositories. Nothing here needs a network. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFile } from '../../platform/remember.ts'
import { cacheErrors } from './cache-errors.ts'
import type { HubFile } from './listing.ts'
import { type Manifest, type PulledModel, readManifest } from './manifest.ts'
import type { Pulled } from './options.ts'
import { folderOf, parseRepository, partOf, type Repository, repositoryName, typeInName } from './repository.ts'

export const modelsDirectory = () => cacheFile('models')

/**
 * Where a pulled model lies, by its name; undefined where nothing of it was pulled. Throws NOT_FOUND for one that is not whole, and
 * BAD_OPTION for a name that several have.
 */
export async function findPulled(text: string): Promise<string | undefined> {
  const repository = parseRepository(text)
  if (!repository) return undefined
  const { folder, found, whole } = await lookUp(repository)
  if (whole) return pathOf(folder, whole)
  if (found[0]) throw cacheErrors.unfinished(text, await bytesThere(folder, found[0]), bytesOf(found[0].files))
  return undefined
}

/** What pull() would return if nothing had to be fetched. */
export async function pulledOffline(repository: Repository): Promise<Pulled> {
  const { folder, found, whole } = await lookUp(repository)
  if (whole && (await bytesThere(folder, whole)) === bytesOf(whole.files)) {
    const { file, type, files } = whole
    const name = repositoryName(repository, file)
    return { name, path: pathOf(folder, whole), type, bytes: bytesOf(files), downloaded: 0 }
  }
  const missing: string[] = []
  for (const file of (whole ?? found[0])?.files ?? []) {
    const done = await bytesOfFile(folder, file)
    if (done < file.bytes) missing.push(`${file.path} (${done} of ${file.bytes} bytes are there)`)
  }
  const name = repositoryName(repository, repository.file)
  throw cacheErrors.offline(name, missing.length > 0 ? missing : ['all of it'])
}

/** All that a name means, and the only one of them that is whole. Throws BAD_OPTION where several are. */
async function lookUp(repository: Repository) {
  const folder = join(modelsDirectory(), folderOf(repository))
  const manifest = await readManifest(folder)
  const found = manifest ? modelsNamed(repository, manifest) : []
  const [whole, ...others] = found.filter(({ pulled }) => pulled !== null)
  if (whole && others.length > 0) {
    const names = [whole, ...others].map(({ file }) => repositoryName(repository, file))
    throw cacheErrors.severalPulled(repositoryName(repository, repository.file), names)
  }
  return { folder, manifest, found, whole }
}

/** Those that a name means: a directory before its files. */
export function modelsNamed({ file }: Repository, { models }: Manifest): PulledModel[] {
  if (file === undefined) {
    const directories = models.filter((model) => model.file === null)
    return directories.length > 0 ? directories : models
  }
  const exact = models.filter((model) => model.file === file)
  return exact.length > 0 ? exact : models.filter((model) => typeInName(model.file ?? '') === file.toUpperCase())
}

export function pathOf(folder: string, { file }: PulledModel): string {
  return file === null ? folder : join(folder, file)
}

export const bytesOf = (files: HubFile[]) => files.reduce((sum, { bytes }) => sum + bytes, 0)

export async function bytesThere(folder: string, { files }: PulledModel): Promise<number> {
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
