/**
 * Installs the peers into bench/peers/.install when somebody asks for a comparison: they are no dependencies of this
 * project, not even for development. Prebuilt binaries only; no install script runs, nothing is compiled.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** One version, so that figures of different days are of the same peer. */
const VERSION = '3.22.1'
const root = fileURLToPath(new URL('.install/', import.meta.url))
const platform = `${process.platform}-${process.arch}`
const platforms = ['linux-x64', 'linux-arm64']
const packages = { 'node-llama-cpp': VERSION, [`@node-llama-cpp/${platform}`]: VERSION }
const folderOf = (name: string) => join(root, 'node_modules', name)

/** Returns why the peers are not there, or nothing. */
export function installPeers(): string | undefined {
  if (!platforms.includes(platform)) return `peers are installed on ${platforms.join(' and ')} only, not on ${platform}`
  if (Object.keys(packages).every((name) => installedVersion(name) === VERSION)) return undefined
  console.error(`installing node-llama-cpp ${VERSION} into ${root} …`)
  mkdirSync(root, { recursive: true })
  writeFileSync(join(root, 'package.json'), JSON.stringify({ private: true, dependencies: packages }))
  // Without the optional dependencies: they are the binaries of all other platforms and of GPUs, half a gigabyte.
  const args = ['install', '--omit=optional', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const [command, ...script] = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  const { status, error } = spawnSync(command as string, [...script, ...args], { cwd: root, stdio: ['ignore', 2, 2] })
  if (status === 0) return undefined
  return `npm could not install the peers (${error?.message ?? `exit code ${status}`}): is its registry reachable?`
}

function installedVersion(name: string): string | undefined {
  const manifest = join(folderOf(name), 'package.json')
  return existsSync(manifest) ? JSON.parse(readFileSync(manifest, 'utf8')).version : undefined
}

export const packageVersion = () => VERSION

/** Folder of the native addon and of llama.cpp's libraries. */
export const binaries = () => join(folderOf(`@node-llama-cpp/${platform}`), 'bins', platform)

export function llamaCppVersion(): string {
  return JSON.parse(readFileSync(join(binaries(), '_nlcBuildMetadata.json'), 'utf8')).buildOptions.llamaCpp.release
}

export async function importPeer<T>(): Promise<T> {
  return import(pathToFileURL(join(folderOf('node-llama-cpp'), 'dist/index.js')).href)
}
