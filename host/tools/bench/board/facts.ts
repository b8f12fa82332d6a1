/**
 * The facts about a board that a benchmark needs and that name nobody. Each comes from a named place and must have a
 * known form; what has another form is left out, not cut to fit: a kernel or a model can be called anything. Never read:
 * serial numbers, addresses, host and user names, environment, command line, paths.
 */
import { readFile } from 'node:fs/promises'
import { availableParallelism, loadavg } from 'node:os'
import { isOptimizedFromTheStart } from '../../../platform/optimize.ts'
import type { BenchEnvironment } from '../report.ts'

/** The form of each text in a report. All begin with a letter or digit and hold nothing that a table or a terminal obeys. */
export const forms = {
  words: /^[A-Za-z0-9][A-Za-z0-9 .,()@/+_-]{0,99}$/,
  name: /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/,
  flag: /^--[a-z][a-z0-9=-]{0,47}$/,
}

export interface BoardFacts {
  /** What it calls itself: Raspberry Pi 5 Model B Rev 1.0. */
  board?: string
  cpu?: string
  cores: number
  /** That a process may use. */
  availableCores: number
  cpuFeatures: string[]
  memoryBytes: number
  /** Banks that the firmware pretends to have (numa=fake): the Pi 5 reads faster with some. */
  numaNodes?: number
  pageSize?: number
  governor?: string
  /** Hz that the processor may reach. */
  frequencyLimit?: number
  /** linux 6.12.47 arm64 */
  kernel?: string
  /** debian 13 */
  system?: string
  /** Processes that wanted to run when it began, on average over a minute. */
  load: number
}

export interface SoftwareFacts {
  /** Of gta-edge. */
  version?: string
  commit?: string
  node: string
  v8: string
  /** The engine's build. */
  build: string
  /** V8's compilers of WebAssembly: the optimising one only, or a quick one before it. */
  tiers: 'optimising' | 'quick, then optimising'
  /** Flags of V8 that matter here, of those that Node was started with. */
  flags: string[]
}

/** `load` is that of the moment before the first test. */
export async function boardFacts(environment: BenchEnvironment, load: number): Promise<BoardFacts> {
  const { board, cpu, cores, cpuFeatures, totalMemory, pageSize, governor } = environment
  return {
    board: inForm(board, forms.words),
    cpu: inForm(cpu, forms.words),
    cores,
    availableCores: availableParallelism(),
    cpuFeatures,
    memoryBytes: totalMemory,
    numaNodes: await numaNodes(),
    pageSize,
    governor: inForm(governor, forms.name),
    frequencyLimit: await readFrequency('cpuinfo_max_freq'),
    kernel: publicKernel(environment.platform),
    system: await systemName(),
    load,
  }
}

export function softwareFacts({ version, commit, build, node }: BenchEnvironment): SoftwareFacts {
  const given = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(/\s+/)]
  const tiers = isOptimizedFromTheStart() ? 'optimising' : 'quick, then optimising'
  return { version, commit, node, v8: process.versions.v8, build, tiers, flags: given.filter(isOfTheEngine) }
}

/** Flags can hold paths (--import) and secrets; these hold at most a number. */
function isOfTheEngine(flag: string): boolean {
  return /^--(no-)?(liftoff|turbofan|jitless|wasm-(tier-up|dynamic-tiering|max-mem-pages=\d{1,6})|experimental-wasm-[a-z-]{1,30}|max-old-space-size=\d{1,7})$/.test(
    flag,
  )
}

export function inForm(text: string | undefined, form: RegExp): string | undefined {
  return text !== undefined && form.test(text) ? text : undefined
}

/**
 * `linux 6.12.47+rpt-rpi-2712 arm64` without what stands behind the version: who builds a kernel can write a name there.
 * The page size, which that would tell, is a fact of its own.
 */
export function publicKernel(platform: string): string | undefined {
  const [, system, version, architecture] = /^([a-z0-9]+) (\d+(?:\.\d+){1,2})\S* ([a-z0-9_]+)$/.exec(platform) ?? []
  return system === undefined ? undefined : `${system} ${version} ${architecture}`
}

/** Highest and present clock of the first core: the kernel counts in kHz. */
export async function readFrequency(name: 'cpuinfo_max_freq' | 'scaling_cur_freq'): Promise<number | undefined> {
  const text = await readText(`/sys/devices/system/cpu/cpu0/cpufreq/${name}`)
  return /^\d{4,9}$/.test(text) ? Number(text) * 1000 : undefined
}

async function numaNodes(): Promise<number | undefined> {
  const [, first, last = first] =
    /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(await readText('/sys/devices/system/node/online')) ?? []
  return first === undefined ? undefined : Number(last) - Number(first) + 1
}

async function systemName(): Promise<string | undefined> {
  const text = await readText('/etc/os-release')
  const field = (name: string) => new RegExp(`^${name}="?([a-z0-9._-]{1,30})"?$`, 'm').exec(text)?.[1] ?? ''
  return inForm(`${field('ID')} ${field('VERSION_ID')}`.trim(), forms.words)
}

const readText = (path: string) => readFile(path, 'utf8').then((text) => text.trim(), () => '') // biome-ignore format: one line

/** Zero where the system does not tell. */
export const loadNow = (): number => loadavg()[0] ?? 0
