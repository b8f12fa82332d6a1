/** Converting a Hugging Face directory, or a GGUF file, to a packed file or a GGUF file. */
import { readdir, stat } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { cost, type MatrixType, type ModelDescription, type PackingType, type Plan } from '../../models/index.ts'
import { type Fit, fit } from '../engine/fit.ts'
import { checkSetting, errors } from '../errors.ts'
import { defaultCache, defaultContext, settings } from '../settings.ts'
import { isCheckpoint, openCheckpoint } from './checkpoint.ts'
import { type GgufType, ggufTypes } from './gguf/write/blocks.ts'
import { locateModel } from './locate.ts'
import { writePacked } from './pack.ts'
import { openTokenizer } from './tokenizer.ts'

export interface ConvertOptions {
  /** Default q8, or q8_0 for a path that ends in .gguf. */
  type?: PackingType | GgufType
  /** Replaces a file that is there already; without it, it is refused. */
  force?: boolean
  signal?: AbortSignal
  onProgress?: (progress: { done: number; total: number }) => void
  /** Told before any weights are read: can this machine run the result, with the context that it will get? */
  onFit?: (fit: Fit) => void
}

export interface Conversion {
  path: string
  type: PackingType | GgufType
  bytes: number
  parameters: number
  /** Without one, the packed model takes token ids only. */
  hasTokenizer: boolean
  /** Tensors of the checkpoint that the model does not use. */
  unused: string[]
  /** What quantisation did to each matrix: root mean square of its error over that of its weights. */
  errors: { tensor: string; type: MatrixType; relative: number }[]
  /** What a GGUF file has no word for, and what llama.cpp does otherwise with this model. */
  left: string[]
}

/** Is it a GGUF file that is to be written? */
export const isGgufPath = (path: string) => path.toLowerCase().endsWith('.gguf')

/**
 * Converts the model at the path `name`, or the one that was pulled under it, to the packed file `path`, or to a GGUF file if its
 * name ends in .gguf, complete or not at all. Throws BAD_OPTION if there is a file of that name, unless `force`.
 */
export async function convert(name: string, path: string, options: ConvertOptions = {}): Promise<Conversion> {
  const directory = await locateModel(name)
  if (!(await isCheckpoint(directory)))
    throw errors.otherKind(
      directory,
      'a Hugging Face directory or a GGUF file to convert',
      'another file',
      'a packed file is made from one of these, with another --type',
    )
  await checkTarget(directory, path)
  const expectFree = async () => {
    if (!options.force && (await stat(path).catch(() => undefined)))
      throw errors.exists(path, 'give another name, or replace it with --force (force)')
  }
  await expectFree()
  return isGgufPath(path) ? exportTo(directory, path, options, expectFree) : pack(directory, path, options, expectFree)
}

async function exportTo(
  source: string,
  path: string,
  { type = 'q8_0', signal, onProgress }: ConvertOptions,
  check: () => Promise<void>,
): Promise<Conversion> {
  const found = ggufTypes.find((one) => one === type)
  if (!found) throw errors.badOption('--type (type) for a .gguf file', `one of ${ggufTypes.join(', ')}`, type)
  const { exportGguf } = await import('./gguf/write/export.ts')
  return { ...(await exportGguf(source, path, { type: found, signal, onProgress }, check)), errors: [] }
}

async function pack(
  directory: string,
  path: string,
  options: ConvertOptions,
  check: () => Promise<void>,
): Promise<Conversion> {
  checkSetting('type', options.type)
  const type = (options.type as PackingType | undefined) ?? settings.type.default
  const { checkpoint, plan } = await openCheckpoint(directory, type)
  try {
    // A tokenizer that cannot be used is better known before the weights are converted.
    await openTokenizer(directory, checkpoint.files, () => import('./tokenizer-tables.ts'))
    options.onFit?.(await fitHere(checkpoint.model, plan))
    const found: Conversion['errors'] = []
    const onError = (error: Conversion['errors'][number]) => found.push(error)
    const { bytes } = await writePacked(path, checkpoint, plan, { ...options, onError }, check)
    const { parameters } = cost(checkpoint.model)
    const hasTokenizer = checkpoint.files.tokenizer !== undefined
    return { path, type, bytes, parameters, hasTokenizer, unused: checkpoint.unused, errors: found, left: [] }
  } finally {
    await checkpoint.close()
  }
}

function fitHere(model: ModelDescription, plan: Plan): Promise<Fit> {
  const context = defaultContext(model.spec.maxContext)
  const cache = defaultCache(plan.type)
  return fit(model, plan, { memoryBytes: totalmem(), context, conversations: 1, cache })
}

/** What would fail at the end of a long conversion fails before it; and the source is never the target. */
async function checkTarget(directory: string, path: string): Promise<void> {
  const parent = await stat(dirname(path)).catch(() => undefined)
  if (!parent?.isDirectory()) throw errors.writeFailed(path, `"${dirname(path)}" must be a directory, found none`)
  const target = await stat(path).catch(() => undefined)
  if (!target) return
  if (!target.isFile()) throw errors.writeFailed(path, 'it must be a file, found something else')
  const names = (await stat(directory)).isDirectory() ? await readdir(directory) : ['']
  for (const name of names) {
    const source = await stat(join(directory, name)).catch(() => undefined)
    if (source?.ino === target.ino && source.dev === target.dev)
      throw errors.writeFailed(path, 'it must not be a file of the model that is converted, found the same file')
  }
}
