/** What this machine is and what the engine makes of it: `gta doctor`, and the header of anything measured. */
import { readFile } from 'node:fs/promises'
import { arch, cpus, freemem, platform, release, totalmem } from 'node:os'
import { builds, chooseBuild, runsHere } from '../engine/wasm/builds.ts'
import { isRelaxedRight } from '../platform/optimize.ts'
import { allMeasurements, measurementsFile } from '../runtime/measurements.ts'

export interface Diagnosis {
  node: string
  platform: string
  cpu: string
  cores: number
  /** Those that matter to int8 arithmetic; empty where the system does not tell. */
  cpuFeatures: string[]
  /** Raspberry Pi and other boards name themselves. */
  board?: string
  totalMemory: number
  freeMemory: number
  /** Undefined where the system does not tell. */
  pageSize?: number
  governor?: string
  relaxedSimd: boolean
  builds: { name: string; needs: string; runs: boolean }[]
  /** Where thread counts and the roofline are remembered, and what is there. */
  measurementsFile: string
  measurements: { kind: string; date: string; load?: number; foreignShare?: number }[]
  chosen?: string
  reason: string
}

export async function diagnose(): Promise<Diagnosis> {
  const chosen = await chooseBuild().catch(() => undefined)
  return {
    node: process.version,
    platform: `${platform()} ${release()} ${arch()}`,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    cpuFeatures: await cpuFeatures(),
    board: (await readText('/proc/device-tree/model'))?.replace(/\0/g, ''),
    totalMemory: totalmem(),
    freeMemory: freemem(),
    pageSize: await pageSize(),
    governor: await readText('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
    relaxedSimd: isRelaxedRight() && WebAssembly.validate(relaxedDotModule()),
    builds: await Promise.all(
      builds.map(async (build) => ({ name: build.name, needs: build.needs, runs: await runsHere(build) })),
    ),
    measurementsFile: measurementsFile(),
    measurements: (await allMeasurements()).map(({ value: _, ...rest }) => rest),
    chosen: chosen?.build.name,
    reason: chosen
      ? `the first of ${builds.length} that validates here; it needs ${chosen.build.needs}`
      : `no build validates here: ${builds.map(({ name, needs }) => `${name} needs ${needs}`).join('; ')}`,
  }
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').then(
    (text) => text.trim() || undefined,
    () => undefined,
  )
}

const INTERESTING = [
  'asimd',
  'asimddp',
  'fphp',
  'i8mm',
  'sve',
  'ssse3',
  'sse4_1',
  'avx2',
  'avx_vnni',
  'avx512_vnni',
  'amx_int8',
]

async function cpuFeatures(): Promise<string[]> {
  const text = await readText('/proc/cpuinfo')
  const line = text?.split('\n').find((candidate) => /^(flags|Features)\s*:/.test(candidate))
  const features = new Set(line?.split(':')[1]?.trim().split(/\s+/))
  return INTERESTING.filter((name) => features.has(name))
}

/** Node does not tell the page size; the kernel does, in the auxiliary vector (AT_PAGESZ is 6). */
async function pageSize(): Promise<number | undefined> {
  const bytes = await readFile('/proc/self/auxv').catch(() => undefined)
  if (!bytes) return undefined
  const words = new BigUint64Array(new Uint8Array(bytes).buffer, 0, Math.floor(bytes.length / 8))
  for (let i = 0; i + 1 < words.length; i += 2) if (words[i] === 6n) return Number(words[i + 1])
  return undefined
}

/** The smallest module with i32x4.relaxed_dot_i8x16_i7x16_add_s (opcode fd 93 02). */
function relaxedDotModule(): Uint8Array<ArrayBuffer> {
  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  const types = [1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b]
  const functions = [3, 2, 1, 0]
  const code = [10, 13, 1, 11, 0, 0x20, 0, 0x20, 1, 0x20, 2, 0xfd, 0x93, 2, 0x0b]
  return Uint8Array.from([...header, ...types, ...functions, ...code])
}
