/** Models that the viewer offers: those that were named, and all of the papers. */
import { stat } from 'node:fs/promises'
import { configs } from '../../../models/index.ts'
import { readJson, readModelFiles, statModel } from '../../convert/checkpoint.ts'
import { openPacked } from '../../convert/packed.ts'

/** The config.json of each path: a file, a directory, or a packed model. */
export function readConfigs(paths: readonly string[]): Promise<unknown[]> {
  return Promise.all(
    paths.map(async (path) => {
      await statModel(path)
      if ((await stat(path)).isDirectory()) return (await readModelFiles(path)).config
      if (path.endsWith('.json')) return readJson(path)
      const { files, close } = await openPacked(path)
      await close()
      return files.config
    }),
  )
}

/** Configs of the papers whose names are not taken. */
export function viewerModels(taken: readonly string[] = []): Record<string, unknown> {
  return Object.fromEntries(Object.entries(configs).filter(([name]) => !taken.includes(name)))
}
