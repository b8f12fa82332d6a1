/** A text beside a module of the sources, which has no other file's text in it; in the build there is no call left. */
import { readFileSync } from 'node:fs'

export function readText(moduleUrl: string, name: string): string {
  return readFileSync(new URL(name, moduleUrl), 'utf8')
}
