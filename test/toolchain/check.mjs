/** Format, lint and types: biome for all sources, tsc for host, models and tests, tsc for the engine. */
import { spawnSync } from 'node:child_process'
import { root } from './install.mjs'

const checks = [
  ['biome', ['ci', '.']],
  ['tsc', ['-p', '.']],
  ['tsc', ['-p', 'assembly']],
]
for (const [name, args] of checks) {
  const { status } = spawnSync(`${root}node_modules/.bin/${name}`, args, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    console.error(`${name} ${args.join(' ')} failed`)
    process.exit(1)
  }
}
