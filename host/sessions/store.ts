/**
 * Sessions by name in one directory, for servers and apps, where names come from strangers. A name is not a path: it
 * cannot leave the directory, hide in it, or be one thing here and another on the next system.
 */
import { lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { show } from '../../models/index.ts'
import { errors, isMissing } from '../errors.ts'

const SUFFIX = '.session'

export interface SessionEntry {
  name: string
  /** Size of the file. */
  bytes: number
  modified: Date
  /** From its state; undefined if it has none, or the file is damaged. */
  tokens: number | undefined
}

export class SessionStore {
  readonly directory: string

  /** The directory must exist before something is saved to it. */
  constructor(directory: string) {
    this.directory = directory
  }

  /** Where the session of this name is, or would be. Throws GtaError BAD_OPTION with the rule that a name breaks. */
  async pathOf(name: string): Promise<string> {
    await checkName(name)
    const path = join(this.directory, name + SUFFIX)
    const found = await lstat(path).catch((error) => {
      if (isMissing(error)) return undefined
      throw errors.unreadable(path, error)
    })
    if (found && !found.isFile())
      throw (await sessionErrors()).badSessionName('be that of a file, not of a link or a folder', show(name))
    return path
  }

  /** All sessions, by name. Files that others put there are left out. */
  async list(): Promise<SessionEntry[]> {
    const files = await readdir(this.directory, { withFileTypes: true }).catch((error) => {
      if (isMissing(error)) return []
      throw errors.unreadable(this.directory, error)
    })
    const names = files
      .filter((file) => file.isFile() && file.name.endsWith(SUFFIX))
      .map((file) => file.name.slice(0, -SUFFIX.length))
      .filter((name) => brokenRule(name) === undefined)
    const entries: SessionEntry[] = []
    for (const name of names.sort()) {
      const path = join(this.directory, name + SUFFIX)
      // Somebody may remove it while we look.
      const found = await lstat(path).catch(() => undefined)
      if (found) entries.push({ name, bytes: found.size, modified: found.mtime, tokens: await tokensOf(path) })
    }
    return entries
  }

  /** Throws GtaError NOT_FOUND if there is none, BAD_OPTION for a bad name, WRITE_FAILED if it cannot be removed. */
  async remove(name: string): Promise<void> {
    const path = await this.pathOf(name)
    await unlink(path).catch(async (error) => {
      throw isMissing(error) ? errors.noFile(path) : (await sessionErrors()).notRemoved(path, error)
    })
  }
}

async function tokensOf(path: string): Promise<number | undefined> {
  const { openSession } = await import('./read.ts')
  try {
    const session = await openSession(path)
    const { length, next } = session.state
    await session.close()
    // The last one that was generated is not in the cache yet.
    return Number.isSafeInteger(length) ? (length as number) + (next === undefined ? 0 : 1) : undefined
  } catch {
    return undefined
  }
}

/** A program that only loads a model reads neither these nor how sessions are read. */
const sessionErrors = async () => (await import('./errors.ts')).sessionErrors

async function checkName(name: string): Promise<void> {
  const rule = brokenRule(name)
  if (rule !== undefined) throw (await sessionErrors()).badSessionName(rule, show(name))
}

/** What a name must and this one does not. */
function brokenRule(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'be a text'
  if (name.length < 1 || name.length > 100) return 'have 1 to 100 characters'
  if (!/^[A-Za-z0-9._-]+$/.test(name)) return 'consist of the letters A–Z and a–z, digits, ".", "_" and "-"'
  if (name.startsWith('.') || name.startsWith('-')) return 'not begin with "." or "-"'
  if (name.endsWith('.')) return 'not end with "."'
  if (/^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/i.test(name)) return 'not be one that Windows keeps for devices'
  return undefined
}
