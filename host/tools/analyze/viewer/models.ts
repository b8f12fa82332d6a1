/** Models that the viewer offers: those that were named, and all of the papers. */
import { configs, describe } from '../../../../models/index.ts'
import { isCheckpoint, readConfig } from '../../../files/checkpoint.ts'
import { openPacked } from '../../../files/files.ts'
import { readJson } from '../../../files/json.ts'
import { locateModel } from '../../../files/locate.ts'

/** The config.json of each path: a file, a directory, a packed model, or the name of a pulled one. Throws what keeps one from being a model. */
export async function readConfigs(paths: readonly string[]): Promise<unknown[]> {
  const found = await Promise.all(
    paths.map(async (name) => {
      const path = await locateModel(name)
      if (await isCheckpoint(path)) return (await readConfig(path)).config
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
