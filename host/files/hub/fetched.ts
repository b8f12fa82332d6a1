/** The files of a model in its folder: those that are there, those under way, and how they take the place of older ones. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { rename, rm, rmdir, stat, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errors } from '../../errors.ts'
import { openFile } from '../files.ts'
import type { ByteSource } from '../source.ts'
import { Download, removePart } from './download.ts'
import type { Hub } from './hub.ts'
import type { HubFile } from './listing.ts'
import { MANIFEST, type Manifest, type PulledModel, readManifest, writeManifest } from './manifest.ts'
import type { Pulled, PullOptions } from './options.ts'
import { noteOf, partOf, type Repository, repositoryName } from './repository.ts'

/** What is left on a disk, for everything else. */
const SPARE = 2 ** 26

interface FetchedOptions {
  hub: Hub
  repository: Repository
  folder: string
  options: PullOptions
}

export class Fetched {
  readonly folder: string
  private readonly setting: FetchedOptions
  private readonly manifest: Manifest
  private readonly downloads = new Map<string, Download>()
  private readonly kept = new Map<string, HubFile>()
  private readonly opened: ByteSource[] = []
  private total: number | undefined
  /** What this program was the first to say of: a model that is to come. */
  private begun: Pick<PulledModel, 'file'> | undefined

  private constructor(setting: FetchedOptions, manifest: Manifest) {
    this.folder = setting.folder
    this.setting = setting
    this.manifest = manifest
  }

  static async open(setting: FetchedOptions): Promise<Fetched> {
    const { id, revision } = setting.repository
    const { href } = setting.hub.endpoint
    const manifest = (await readManifest(setting.folder)) ?? { id, revision, endpoint: href, models: [] }
    return new Fetched(setting, { ...manifest, endpoint: href })
  }

  /** The bytes of a file, which is fetched as far as it is read. Whoever reads does not close it. */
  async source(file: HubFile): Promise<ByteSource> {
    if (!(await this.isThere(file))) return this.download(file)
    const source = await openFile(join(this.folder, file.path))
    this.opened.push(source)
    return source
  }

  /** Where all of a file lies, checked: it may be a part that is yet to get its name. */
  async whole(file: HubFile): Promise<string> {
    const path = join(this.folder, file.path)
    if (await this.isThere(file)) return path
    const download = await this.download(file)
    await download.finish()
    return partOf(path)
  }

  /** Says what is to come: from here on `gta models` and offline mode know what is missing. */
  async begin(model: Pick<PulledModel, 'file' | 'files' | 'type'>): Promise<void> {
    if (!this.manifest.models.some(({ file, pulled }) => file === model.file && pulled === null)) this.begun = model
    await this.write({ ...model, commit: null, pulled: null })
  }

