/** What was measured once on a machine and need not be again: small JSON files in the user's cache folder. */
import { randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'

/** Entries of a file. */
const MOST_ENTRIES = 100
/** A file larger than this is not ours. */
const MOST_BYTES = 100_000

/** The folder for what can be lost. */
export function cacheDirectory(): string {
  // A relative path would be one in whatever folder the program runs in: the XDG rules ignore it.
  const [cache] = [process.env.XDG_CACHE_HOME, join(homedir(), '.cache'), tmpdir()].filter(
    (path) => path && isAbsolute(path),
  )
  return join(cache as string, 'gta-edge')
}

/** Where a file of that name is; deleting it makes us measure again. */
export function cacheFile(name: string): string {
  return join(cacheDirectory(), name)
}

/** All entries by their keys; none if the file cannot be used. Values are whatever stands there: check them. */
export async function readEntries(file: string): Promise<Record<string, unknown>> {
  try {
    // Whatever else stands there, a pipe that nobody writes to among it, is nothing to wait for.
    const found = await stat(file)
    if (!found.isFile() || found.size > MOST_BYTES) return {}
    const entries = JSON.parse(await readFile(file, 'utf8'))
    return typeof entries === 'object' && entries !== null && !Array.isArray(entries) ? entries : {}
  } catch {
    return {}
  }
}

/** Best effort: a home directory that cannot be written costs another measurement, nothing more. */
export async function writeEntry(file: string, key: string, value: unknown): Promise<void> {
  const temporary = `${file}.${randomUUID().slice(0, 8)}`
  try {
    const others = Object.entries(await readEntries(file)).filter(([name]) => name !== key)
    const entries = Object.fromEntries([...others.slice(1 - MOST_ENTRIES), [key, value]])
    // Not { recursive: true }: Node tries for ever where the system says that there is no such place, as in /proc.
    for (const folder of [dirname(dirname(file)), dirname(file)]) await mkdir(folder).catch(() => undefined)
    await writeFile(temporary, `${JSON.stringify(entries, undefined, 2)}\n`)
    await rename(temporary, file)
  } catch {
    await rm(temporary, { force: true }).catch(() => undefined)
  }
}

/** Best effort too. */
export async function removeEntries(file: string): Promise<void> {
  await rm(file, { force: true }).catch(() => undefined)
}
