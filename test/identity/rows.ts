/** The platforms of the identity table. The first row is what all others are compared with. */
import { findRuntime, nameOf, type Runtime } from '../harness/runtimes.ts'
import { findTool, lacking } from '../harness/tools.ts'
import { findWasmtime } from '../harness/wasi-engines.ts'
import type { Engine, Job } from './job.ts'

export interface Row {
  /** What .ci/run sums. */
  lane: string
  engine: Engine
  build: Job['build']
  threads: number[]
  /** Of runtimes.ts. */
  runtime: string
  /** Of V8. */
  flags?: string[]
  /** Emulated, interpreted, or with threads that may have to share cores: a twentieth of the speed, or less. */
  isSlow: boolean
}

const HERE = 'node-24'
const alone = [1]
const team = [2, 3, 4]
const builds = ['relaxed', 'strict'] as const
/** The tiers of V8, each alone. */
const tiers = ['--no-liftoff', '--liftoff-only']

function nodeRows(major: string): Row[] {
  // Node 20 has relaxed SIMD as the command gives it: behind a flag, and right in the second tier.
  const flags = major === '20' ? { flags: ['--no-liftoff', '--experimental-wasm-relaxed-simd'] } : {}
  const common = { lane: `Node ${major}`, runtime: `node-${major}`, isSlow: false, ...flags }
  return [
    ...builds.map((build): Row => ({ ...common, engine: 'library', build, threads: alone })),
    ...builds.map((build): Row => ({ ...common, engine: 'library', build, threads: team, isSlow: true })),
    ...builds.map((build): Row => ({ ...common, engine: 'node:wasi', build, threads: alone })),
  ]
}

function tierRows(lane: string, runtime: string, isSlow: boolean): Row[] {
  return tiers.map((flag) => ({
    ...{ lane, runtime, isSlow, flags: [flag] },
    ...{ engine: 'library', build: 'relaxed', threads: alone },
  }))
}

/** Engines that are started from the Node that is here. */
function otherRow(lane: string, engine: Engine, build: Job['build'], threads = alone): Row {
  const isSlow = engine.startsWith('WasmEdge') || threads === team
  return { lane, engine, build, threads, runtime: HERE, isSlow }
}

function boardRows(runtime: 'a76' | 'a72'): Row[] {
  const common = { lane: `arm64 ${runtime}`, runtime, isSlow: true }
  return [
    ...builds.map((build): Row => ({ ...common, engine: 'library', build, threads: alone })),
    { ...common, engine: 'library', build: 'relaxed', threads: team },
    ...builds.map((build): Row => ({ ...common, engine: 'node:wasi', build, threads: alone })),
    ...tierRows(common.lane, runtime, true),
  ]
}

const commandEngines: Engine[] = ['browser_wasi_shim', 'WasmEdge interpreter', 'WasmEdge JIT', 'Wasmtime']

export const rows: Row[] = [
  ...nodeRows('24'),
  ...tierRows('Node 24', 'node-24', false),
  ...['20', '22', '26'].flatMap(nodeRows),
  ...commandEngines.flatMap((engine) => builds.map((build) => otherRow('WASI engines', engine, build))),
  otherRow('WASI engines', 'Wasmtime, deterministic', 'relaxed'),
  ...builds.map((build) => otherRow('browser', 'chromium, isolated', build)),
  otherRow('browser', 'chromium, isolated', 'relaxed', team),
  ...builds.map((build) => otherRow('browser', 'chromium', build)),
  ...boardRows('a76'),
  ...boardRows('a72'),
]

/** How the row's Node is started, or why it cannot be run here. */
export function prepare({ engine, runtime }: Row): Runtime | string {
  if (engine.startsWith('WasmEdge') && !findTool('wasmedge')) return lacking('wasmedge')
  if (engine.startsWith('Wasmtime') && !findWasmtime()) return 'no Wasmtime: it comes from npm, for x64'
  if (engine.startsWith('chromium') && !findTool('chromium')) return lacking('chromium')
  return findRuntime(runtime)
}

/** Platform and engine as the table shows them. */
export function describe({ engine, runtime, flags = [] }: Row): string {
  if (engine !== 'library' && engine !== 'node:wasi') return engine
  return [nameOf(runtime), ...(engine === 'library' ? [] : [engine]), ...flags].join(', ')
}
