/** Format, lint and types: biome for all sources, tsc for host, models and tests, tsc for the engine; all at once. */
import { spawn } from 'node:child_process'
import { root } from './install.mjs'

const checks = [
  ['biome', ['ci', '.']],
  ['tsc', ['-p', '.']],
  ['tsc', ['-p', 'assembly']],
]
for (const [name, args] of checks) {
  const child = spawn(`${root}node_modules/.bin/${name}`, args, { cwd: root, stdio: ['ignore', 2, 2] })
  child.on('close', (status) => {
    if (status === 0) return
    console.error(`${name} ${args.join(' ')} failed`)
    process.exitCode = 1
  })
}
