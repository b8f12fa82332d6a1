/**
 * Software adapters for tests of the GPU engine: SwiftShader comes with Debian's chromium, lavapipe with Mesa, and both need
 * libvulkan1. What they compute is a GPU's arithmetic; how long they take says nothing about a GPU.
 *
 * The Vulkan loader reads which driver to take when Dawn makes its instance, so each adapter has one of its own, and one
 * process can use both. In a child process it is the environment that chooses (`env`).
 */
import { test } from 'uvu'
import { findTool, lacking, skipLoudly } from './tools.ts'

const names = ['swiftshader', 'lavapipe'] as const

export interface TestAdapter {
  name: (typeof names)[number]
  /** For a child process: with it, this is the only adapter there. */
  env: Record<string, string>
  /** What navigator.gpu is in a browser. The same one each time, and kept for ever: Node crashes when it is collected. */
  gpu(): Promise<GPU>
  /** A new one each time, since an adapter gives one device only. */
  request(): Promise<GPUAdapter>
}

/**
 * As long as Dawn waits for its device it asks again in every turn of Node's event loop, without a pause: a whole core, which a
 * driver that computes on the CPU lacks. A millisecond in each of these turns halves the processor time of compiling
 * shaders (measured, November 2026). Where nothing is waited for, there are no turns.
 */
export function leaveCores(): void {
  const never = new Int32Array(new SharedArrayBuffer(4))
  const pause = () => {
    Atomics.wait(never, 0, 0, 1)
    setImmediate(pause).unref()
  }
  setImmediate(pause).unref()
}

const kept = new Map<string, GPU>()

async function open(name: string, env: Record<string, string>): Promise<GPU> {
  const { create } = await import('webgpu')
  const before = kept.get(name)
  if (before) return before
  if (kept.size === 0) leaveCores()
  const gpu = create([])
  kept.set(name, gpu)
  const own = Object.keys(env).map((key) => [key, process.env[key]] as const)
  Object.assign(process.env, env)
  // Dawn looks for drivers when it is first asked, and has done so when this returns its promise.
  const asked = gpu.requestAdapter()
  for (const [key, value] of own)
    if (value === undefined) delete process.env[key]
    else process.env[key] = value
  await asked
  return gpu
}

function adapterOf(name: (typeof names)[number]): TestAdapter | undefined {
  const path = findTool(name)
  if (path === undefined) return undefined
  // The loader's newer name for it comes first where both are set.
  const env = { VK_DRIVER_FILES: path, VK_ICD_FILENAMES: path }
  const gpu = () => open(name, env)
  return {
    name,
    env,
    gpu,
    request: async () => {
      const adapter = await (await gpu()).requestAdapter()
      if (!adapter) throw new Error(`${name}: ${path} is there, but gives no adapter: is libvulkan1 installed?`)
      return adapter
    },
  }
}

/** The adapters that are here: none, one or both. */
export const adapters = (): TestAdapter[] => names.flatMap((name) => adapterOf(name) ?? [])

/** GTA_GPU_WHOLE=1: more shapes, long texts, every family in q8, for which a GPU in software takes an hour. */
export const isWhole = process.env.GTA_GPU_WHOLE === '1'

export interface GpuTestOptions {
  /** Adapters that it is run on unless GTA_TEST_ADAPTER names one: SwiftShader compiles for half a minute what lavapipe does in seconds. */
  on?: readonly TestAdapter['name'][]
}

/** A test on each adapter that is here; one that is not is said. GTA_TEST_ADAPTER names the only one to take, for all tests. */
export function gpuTest(
  what: string,
  run: (adapter: TestAdapter) => Promise<void> | void,
  { on = names }: GpuTestOptions = {},
): void {
  const chosen = process.env.GTA_TEST_ADAPTER
  for (const name of names) {
    if (chosen === undefined ? !on.includes(name) : name !== chosen) continue
    const adapter = adapterOf(name)
    if (adapter) test(`${what}, ${name}`, () => run(adapter))
    else skipLoudly(what, lacking(name))
  }
}
