/** Errors of the models that were pulled. A program that only loads models reads these, and nothing of a hub. */
import { GtaError, megabytes } from '../../errors.ts'

export const cacheErrors = {
  unfinished: (name: string, done: number, total: number) =>
    new GtaError(
      'NOT_FOUND',
      `"${name}" must be whole, found ${megabytes(done)} of ${megabytes(total)}: finish it with gta pull ${name}`,
    ),
  offline: (name: string, missing: string[]) =>
    new GtaError(
      'NOT_FOUND',
      `"${name}" must be in the cache while offline (--offline, HF_HUB_OFFLINE), found missing: ${missing.join(', ')}. Pull it once with a network`,
    ),
  notPulled: (name: string, known: string[]) =>
    new GtaError(
      'NOT_FOUND',
      `"${name}" must be a model that was pulled, found ${known.length > 0 ? known.join(', ') : 'none at all'}: gta models lists them`,
    ),
  severalPulled: (name: string, known: string[]) =>
    new GtaError('BAD_OPTION', `"${name}" must name one model, found ${known.join(', ')}: give one of these`),
  badManifest: (path: string) =>
    new GtaError(
      'BAD_FILE',
      `"${path}" must be what gta pull wrote, found something else: remove the folder that it is in, and pull again`,
    ),
}
