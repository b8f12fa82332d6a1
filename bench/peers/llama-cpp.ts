/**
 * llama.cpp as a subject: llama_decode behind node-llama-cpp's native addon, with nothing of its JavaScript between. A
 * call costs one hop to a thread of libuv and back, tens of microseconds. As in llama-bench nothing is sampled and the
 * tokens are given, the batch is 512, and everything else is llama.cpp's default: f16 KV cache, flash attention by its
 * own choice, weights mapped and repacked for the CPU. One difference: the addon has no lasting thread pool, so
 * llama.cpp starts its further threads anew for each call.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { binaries, llamaCppVersion } from './install.ts'
import { contextOf, readTask, run, type Task } from './measure.ts'

/** What is used of the addon. */
interface Addon {
  setLogger(log: (level: number, message: string) => void): void
  setLoggerLogLevel(level: number): void
  loadBackends(folder: string): void
  init(): Promise<void>
  AddonModel: new (path: string, options: object) => { init(): Promise<boolean> }
  AddonContext: new (model: object, options: object) => Context
}
interface Context {
  init(): Promise<boolean>
  initBatch(tokens: number): void
  /** `logits`: which of the tokens want logits. */
  addToBatch(sequence: number, from: number, tokens: Uint32Array, logits: Uint32Array): void
  decodeBatch(): Promise<void>
  removeTokenCellsFromSequence(sequence: number, from: number, to: number): boolean
}

const BATCH = 512
const LOG_WARNINGS = 3

const task = readTask()
const folder = binaries()
const addon = createRequire(import.meta.url)(join(folder, 'llama-addon.node')) as Addon
addon.setLogger((_, message) => process.stderr.write(message))
addon.setLoggerLogLevel(LOG_WARNINGS)
loadBuild(task.build)
await addon.init()
const context = await openContext(task)

await run(
  {
    name: `llama.cpp ${llamaCppVersion()}, ${loadedBuild()} build`,
    threads: task.threads,
    async prefill(from, tokens) {
      for (let start = 0; start < tokens.length; start += BATCH)
        await decodeBatch(from + start, tokens.slice(start, start + BATCH))
    },
    async decode(from, token, count) {
      for (let i = 0; i < count; i++) await decodeBatch(from + i, [token + i])
    },
    rewind(length) {
      if (!context.removeTokenCellsFromSequence(0, length, -1)) throw new Error('llama.cpp cannot rewind')
    },
  },
  task,
)

async function decodeBatch(from: number, tokens: number[]): Promise<void> {
  context.initBatch(tokens.length)
  context.addToBatch(0, from, Uint32Array.from(tokens), Uint32Array.of(tokens.length - 1))
  await context.decodeBatch()
}

async function openContext({ gguf, threads, ...rest }: Task): Promise<Context> {
  const model = new addon.AddonModel(gguf, { gpuLayers: 0, useMmap: true })
  if (!(await model.init())) throw new Error(`llama.cpp cannot load ${gguf}`)
  const contextSize = contextOf({ gguf, threads, ...rest })
  const context = new addon.AddonContext(model, { contextSize, batchSize: BATCH, sequences: 1, threads })
  if (!(await context.init())) throw new Error('llama.cpp cannot create a context')
  return context
}

/** llama.cpp takes the best build of a folder; to get another one, show it a folder with that one only. */
function loadBuild(build: string): void {
  if (!build) {
    addon.loadBackends(folder)
    return
  }
  const file = `libggml-cpu-${build}.so`
  const builds = readdirSync(folder).flatMap((name) => name.match(/^libggml-cpu-(.*)\.so$/)?.[1] ?? [])
  if (!builds.includes(build)) throw new Error(`llama.cpp has no build "${build}" here, only ${builds.join(', ')}`)
  const only = mkdtempSync(join(tmpdir(), 'gta-edge-build-'))
  symlinkSync(join(folder, file), join(only, file))
  addon.loadBackends(only)
  rmSync(only, { recursive: true })
}

/** From the process itself, not from what was asked for: a build that the CPU cannot run is not loaded. */
function loadedBuild(): string {
  const found = readFileSync('/proc/self/maps', 'utf8').match(/libggml-cpu-(.*)\.so/)?.[1]
  if (!found || (task.build && found !== task.build)) throw new Error(`llama.cpp does not load "${task.build}" here`)
  return found
}
