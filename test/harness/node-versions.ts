/**
 * Other versions of Node for tests, as npm packages. `npm run nodes` fetches those of nodeVersions, 50 MB each; where one
 * cannot be had, tests say loudly what they skip.
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { packageFile } from './packages.ts'
import { isBare } from './tools.ts'

/** The last of each line that Debian, Raspberry Pi OS or nodejs.org give people. */
export const nodeVersions = { 20: '20.20.2', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' }

/** The Node that runs npm, which is the machine's own, not the one of test/toolchain. */
const own = process.env.npm_node_execpath
const ownVersion = own === undefined ? '' : spawnSync(own, ['--version'], { encoding: 'utf8' }).stdout?.trim()

/**
 * The path of a version's binary; undefined if there is none for this machine, or no registry, or, with `fetch: false`, none
 * that is here already.
 */
export function nodeBinary(version: string, { fetch = true } = {}): string | undefined {
  if (process.version === `v${version}`) return process.execPath
  if (ownVersion === `v${version}`) return own
  if (isBare && !fetch) return undefined
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined
  return packageFile(`node-linux-${process.arch}`, version, 'bin/node', { fetch })
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  for (const version of Object.values(nodeVersions))
    console.log(nodeBinary(version) ?? `no Node ${version} for this machine`)
