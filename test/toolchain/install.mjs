/**
 * Installs the packages of the lock file, if that has not been done yet. Needs nothing but Node 20 and npm; run by the
 * npm scripts, so that a fresh clone needs one command. The scripts after it find Node 24 first on their PATH.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../', import.meta.url))
const stamp = `${root}node_modules/.installed-lock`

export function install() {
  const lock = readFileSync(`${root}package-lock.json`, 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  console.error('installing packages …')
  rmSync(stamp, { force: true })
  const [command, ...args] = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm']
  const result = spawnSync(command, [...args, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    // npm's own settings of the outer run (npm start, npm test) are not those of this one.
    stdio: ['ignore', 2, 'inherit'],
  })
  if (result.status !== 0) {
    console.error(`npm ci failed (${result.status ?? result.error}): is the npm registry reachable?`)
    process.exit(1)
  }
  writeFileSync(stamp, lock)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) install()
