/**
 * Installs the packages of the lock file, if that has not been done yet. Needs nothing but Node 20 and npm; run by the
 * npm scripts and by the build, so that a fresh clone needs one command. The scripts after it find Node 24 first on their
 * PATH.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))

export function install() {
  if (isInstalled()) return
  console.error('installing packages …')
  const [command, ...args] = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  // Under `npm pack`, `npm install -g` or NODE_ENV=production npm passes on settings that are not meant for this one; and
  // scripts would build, which is for who called.
  const options = ['--include=dev', '--global=false', '--dry-run=false', '--ignore-scripts', '--no-audit', '--no-fund']
  const result = spawnSync(command, [...args, 'ci', ...options, '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 'inherit'],
  })
  if (result.status !== 0) {
    console.error(`npm ci failed (${result.status ?? result.error}): is the npm registry reachable?`)
    process.exit(1)
  }
}

/** Does node_modules hold what the lock file names? npm writes down what it has installed, once all of it is there. */
function isInstalled() {
  const list = `${root}node_modules/.package-lock.json`
  if (!existsSync(list)) return false
  const [wanted, found] = [`${root}package-lock.json`, list].map(
    (file) => JSON.parse(readFileSync(file, 'utf8')).packages,
  )
  // What is optional may be for other machines.
  return Object.entries(wanted).every(
    ([path, { version, link, optional }]) =>
      !path.startsWith('node_modules/') || (found[path] ? link || found[path].version === version : optional === true),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) install()
