import { stat } from 'node:fs/promises'
import { errors } from '../errors.ts'

/**
 * The path of a model: what lies there, or what "gta pull" brought under that name. Throws NOT_FOUND. What looks for pulled models is
 * read only where a path leads nowhere.
 */
export async function locateModel(name: string): Promise<string> {
  if (typeof name !== 'string' || name === '') throw errors.badOption('the path', 'not empty', name)
  if (await stat(name).catch(() => undefined)) return name
  const { findPulled } = await import('./hub/find.ts')
  const found = await findPulled(name)
  if (found === undefined) throw (await import('./missing.ts')).noModel(name)
  return found
}
