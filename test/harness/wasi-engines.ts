/**
 * The engines under which gta.wasm is tested: Node's WASI, a WASI written in JavaScript with files in memory
 * (@bjorn3/browser_wasi_shim), WasmEdge, interpreter and JIT, where test/toolchain/wasmedge.sh could install it, and the
 * Wasmtime inside of an npm package.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { WASI as NodeWasi } from 'node:wasi'
import { ConsoleStdout, File, OpenFile, PreopenDirectory, WASI as ShimWasi } from '@bjorn3/browser_wasi_shim'
import { temporary } from '../fixtures/checkpoints.ts'
import { limit, limitNote } from './limits.ts'
import { packageFile } from './packages.ts'
import { findTool } from './tools.ts'
import { IMPORT, moduleOf, sectionsOf } from './wasm-sections.ts'

// As host/wasi/command.ts does.
if (Number.parseInt(process.versions.node, 10) < 24) setFlagsFromString('--no-turbo-fast-api-calls')

export type CommandBuild = 'strict' | 'relaxed'

export interface Outcome {
  status: number
  stdout: string
  stderr: string
}

const path = (build: string) => fileURLToPath(new URL(`../../dist/gta-${build}.wasm`, import.meta.url))
const modules = new Map<string, WebAssembly.Module>()

/** Compiled once per build. */
export function commandModule(build: string): WebAssembly.Module {
  const found = modules.get(build) ?? new WebAssembly.Module(readFileSync(path(build)))
  modules.set(build, found)
  return found
}

const folder = temporary()

/** Under Node's WASI, with files as they lie on the disk; `preopens` are names and directories. */
export function runOnNode(
  args: readonly string[],
  preopens: Record<string, string> = {},
  { build = 'strict', input }: { build?: CommandBuild; input?: string } = {},
): Outcome {
  const [out, err] = [join(folder, 'stdout'), join(folder, 'stderr')]
  const [stdin, stdout, stderr] = [openSync(input ?? '/dev/null', 'r'), openSync(out, 'w'), openSync(err, 'w')]
  try {
    const wasi = new NodeWasi({ version: 'preview1', args: ['gta.wasm', ...args], preopens, stdin, stdout, stderr })
    const instance = new WebAssembly.Instance(
      commandModule(build),
      wasi.getImportObject() as unknown as WebAssembly.Imports,
    )
    const status = wasi.start(instance)
    return { status: Number(status ?? 0), stdout: readFileSync(out, 'utf8'), stderr: readFileSync(err, 'utf8') }
  } finally {
    for (const fd of [stdin, stdout, stderr]) closeSync(fd)
  }
}

/** Under the WASI in JavaScript; `files` are in the only directory, which is called "."; undefined: there is none. */
export function runOnShim(
  args: readonly string[],
  files?: Record<string, Uint8Array>,
  build: CommandBuild = 'strict',
): Outcome {
  const written: Uint8Array[][] = [[], []]
  const collect = (which: number) => new ConsoleStdout((bytes) => written[which]?.push(bytes.slice()))
  const directory = files && new PreopenDirectory('.', new Map(Object.entries(files).map(([k, v]) => [k, new File(v)])))
  const fds = [new OpenFile(new File([])), collect(0), collect(1), ...(directory ? [directory] : [])]
  const wasi = new ShimWasi(['gta.wasm', ...args], [], fds, { debug: false })
  const instance = new WebAssembly.Instance(commandModule(build), { wasi_snapshot_preview1: wasi.wasiImport })
  const status = wasi.start(instance as Parameters<typeof wasi.start>[0])
  const [stdout = '', stderr = ''] = written.map((parts) => Buffer.concat(parts).toString())
  return { status, stdout, stderr }
}

const wasmEdgeRoot = fileURLToPath(new URL('../toolchain/.wasmedge', import.meta.url))

/** Under WasmEdge through its own loader; it takes the directory's name and place from `--dir`. */
export function runOnWasmEdge(args: readonly string[], flags: readonly string[], build: CommandBuild): Outcome {
  const program = findTool('wasmedge')
  if (!program) throw new Error('there is no WasmEdge')
  const library = join(wasmEdgeRoot, 'usr/lib/x86_64-linux-gnu')
  const ended = spawnSync(
    join(wasmEdgeRoot, 'usr/lib64/ld-linux-x86-64.so.2'),
    ['--library-path', library, program, ...flags, path(build), ...args],
    { encoding: 'utf8', timeout: limit(600) },
  )
  // Its own log goes to stdout: [2026-11-22 11:57:57.292] [info] compile start
  const own = ended.stdout.replace(/^\[\d{4}-[^\n]*\] \[(?:info|error|warning)\][^\n]*\n/gm, '')
  return { status: ended.status ?? -1, stdout: own, stderr: ended.stderr + limitNote(ended, 600) }
}

/** Wizer initialises a module with the Wasmtime inside of it, and Debian has no other. */
export const findWasmtime = () =>
  process.arch === 'x64' ? packageFile('@bytecodealliance/wizer-linux-x64', '11.0.3', 'wizer') : undefined

/**
 * Under Wasmtime, which here starts one function and gives it an environment, but no arguments. Both are asked for with
 * functions of the same types, so the module is run with the names of the latter in the import section changed to those
 * of the former; its code stays as it is. Arguments must have the form --name=value.
 */
export function runOnWasmtime(
  args: readonly string[],
  directory: string,
  { build, isDeterministic = false }: { build: CommandBuild; isDeterministic?: boolean },
): Outcome {
  const wizer = findWasmtime()
  if (!wizer) throw new Error('there is no Wasmtime')
  const ended = spawnSync(
    wizer,
    [
      ...[withEnvironment(build), '-o', '/dev/null', '--init-func', '_start'],
      ...['--allow-wasi', '--inherit-env', 'true', '--mapdir', `.::${directory}`],
      ...(build === 'relaxed' ? ['--wasm-relaxed-simd'] : []),
      ...(isDeterministic ? ['--relaxed-simd-deterministic'] : []),
    ],
    { encoding: 'utf8', timeout: limit(300), env: Object.fromEntries(['gta.wasm=', ...args].map(splitFlag)) },
  )
  return { status: ended.status ?? -1, stdout: ended.stdout, stderr: ended.stderr + limitNote(ended, 300) }
}

const splitFlag = (flag: string) => [flag.slice(0, flag.indexOf('=')), flag.slice(flag.indexOf('=') + 1)]

function withEnvironment(build: CommandBuild): string {
  const target = join(folder, `gta-${build}-environment.wasm`)
  if (existsSync(target)) return target
  // A name is its length and its letters.
  const rename = (contents: Uint8Array) =>
    Buffer.from(
      Buffer.from(contents)
        .toString('latin1')
        .replace('\x08args_get', '\x0benviron_get')
        .replace('\x0eargs_sizes_get', '\x11environ_sizes_get'),
      'latin1',
    )
  const sections = sectionsOf(readFileSync(path(build))).map(({ id, contents }) => ({
    id,
    contents: id === IMPORT ? rename(contents) : contents,
  }))
  writeFileSync(target, moduleOf(sections))
  return target
}
