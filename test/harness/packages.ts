/**
 * Programs from the npm registry that tests need and users do not, without install scripts: packages that are a binary and
 * nothing else, and one that needs others. Fetched when first asked for, unless that is not wanted, and kept in node_modules/.packages.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { limit } from './limits.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const folder = `${root}node_modules/.packages`

/** The path of one file of a package; undefined where there is no registry, or not that package. */
export function packageFile(name: string, version: string, path: string, { fetch = true } = {}): string | undefined {
  const target = `${folder}/${name.replace('/', '+')}-${version}`
  const file = `${target}/${basename(path)}`
  if (existsSync(file)) return file
  if (!fetch) return undefined
  const temporary = `${target}-${process.pid}`
  mkdirSync(temporary, { recursive: true })
  try {
    const run = (command: string, ...args: string[]) =>
      spawnSync(command, args, {
        cwd: temporary,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        timeout: limit(300),
      })
    const packed = run('npm', 'pack', `${name}@${version}`, '--silent')
    const tarball = packed.stdout?.trim() ?? ''
    if (packed.status !== 0 || tarball === '') return undefined
    expectLocked(name, version, `${temporary}/${tarball}`)
    if (run('tar', 'xzf', tarball, `package/${path}`).status !== 0) return undefined
    // Others may have done the same meanwhile.
    if (!existsSync(target)) renameSync(dirname(`${temporary}/package/${path}`), target)
    return file
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/**
 * The folder of a package that needs others, installed by npm without their scripts; undefined where there is no registry.
 */
export function installPackage(name: string, version: string): string | undefined {
  const target = `${folder}/${name}-${version}-installed`
  const installed = `${target}/node_modules/${name}`
  if (existsSync(installed)) return installed
  const temporary = `${target}-${process.pid}`
  mkdirSync(temporary, { recursive: true })
  try {
    const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--prefix', temporary]
    const { status } = spawnSync('npm', ['install', ...flags, `${name}@${version}`], {
      cwd: temporary,
      stdio: 'ignore',
      timeout: limit(300),
    })
    if (status !== 0) return undefined
    if (!existsSync(target)) renameSync(temporary, target)
    return installed
  } finally {
    rmSync(temporary, { recursive: true, force: true })
  }
}

/** What is in the lock file is what the lock file says; npm has checked the rest against the registry. */
function expectLocked(name: string, version: string, tarball: string): void {
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8'))
  const locked = packages[`node_modules/${name}`]
  if (locked?.version !== version) return
  const hash = createHash('sha512').update(readFileSync(tarball)).digest('base64')
  if (locked.integrity !== `sha512-${hash}`) throw new Error(`${tarball} is not the one of package-lock.json`)
}
