/** Models that the viewer offers: those that were named, and all of the papers. */
import { stat } from 'node:fs/promises'
import { configs, describe } from '../../../../models/index.ts'
import { readJson, readModelFiles } from '../../../files/checkpoint.ts'
import { openPacked, statModel } from '../../../files/files.ts'

/** The config.json of each path: a file, a directory, or a packed model. Throws what keeps one from being a model. */
export async function readConfigs(paths: readonly string[]): Promise<unknown[]> {
  const found = await Promise.all(
    paths.map(async (path) => {
      await statModel(path)
      if ((await stat(path)).isDirectory()) return (await readModelFiles(path)).config
      if (path.endsWith('.json')) return readJson(path)
      const { files, close } = await openPacked(path)
      await close()
      return files.config
    }),
  )
  for (const config of found) describe(config)
  return found
}

/** Configs of the papers whose names are not taken. */
export function viewerModels(taken: readonly string[] = []): Record<string, unknown> {
  return Object.fromEntries(Object.entries(configs).filter(([name]) => !taken.includes(name)))
}
