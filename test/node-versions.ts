/**
 * Other versions of Node for tests, as npm packages. Where they cannot be had, tests say loudly what they skip.
 */
import { packageFile } from './packages.ts'

/** The last of each line that Debian, Raspberry Pi OS or nodejs.org give people. */
export const nodeVersions = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }

/** The path of a version's binary; undefined if there is none for this machine, or no registry. */
export function nodeBinary(version: string): string | undefined {
  if (process.version === `v${version}`) return process.execPath
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  return packageFile(`node-linux-${process.arch}`, version, 'bin/node')
}
