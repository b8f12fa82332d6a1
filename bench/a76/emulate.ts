/**
 * V8's arm64 code of an engine build: the module, with the names of its functions added, compiled by the arm64 Node of the
 * lock file on an emulated Cortex-A76 (test/harness/runtimes.ts). Nothing is run, and nothing is timed.
 *
 * Needs qemu-user-static, libraries of arm64 and llvm-22: .ci/run has the list. Node comes from the npm registry.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Core, findRuntime } from '../../test/harness/runtimes.ts'
import { CUSTOM, moduleOf, sectionsOf } from '../../test/harness/wasm-sections.ts'
import { type Code, parseListing } from './listing.ts'
import type { Build } from './loops.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const cache = `${root}bench/a76/.cache/`

function run(command: string, args: string[], cwd = root): string {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 600_000,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.status === 0) return result.stdout
  throw new Error(`${command} ${args.join(' ')} failed: ${result.error?.message ?? result.stderr}`)
}

/** A module but for its custom sections, which hold no code. */
const codeOf = (file: string) => moduleOf(sectionsOf(readFileSync(file)).filter(({ id }) => id !== CUSTOM))

/** The build once more, with a name section; otherwise it must be what is shipped. */
export function withNames(build: Build): string {
  mkdirSync(cache, { recursive: true })
  const file = `${cache}named-${build}.wasm`
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`
  const target = ['--config', 'asconfig.json', '--target', build, '--debug', '--outFile', file]
  run(process.execPath, ['--enable-source-maps', asc, 'assembly/index.ts', ...target])
  if (!codeOf(file).equals(codeOf(`${root}dist/engine-${build}.wasm`)))
    throw new Error(`dist/engine-${build}.wasm differs from the build with names: npm run build`)
  return file
}

/**
 * TurboFan's code of every function of a module, under the flag that gta sets on arm64 (host/engine/wasm/builds.ts): V8 then also
 * puts small functions into their callers. Without the flag hot functions get there later, and their loops come out alike.
 */
export function compile(module: string, core: Core = 'a76'): Code[] {
  mkdirSync(cache, { recursive: true })
  const script = `${cache}compile.cjs`
  writeFileSync(script, `new WebAssembly.Module(require('node:fs').readFileSync(process.argv[2]))\n`)
  const runtime = findRuntime(core)
  if (typeof runtime === 'string') throw new Error(runtime)
  const flags = ['--no-liftoff', '--no-wasm-lazy-compilation', '--print-wasm-code']
  return parseListing(run(runtime.command, [...runtime.args, ...flags, script, module]))
}
