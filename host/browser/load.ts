/** Loading a packed model from a web server, in a worker: as in Node, but for where the bytes come from. */
import { largest } from '../../models/index.ts'
import { checkNames, checkSetting } from '../errors.ts'
import { checkPacked } from '../files/packed.ts'
import { readSafetensors } from '../files/safetensors.ts'
import type { OpenOptions } from '../runtime/api.ts'
import type { Model } from '../runtime/model.ts'
import { openModel } from '../runtime/open.ts'
import type { ModelSource } from '../runtime/source.ts'
import { modelSettings, type Setting } from '../settings.ts'
import { RemoteFile } from './remote-file.ts'

const withoutFiles = ([, setting]: [string, Setting]) => !setting.needsFiles
const openOptions = [
  ...Object.entries<Setting>(modelSettings)
    .filter(withoutFiles)
    .map(([name]) => name),
  'signal',
  'onProgress',
]

/** Weights go straight into the engine's memory as they arrive. Throws GtaError. */
export async function loadRemote(url: string, options: OpenOptions): Promise<Model> {
  checkNames('load()', options, openOptions)
  checkSetting('cache', options.cache)
  const source = await openRemote(url, options)
  try {
    return await openModel(url, source, options)
  } finally {
    await source.close()
  }
}

async function openRemote(url: string, options: OpenOptions): Promise<ModelSource> {
  const file = await RemoteFile.open(url)
  try {
    const opened = await readSafetensors(url, file)
    const { model, files, plan, readWeights, readTokenizer } = await checkPacked(opened)
    const end = largest([...opened.tensors.values()].map(({ begin, bytes }) => begin + bytes))
    return {
      model,
      files,
      plan,
      unused: [],
      load: (weights) => readWeights(weights, options),
      async readTokenizer() {
        const tokenizer = await readTokenizer()
        await file.expectEnd(end)
        return tokenizer
      },
      reopen: () => openRemote(url, {}),
      close: () => file.close(),
    }
  } catch (error) {
    await file.close()
    throw error
  }
}
