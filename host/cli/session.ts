/** Files of sessions, before they are opened or written. */

import { access, constants, lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errors } from '../errors.ts'
import { sessionErrors } from '../sessions/errors.ts'

/** Any file, or a link to nothing: whatever is there is opened as a session, and refused if it is none. */
export async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    (error) => {
      if (error.code === 'ENOENT') return false
      throw errors.unreadable(path, error)
    },
  )
}

/** What cannot be saved at the end is told before anything is generated. */
export async function expectWritable(path: string): Promise<void> {
  await access(dirname(path), constants.W_OK).catch((cause) => {
    throw sessionErrors.saveFailed(path, cause)
  })
}
