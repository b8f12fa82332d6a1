/** One program at a time writes to a folder: a file names it, by link(2), which fails where there is one. */
import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { hubErrors } from './errors.ts'

interface Owner {
  process: number
  /** When it was started, as /proc tells: a number of a process comes again. */
  started: string | null
  host: string
  id: string
}

/** Ids of this program's own. */
const held = new Set<string>()

/** Marks the folder's file `path` as ours; throws BUSY. What is returned takes the mark away. */
export async function lock(path: string, name: string): Promise<() => Promise<void>> {
  const owner = { process: process.pid, started: await startOf(process.pid), host: hostname(), id: randomUUID() }
  const own = `${path}.${owner.id}`
  await writeFile(own, JSON.stringify(owner))
  held.add(owner.id)
  try {
    while (!(await tryLink(own, path))) await removeStale(path, name)
  } catch (error) {
    held.delete(owner.id)
    throw error
  } finally {
    await rm(own, { force: true })
  }
  return async () => {
    await rm(path, { force: true })
    held.delete(owner.id)
  }
}

async function tryLink(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Removes the mark of a program that has ended. */
async function removeStale(path: string, name: string): Promise<void> {
  const found = await readOwner(path)
  if (found === 'gone') return
  if (found === undefined || found.host !== hostname())
    throw hubErrors.locked(name, `a mark of ${found ? `the machine ${found.host}` : 'another program'}`, path)
  if (held.has(found.id) || (await isAlive(found))) throw hubErrors.locked(name, `process ${found.process}`, path)
  // Another program may have done the same, and set its own mark, since this one was read: that one is put back.
  const aside = `${path}.${randomUUID()}`
  await rename(path, aside).catch(() => undefined)
  const moved = await readOwner(aside)
  if (moved !== 'gone' && moved?.id !== found.id) await tryLink(aside, path)
  await rm(aside, { force: true })
}

async function readOwner(path: string): Promise<Owner | undefined | 'gone'> {
  try {
    const owner = JSON.parse(await readFile(path, 'utf8'))
    return Number.isInteger(owner?.process) && owner.process > 0 && typeof owner.host === 'string' ? owner : undefined
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'gone' : undefined
  }
}

async function isAlive({ process: number, started }: Owner): Promise<boolean> {
  try {
    process.kill(number, 0)
  } catch (error) {
    // It is there, and somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  if (number === process.pid) return false
  const now = await startOf(number)
  return started === null || now === null || now === started
}

/** Field 22 of /proc/PID/stat, counted from behind the name, which may hold anything; null where there is no such file. */
async function startOf(number: number): Promise<string | null> {
  const text = await readFile(`/proc/${number}/stat`, 'utf8').catch(() => '')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null
}
