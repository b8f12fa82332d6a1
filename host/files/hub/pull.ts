/**
 * A model from a hub into the cache: the list of its files, the header of its weights, whether it fits in memory and on the
 * disk, and then the rest, each file checked against its hash. What is complete replaces an older version only at the end.
 */
import { totalmem } from 'node:os'
import { describe, longestContext, type ModelDescription, type WeightType } from '../../../models/index.ts'
import { describeFit } from '../../engine/describe-fit.ts'
import { fit } from '../../engine/fit.ts'
import { checkSetting, errors, GtaError } from '../../errors.ts'
import { defaultCache, defaultContext } from '../../settings.ts'
import { checkTensors } from '../checkpoint.ts'
import { readJson } from '../json.ts'
import { type Choice, choose, linesOf, shardsOf } from './choose.ts'
import { hubErrors } from './errors.ts'
import { Fetched, roomFor } from './fetched.ts'
import { pulledOffline } from './find.ts'
import { readHeader, readWeightsHeader, type WeightsHeader } from './header.ts'
import { Hub } from './hub.ts'
import { type HubFile, listFiles } from './listing.ts'
import { lock } from './lock.ts'
import { folderFor, lockOf, removeEmpty } from './models.ts'
import type { Pulled, PullOptions } from './options.ts'
import { parseRepository, type Repository, repositoryName, typeInName } from './repository.ts'

/** Throws GtaError before anything large is fetched if the model cannot run here. What was fetched when it fails stays. */
export async function pull(name: string, options: PullOptions = {}): Promise<Pulled> {
  checkSetting('type', options.type)
  checkSetting('context', options.context)
  const repository = parseRepository(name)
  if (!repository) throw hubErrors.badName(name)
  if (options.offline ?? isOffline()) return pulledOffline(repository)
  const hub = new Hub(options)
  const { files, unsafe } = await listFiles(hub, repository)
  if (unsafe > 0)
    options.onNotice?.(`${unsafe} files of "${repository.id}" are left out: their names are no file names here`)
  const choice = choose(repository, files)
  const folder = folderFor(repository)
  const release = await lock(lockOf(folder), repositoryName(repository))
  try {
    const fetched = await Fetched.open({ hub, repository, folder, options })
    return await pullChoice(choice, files, fetched, repository, options)
  } finally {
    await release()
    await removeEmpty(folder)
  }
}

/** As huggingface_hub reads it. */
export function isOffline(): boolean {
  return /^(?:1|on|yes|true)$/i.test(process.env.HF_HUB_OFFLINE ?? '')
}

async function pullChoice(
  choice: Choice,
  files: HubFile[],
  fetched: Fetched,
  repository: Repository,
  options: PullOptions,
): Promise<Pulled> {
  try {
    if (choice.kind === 'checkpoint') return await pullCheckpoint(choice, files, fetched, repository, options)
    const file = choice.kind === 'file' ? choice.file : await chooseByFit(choice.files, fetched, repository, options)
    await fetched.begin({ file: file.path, files: [file], type: null })
    const { model, packed, type } = await readHeader(file.path, await fetched.source(file))
    await expectFit(repositoryName(repository, file.path), model, packed, options)
    return await fetched.finish({ file: file.path, files: [file], type })
  } catch (error) {
    const { code } = error as Partial<GtaError>
    // What broke off may be gone on with.
    await fetched.close(error instanceof GtaError && code !== 'FETCH_FAILED' && code !== 'WRITE_FAILED')
    throw error
  }
}

