/** A GGUF file as a checkpoint: config, tokenizer and weights under the names and in the order that Hugging Face has them. */
import { errors } from '../../errors.ts'
import { type About, aboutOf } from '../about.ts'
import { openFile } from '../files.ts'
import type { ByteSource, ModelFiles } from '../source.ts'
import type { TensorStore } from '../store.ts'
import { decodeBlocks } from './blocks.ts'
import { configOf, type RopeFactors } from './config.ts'
import { type GgufFile, readGguf } from './file.ts'
import { tokenizerOf } from './tokenizer.ts'
import { storeOf } from './weights.ts'

/** Bytes of a table of rope factors at most. */
const MAX_VECTOR = 2 ** 16

/**
 * Throws BAD_FILE, BAD_TENSOR, or NOT_A_MODEL for what is not read. The caller closes the store. `source`: where its bytes
 * come from, if not from the file at `path`.
 */
export async function openGguf(path: string, source?: ByteSource): Promise<{ files: ModelFiles; store: TensorStore }> {
  const file = source ?? (await openFile(path))
  try {
    const gguf = await readGguf(path, file)
    const parts = Number(gguf.values.get('split.count') ?? 1)
    if (parts > 1)
      throw errors.otherKind(
        path,
        'a whole model',
        `one part of ${parts}`,
        'put them together first: llama-gguf-split --merge',
      )
    if (gguf.tensors.size === 0)
      throw errors.otherKind(
        path,
        'a model',
        'a GGUF file without tensors',
        'it may be a vocabulary alone, get the whole model',
      )
    const { config, layout } = configOf(gguf, await readFactors(gguf))
    return { files: { config, ...tokenizerOf(gguf), about: aboutFile(gguf) }, store: storeOf(gguf, layout) }
  } catch (error) {
    await file.close()
    throw error
  }
}

/** Where a model comes from has been called by several names. */
function aboutFile({ values }: GgufFile): About | undefined {
  const first = (...names: string[]) => names.map((name) => values.get(`general.${name}`)).find((value) => value)
  return aboutOf({
    name: first('name', 'basename'),
    license: first('license', 'license.name', 'license.link'),
    source: first(
      'source.url',
      'source.repo_url',
      'url',
      'repo_url',
      'source.huggingface.repository',
      'base_model.0.repo_url',
    ),
  })
}

async function readFactors(gguf: GgufFile): Promise<RopeFactors> {
  const found: RopeFactors = {}
  for (const name of ['freqs', 'factors_short', 'factors_long'] as const) {
    const factors = await readVector(gguf, `rope_${name}.weight`)
    if (factors) found[name] = factors
  }
  return found
}

/** The numbers of a small tensor; undefined if there is none of that name. */
async function readVector({ file, tensors }: GgufFile, name: string): Promise<Float32Array | undefined> {
  const tensor = tensors.get(name)
  if (!tensor) return undefined
  if (tensor.type.name !== 'F32' || tensor.bytes > MAX_VECTOR)
    throw errors.wrongTensor(name, `at most ${MAX_VECTOR / 4} numbers of type F32`, tensor.type.name)
  const bytes = new Uint8Array(tensor.bytes)
  await file.read(bytes, tensor.begin)
  return decodeBlocks(tensor.type, bytes)
}
