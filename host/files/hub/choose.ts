/** Which files of a repository are the model. */
import { megabytes } from '../../errors.ts'
import { hubErrors } from './errors.ts'
import type { HubFile } from './listing.ts'
import { type Repository, repositoryName, typeInName } from './repository.ts'

export type Choice =
  | { kind: 'file'; file: HubFile }
  /** A Hugging Face directory: what stands beside the weights, and these, or the index that names them. */
  | { kind: 'checkpoint'; config: HubFile; others: HubFile[]; weights: HubFile | undefined; index: HubFile | undefined }
  /** Several whole files: somebody must say which. */
  | { kind: 'several'; files: HubFile[] }

const INDEX = 'model.safetensors.index.json'
const WEIGHTS = 'model.safetensors'
/** Beside the weights. */
const beside =
  /^(?:generation_config\.json|tokenizer\.json|tokenizer_config\.json|tokenizer\.model|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|chat_template[\w.-]*\.(?:jinja|json)|additional_chat_templates\/[\w.-]+\.jinja|README\.md)$/
const pickle = /\.(?:bin|pt|pth|ckpt|pkl)$/i
const model = /\.(?:gguf|gta)$/i
/** GGUF files that are no model by themselves: parts for pictures, importance matrices, drafts. */
const notAlone = /(?:^|\/)[^/]*(?:mmproj|imatrix)[^/]*$|(?:^|\/)(?:mtp|eagle3|dflash)-[^/]*$/i
const split = /-\d{5}-of-\d{5}\.gguf$/i
/** Types that are taken without a question, where one of them is the only one. */
const usual = ['Q8_0', 'Q4_K_M']

/** Throws NOT_FOUND or NOT_A_MODEL where nothing can be meant. */
export function choose(repository: Repository, files: HubFile[]): Choice {
  const name = repositoryName(repository)
  if (repository.file !== undefined) return chooseNamed(repository.file, name, files)
  const checkpoint = findCheckpoint(files)
  if (checkpoint) return checkpoint
  const found = files.filter(({ path }) => model.test(path) && !notAlone.test(path))
  const whole = found.filter(({ path }) => !split.test(path))
  const [first] = whole
  if (first && whole.length === 1) return { kind: 'file', file: first }
  const known = whole.filter(({ path }) => usual.includes(typeInName(path)))
  if (known.length === 1) return { kind: 'file', file: known[0] as HubFile }
  if (first) return { kind: 'several', files: whole }
  if (found[0]) throw hubErrors.split(found[0].path)
  const unsafe = files.find(({ path }) => pickle.test(path))
  throw unsafe ? hubErrors.pickles(name, unsafe.path) : hubErrors.noWeights(name)
}

function chooseNamed(wanted: string, name: string, files: HubFile[]): Choice {
  const exact = files.find(({ path }) => path === wanted)
  if (!exact && pickle.test(wanted)) throw hubErrors.pickles(name, wanted)
  const alone = files.filter(({ path }) => !notAlone.test(path))
  const typed = alone.filter(({ path }) => typeInName(path) === wanted.toUpperCase())
  // UD-Q4_K_XL of NAME-UD-Q4_K_XL.gguf.
  const ending = `-${wanted}.gguf`.toUpperCase()
  const ofType = typed.length > 0 ? typed : alone.filter(({ path }) => path.toUpperCase().endsWith(ending))
  const [file] = exact ? [exact] : ofType
  const known = alone.filter(({ path }) => model.test(path) && !split.test(path)).map(({ path }) => path)
  if (!file) {
    const part = files.find(
      ({ path }) => split.test(path) && path.replace(split, '').toUpperCase().endsWith(wanted.toUpperCase()),
    )
    throw part ? hubErrors.split(part.path) : hubErrors.noFile(name, wanted, known.slice(0, 40))
  }
  if (!exact && ofType.length > 1) return { kind: 'several', files: ofType }
  if (pickle.test(file.path)) throw hubErrors.pickles(name, file.path)
  if (!model.test(file.path)) throw hubErrors.noFile(name, wanted, known.slice(0, 40))
  if (split.test(file.path)) throw hubErrors.split(file.path)
  return { kind: 'file', file }
}

function findCheckpoint(files: HubFile[]): Choice | undefined {
  const at = (path: string) => files.find((file) => file.path === path)
  const [config, weights] = [at('config.json'), at(WEIGHTS)]
  // A single file counts more than an index, as where they are read.
  const index = weights ? undefined : at(INDEX)
  if (!config || !(weights ?? index)) return undefined
  return { kind: 'checkpoint', config, others: files.filter(({ path }) => beside.test(path)), weights, index }
}

/** The files of weights that an index names, each once. */
export function shardsOf(repository: Repository, index: unknown, files: HubFile[]): HubFile[] {
  const map = (index as { weight_map?: unknown } | null)?.weight_map
  const name = repositoryName(repository)
  const isMap = typeof map === 'object' && map !== null && !Array.isArray(map)
  if (!isMap) throw hubErrors.badListing(name, `"weight_map" of "${INDEX}"`, 'an object of file names', typeof map)
  const shards = [...new Set(Object.values(map))].map((path) => {
    const file = files.find((candidate) => candidate.path === path)
    const isShard = typeof path === 'string' && !path.includes('/') && path.endsWith('.safetensors')
    if (!file || !isShard)
      throw hubErrors.badListing(name, `a name in "${INDEX}"`, 'a .safetensors file beside it', path)
    return file
  })
  if (shards.length === 0) throw hubErrors.noWeights(name)
  return shards
}

/** 'NAME  1.1 GB', the smallest first. */
export function linesOf(files: HubFile[], room: number): string[] {
  const sorted = [...files].sort((a, b) => a.bytes - b.bytes)
  const shown = sorted.slice(0, 100)
  const width = Math.max(...shown.map(({ path }) => path.length))
  return shown.map(
    ({ path, bytes }) =>
      `  ${path.padEnd(width)}  ${megabytes(bytes).padStart(8)}${bytes > room ? ', more than the disk has room for' : ''}`,
  )
}
