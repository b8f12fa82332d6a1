import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/** Node's own recursion never ends where the system says ENOENT for a folder that can never be: in /proc (Node 24). */
export function makeDirectory(path: string): void {
  try {
    mkdirSync(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return
    if (code !== 'ENOENT' || dirname(path) === path) throw error
    makeDirectory(dirname(path))
    mkdirSync(path)
  }
}
