/**
 * Other versions of Node for tests, as npm packages that are a binary and nothing else. Fetched when first asked for and
 * kept in node_modules/.node-versions; where that cannot be done, tests say loudly what they skip.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const folder = fileURLToPath(new URL('../node_modules/.node-versions', import.meta.url))

/** The last of each line that Debian, Raspberry Pi OS or nodejs.org give people. */
export const nodeVersions = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }

/** The path of a version's binary; undefined if there is none for this machine, or no registry. */
export function nodeBinary(version: string): string | undefined {
  if (process.version === `v${version}`) return process.execPath
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  const binary = `${folder}/${version}/bin/node`
  if (existsSync(binary)) return binary
  const temporary = `${folder}/.${version}-${process.pid}`
  mkdirSync(temporary, { recursive: true })
  try {
    const name = `node-linux-${process.arch}`
    const run = (command: string, ...args: string[]) =>
      spawnSync(command, args, { cwd: temporary, stdio: 'ignore', timeout: 100_000 }).status === 0
    const isThere =
      run('npm', 'pack', `${name}@${version}`, '--silent') &&
      run('tar', 'xzf', `${name}-${version}.tgz`, 'package/bin/node')
    if (!isThere) return undefined
    // Others may have done the same meanwhile.
    if (!existsSync(`${folder}/${version}`)) renameSync(`${temporary}/package`, `${folder}/${version}`)
    return binary
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}
