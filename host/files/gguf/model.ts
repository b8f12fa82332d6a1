/** A GGUF file as a checkpoint: config, tokenizer and weights under the names and in the order that Hugging Face has them. */
import { errors } from '../../errors.ts'
import { openFile } from '../files.ts'
import type { ModelFiles } from '../source.ts'
import type { TensorStore } from '../store.ts'
import { configOf } from './config.ts'
import { readGguf } from './file.ts'
import { tokenizerOf } from './tokenizer.ts'
import { storeOf } from './weights.ts'

/** Throws BAD_FILE, BAD_TENSOR, or NOT_A_MODEL for what is not read. The caller closes the store. */
export async function openGguf(path: string): Promise<{ files: ModelFiles; store: TensorStore }> {
  const file = await openFile(path)
  try {
    const gguf = await readGguf(path, file)
    if (gguf.tensors.size === 0)
      throw errors.otherKind(path, 'a model', 'a GGUF file without tensors', 'it may be a vocabulary alone, get the whole model')
    const { config, layout } = configOf(gguf)
    return { files: { config, ...tokenizerOf(gguf) }, store: storeOf(gguf, layout) }
  } catch (error) {
    await file.close()
    throw error
  }
}
