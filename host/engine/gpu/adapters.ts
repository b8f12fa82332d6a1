/**
 * Which GPUs there are, and which of them are worth it. WebGPU also offers drivers that compute on the CPU, slower than the
 * engine that is made for it, and small GPUs that lose to the CPU beside them: these are used only when forced to.
 */
import { platform } from '#platform'
import { errors } from '../../errors.ts'

/** What an adapter says of itself: texts, empty where it says nothing. */
export type AdapterInfo = Pick<GPUAdapterInfo, 'vendor' | 'architecture' | 'device' | 'description'> & {
  isFallbackAdapter?: boolean
}

/** Limits that decide what fits: bytes, threads and buffers. */
const limitNames = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
] as const
export type AdapterLimits = Record<(typeof limitNames)[number], number>

/** Plain data, for people and for JSON. */
export interface AdapterFacts {
  name: string
  vendor: string
  architecture: string
  device: string
  description: string
  /** Has WGSL products of four packed int8? */
  canDot: boolean
  /** Has it f16 in shaders? The engine needs none. */
  hasF16: boolean
  limits: AdapterLimits
  /** Why it is not used unless it is forced to; undefined: it is used. */
  unfit: string | undefined
}

export interface FoundAdapter {
  adapter: GPUAdapter
  facts: AdapterFacts
  /** wgslLanguageFeatures: what an engine asks it for. */
  language: ReadonlySet<string>
}

const onCpu = 'it computes on the CPU, where the engine that is made for it is faster'

/** Patterns of all that an adapter says of itself; the first that fits counts. */
const unfit: readonly { pattern: RegExp; reason: string }[] = [
  { pattern: /swiftshader/i, reason: onCpu },
  { pattern: /llvmpipe|lavapipe/i, reason: onCpu },
  { pattern: /\bwarp\b|microsoft basic render/i, reason: onCpu },
  // b4rtaz/distributed-llama#259: 4.9 s a token, where Vulkan in software took 0.5 s.
  {
    pattern: /\bv3dv?\b|videocore/i,
    reason: 'the GPU of a Raspberry Pi has no int8 or f16, and others measured a tenth of the speed of its CPU',
  },
  // ggml-org/llama.cpp#17783, #22682: 3.6 against 13.2 tok/s, 5.7 against 25.7 on the RK3588.
  {
    pattern: /(?=.*mali-g610)(?=.*panvk)/i,
    reason: 'with the driver panvk, others measured a quarter of the speed of the CPU beside it',
  },
]

/** Why an adapter is not used unless it is forced to; undefined: it is used. */
export function whyUnfit(info: AdapterInfo): string | undefined {
  const said = [info.vendor, info.architecture, info.device, info.description].join(' ').replaceAll('_', ' ')
  const known = unfit.find(({ pattern }) => pattern.test(said))
  return known?.reason ?? (info.isFallbackAdapter ? onCpu : undefined)
}

/** For people: 'llvmpipe: Mesa 25.0.7 (mesa software)'. */
export function nameAdapter({ vendor, architecture, device, description }: AdapterInfo): string {
  const family = [vendor, architecture].filter(Boolean).join(' ')
  const name = description || device
  return name ? (family ? `${name} (${family})` : name) : family || 'a GPU without a name'
}

const asked: readonly GPURequestAdapterOptions[] = [
  { powerPreference: 'high-performance' },
  { powerPreference: 'low-power' },
  { forceFallbackAdapter: true },
]

/** All that WebGPU tells of, each once, the fastest first. Throws NO_GPU where there is no WebGPU. */
export async function listAdapters(gpu?: GPU): Promise<FoundAdapter[]> {
  const root = gpu ?? ((await platform.openGpu()) as GPU)
  const language = root.wgslLanguageFeatures
  const found = new Map<string, FoundAdapter>()
  for (const options of asked) {
    const adapter = await root.requestAdapter(options).catch(() => null)
    if (!adapter) continue
    const facts = factsOf(adapter, language)
    const key = [facts.name, facts.device].join()
    if (!found.has(key)) found.set(key, { adapter, facts, language })
  }
  return [...found.values()]
}

function factsOf(adapter: GPUAdapter, language: ReadonlySet<string>): AdapterFacts {
  const { vendor, architecture, device, description } = adapter.info
  const isFallbackAdapter = adapter.info.isFallbackAdapter ?? false
  const info = { vendor, architecture, device, description, isFallbackAdapter }
  const limits = Object.fromEntries(limitNames.map((name) => [name, adapter.limits[name]])) as AdapterLimits
  return {
    name: nameAdapter(info),
    ...{ vendor, architecture, device, description },
    canDot: language.has('packed_4x8_integer_dot_product'),
    hasF16: adapter.features.has('shader-f16'),
    limits,
    unfit: whyUnfit(info),
  }
}

/** The one to use. Throws NO_GPU, with what is there and why it is not used. */
export async function chooseAdapter(isForced: boolean, gpu?: GPU): Promise<FoundAdapter> {
  const found = await listAdapters(gpu)
  const chosen = found.find(({ facts }) => facts.unfit === undefined) ?? (isForced ? found[0] : undefined)
  if (chosen) return chosen
  if (found.length === 0) throw errors.noGpu('none', noneAdvice)
  const all = found.map(({ facts: { name, unfit } }) => `${name}, which is not used because ${unfit}`)
  throw errors.noGpu(all.join('; '), 'load without gpu (--gpu off), or use it all the same with gpuForce (--gpu-force)')
}

const noneAdvice =
  'on Debian and Raspberry Pi OS, drivers come with "apt install libvulkan1 mesa-vulkan-drivers"; else load without gpu (--gpu off)'
