/** Errors of files that hold conversations. */
import { GtaError } from '../errors.ts'

export const sessionErrors = {
  otherSessionVersion: (path: string, found: unknown, expected: number) =>
    new GtaError(
      'OTHER_VERSION',
      `"${path}" must be a session of format version ${expected}, found version ${found}: use the version of gta that wrote it, or begin a new one`,
    ),
  otherModel: (path: string, what: string, expected: unknown, found: unknown) =>
    new GtaError(
      'OTHER_MODEL',
      `${what} of the session "${path}" must be ${expected}, found ${found}: restore it with the model that it was saved with, or begin a new one`,
    ),
  saveFailed: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" cannot be saved: ${cause instanceof Error ? cause.message : cause}. What was there before is unchanged: ${adviceFor(cause)}`,
      { cause },
    ),
  saveUnconfirmed: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" was saved, but the disk must confirm its directory, found ${cause instanceof Error ? cause.message : cause}: save it again, best on another disk`,
      { cause },
    ),
  notRemoved: (path: string, cause: unknown) =>
    new GtaError(
      'WRITE_FAILED',
      `"${path}" cannot be removed: ${cause instanceof Error ? cause.message : cause}. Check who may write to its directory`,
      { cause },
    ),
  badSessionName: (rule: string, found: string) =>
    new GtaError('BAD_OPTION', `the name of a session must ${rule}, found ${found}: choose another name`),
}

/** What to do where a session cannot be written. */
function adviceFor(cause: unknown): string {
  const code = (cause as NodeJS.ErrnoException)?.code ?? ''
  if (['ENOSPC', 'EDQUOT', 'EFBIG'].includes(code)) return 'free some space and save again'
  if (['EACCES', 'EPERM', 'EROFS'].includes(code)) return 'choose a path that may be written to'
  return 'save again, or choose another path'
}
