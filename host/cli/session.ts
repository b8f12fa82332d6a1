/** Files of sessions, before they are opened or written. */

import { access, constants, lstat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errors } from '../errors.ts'
import { sessionErrors } from '../sessions/errors.ts'
import type { Arguments } from './options.ts'

/** The path of --session, and the same path if there is a session to go on with; nothing is opened yet. */
export async function readSession(args: Arguments): Promise<{ session?: string; continued?: string }> {
  const session = args.text('session')
  if (session === undefined) return {}
  if (session === '') throw errors.badOption('--session', 'the path of a file', session)
  if (await isThere(session)) return { session, continued: session }
  await expectWritable(session)
  return { session }
}

/** Any file, or a link to nothing: whatever is there is opened as a session, and refused if it is none. */
async function isThere(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    (error) => {
      if (error.code === 'ENOENT') return false
      throw errors.unreadable(path, error)
    },
  )
}

/** What cannot be saved at the end is told before anything is generated. */
async function expectWritable(path: string): Promise<void> {
  await access(dirname(path), constants.W_OK).catch((cause) => {
    throw sessionErrors.saveFailed(path, cause)
  })
}