  /** Fetches what is missing, puts all of it into place, and says so. */
  async finish(model: Pick<PulledModel, 'file' | 'files' | 'type'>): Promise<Pulled> {
    const { files } = model
    await this.expectRoom(files)
    await this.write({ ...model, commit: null, pulled: null })
    this.total = files.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const file of files) await this.whole(file)
    await this.closeKept()
    const downloads = files.map(({ path }) => this.downloads.get(path)).filter((download) => download !== undefined)
    const commit = downloads.find((download) => download.commit !== undefined)?.commit ?? null
    await this.replace(model, commit)
    const path = model.file === null ? this.folder : join(this.folder, model.file)
    return {
      name: repositoryName(this.setting.repository, model.file),
      path,
      type: model.type,
      bytes: this.total,
      downloaded: downloads.reduce((sum, { fetched }) => sum + fetched, 0),
    }
  }

  /** Ends all connections. Parts stay, unless the model was refused before its weights were fetched: they are of no use. */
  async close(isRefused: boolean): Promise<void> {
    await this.closeKept()
    const downloads = [...this.downloads.values()]
    const isVain = this.total === undefined && (isRefused || downloads.every(({ received }) => received === 0))
    for (const [path, download] of this.downloads) {
      const { received, fetched } = download
      await (received === 0 || (isVain && received === fetched) ? download.discard() : download.close())
      await removeEmptyParents(this.folder, path)
    }
    const { begun } = this
    if (!isVain || !begun) return
    this.manifest.models = this.manifest.models.filter(({ file, pulled }) => file !== begun.file || pulled !== null)
    if (this.manifest.models.length > 0) await writeManifest(this.folder, this.manifest)
    else await rm(join(this.folder, MANIFEST), { force: true })
  }

  private async closeKept(): Promise<void> {
    for (const source of this.opened.splice(0)) await source.close()
  }

  private async download(file: HubFile): Promise<Download> {
    const known = this.downloads.get(file.path)
    if (known) return known
    const { hub, repository, options } = this.setting
    const download = await Download.open({
      hub,
      repository,
      file,
      target: join(this.folder, file.path),
      onBytes: () => this.tell(),
      onNotice: options.onNotice,
    })
    this.downloads.set(file.path, download)
    return download
  }

  private tell(): void {
    const { total } = this
    if (total === undefined) return
    let done = 0
    for (const { bytes } of this.kept.values()) done += bytes
    for (const { received } of this.downloads.values()) done += received
    this.setting.options.onProgress?.({ done, total })
  }

  /** Is this very file in its place? One that no manifest tells of is read, and counts if it has the right bytes. */
  private async isThere(file: HubFile): Promise<boolean> {
    if (this.kept.has(file.path)) return true
    const path = join(this.folder, file.path)
    const found = await stat(path).catch(() => undefined)
    if (!found?.isFile() || found.size !== file.bytes) return false
    const isTold = this.manifest.models.some(
      ({ pulled, files }) => pulled !== null && files.some((one) => one.path === file.path && one.hash === file.hash),
    )
    if (!isTold && (await hashOf(path, file)) !== file.hash) return false
    this.kept.set(file.path, file)
    return true
  }

  private async expectRoom(files: HubFile[]): Promise<void> {
    let needed = SPARE
    for (const file of files)
      if (!(await this.isThere(file))) needed += file.bytes - (await this.download(file)).received
    const room = await roomFor(this.folder)
    if (needed > room && needed > SPARE)
      throw errors.tooLarge(
        `what is to be downloaded of "${this.setting.repository.id}", with ${SPARE / 2 ** 20} MiB to spare,`,
        needed,
        room,
        `that is what the disk of "${this.folder}" has free: make room (gta rm removes models), or set XDG_CACHE_HOME to another disk`,
      )
  }

  /** Parts get their names. If that is ended in the middle, no whole model is told of, and the next pull goes on. */
  private async replace(model: Pick<PulledModel, 'file' | 'files' | 'type'>, commit: string | null): Promise<void> {
    const isSame = (other: PulledModel) => other.file === model.file
    const older = this.manifest.models.filter((other) => isSame(other) && other.pulled !== null)
    const isNew = model.files.some(({ path }) => this.downloads.has(path))
    if (isNew) await this.write({ ...model, commit: null, pulled: null }, isSame)
    for (const { path } of model.files) {
      if (!this.downloads.has(path)) continue
      const target = join(this.folder, path)
      await rename(partOf(target), target).catch((cause) => {
        throw errors.writeFailed(target, cause)
      })
      await rm(noteOf(target), { force: true })
    }
    const [before] = older
    const pulled = (isNew ? undefined : before?.pulled) ?? new Date().toISOString()
    await this.write({ ...model, commit: commit ?? before?.commit ?? null, pulled }, isSame)
    await removeUnused(this.folder, older, this.manifest.models)
  }

  /** Takes a model into the manifest, in place of an unfinished one, or of those that `replaced` says. */
  private async write(model: PulledModel, replaced?: (other: PulledModel) => boolean): Promise<void> {
    const isReplaced = replaced ?? ((other) => other.file === model.file && other.pulled === null)
    this.manifest.models = [...this.manifest.models.filter((other) => !isReplaced(other)), model]
    await writeManifest(this.folder, this.manifest)
  }
}

/** Removes files and parts of models that none of the others has. */
export async function removeUnused(folder: string, models: PulledModel[], others: PulledModel[]): Promise<void> {
  const used = new Set(others.flatMap(({ files }) => files.map(({ path }) => path)))
  for (const { path } of models.flatMap(({ files }) => files)) {
    if (used.has(path)) continue
    await rm(join(folder, path), { force: true })
    await removePart(join(folder, path))
    await removeEmptyParents(folder, path)
  }
}

/** Folders between a folder and a file in it. */
async function removeEmptyParents(folder: string, path: string): Promise<void> {
  for (let at = dirname(path); at !== '.'; at = dirname(at)) await rmdir(join(folder, at)).catch(() => undefined)
}

/** Bytes that the disk of a folder has for us. */
export async function roomFor(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

function hashOf(path: string, { hash: expected, bytes }: HubFile): Promise<string> {
  const hash = expected.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${bytes}\0`)
  return new Promise((resolve, reject) => {
    createReadStream(path)
      .on('data', (chunk) => hash.update(chunk))
      .on('error', (cause) => reject(errors.unreadable(path, cause)))
      .on('end', () => resolve(hash.digest('hex')))
  })
}