/** The small files that say what it is, and then the rest. */
async function pullCheckpoint(
  { config, others, weights, index }: Choice & { kind: 'checkpoint' },
  files: HubFile[],
  fetched: Fetched,
  repository: Repository,
  options: PullOptions,
): Promise<Pulled> {
  for (const { path, bytes } of [config, ...others, ...(index ? [index] : [])])
    if (bytes > MAX_BESIDE)
      throw hubErrors.badListing(repository.id, `the size of "${path}"`, `at most ${MAX_BESIDE}`, bytes)
  const listed = [config, ...others, ...(index ? [index] : []), ...(weights ? [weights] : [])]
  await fetched.begin({ file: null, files: listed, type: null })
  const json = await readJson(await fetched.whole(config))
  let header: WeightsHeader = { tensors: new Map(), type: null }
  let shards = weights ? [weights] : []
  if (weights) header = await readWeightsHeader(weights.path, await fetched.source(weights))
  else if (index) {
    const map = await readJson(await fetched.whole(index))
    shards = shardsOf(repository, map, files)
    const names = Object.keys((map as { weight_map: object }).weight_map)
    header = { tensors: new Map(names.map((name) => [name, undefined])), type: null }
  }
  const model = describe(json, header.tensors.keys())
  checkTensors(repositoryName(repository), model, header.tensors)
  if (!others.some(({ path }) => /^(?:tokenizer\.json|tokenizer\.model|vocab\.json)$/.test(path)))
    options.onNotice?.(`"${repository.id}" has no tokenizer that is read here: the model takes token ids only`)
  await expectFit(repositoryName(repository), model, undefined, options)
  const all = [config, ...others, ...(index ? [index] : []), ...shards]
  return fetched.finish({ file: null, files: all, type: header.type ?? storedType(json) })
}

/** What stands beside weights is read at once. */
const MAX_BESIDE = 256e6

/** The type that a config says its weights have: 'bfloat16'. */
function storedType(config: unknown): string | null {
  const { dtype, torch_dtype: older = dtype } = (config ?? {}) as Record<string, unknown>
  const [, letter, bits] = typeof older === 'string' ? (/^(b?float)(16|32)$/.exec(older) ?? []) : []
  return letter === undefined ? null : `${letter === 'bfloat' ? 'BF' : 'F'}${bits}`
}

/** Refuses what the machine cannot hold with any context. */
async function expectFit(
  name: string,
  model: ModelDescription,
  packed: WeightType | undefined,
  options: PullOptions,
): Promise<void> {
  const { fits, lines } = await fitsHere(model, packed, options)
  options.onFit?.(fits, lines)
  if (fits.every(({ largestContext }) => largestContext === 0) && !options.force)
    throw hubErrors.doesNotFit(name, lines)
}

async function fitsHere(model: ModelDescription, packed: WeightType | undefined, options: PullOptions) {
  const { memoryBytes = totalmem(), type: wanted } = options
  if (packed && wanted && packed !== wanted) throw errors.badOption('--type', `${packed}, the type of the file`, wanted)
  const { maxContext } = model.spec
  const context = options.context ?? defaultContext(maxContext)
  const types = wanted ? [wanted] : packed ? [packed] : (['q8', 'q4'] as const)
  const fits = await Promise.all(
    types.map((type) => fit(model, type, { memoryBytes, context, conversations: 1, cache: defaultCache(type) })),
  )
  return { fits, lines: fits.map((found) => describeFit(found, context, longestContext(model.spec))).join('') }
}

/** The one that is sensible by what fits, if there is one; else throws BAD_OPTION with all of them. */
async function chooseByFit(
  files: HubFile[],
  fetched: Fetched,
  repository: Repository,
  options: PullOptions,
): Promise<HubFile> {
  const [smallest] = [...files].sort((a, b) => a.bytes - b.bytes) as [HubFile]
  const { model, packed } = await readHeader(smallest.path, await fetched.source(smallest))
  const { fits, lines } = await fitsHere(model, packed, options)
  const fourBits = files.filter(({ path }) => typeInName(path) === 'Q4_K_M')
  const isOnlyFour = fits.length === 2 && !fits[0]?.fits && fits[1]?.fits
  if (repository.file === undefined && isOnlyFour && fourBits[0] && fourBits.length === 1) return fourBits[0]
  throw hubErrors.severalFiles(repositoryName(repository), files.length, [
    ...linesOf(files, await roomFor(fetched.folder)),
    `What fits, as the header of ${smallest.path} says:`,
    ...lines.trimEnd().split('\n'),
  ])
}
