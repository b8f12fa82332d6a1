/** GPU engines of checkpoints on the adapters of gpu.ts: what engines.ts is for the WebAssembly engine. */
import { KvCache } from '../../host/cache/cache.ts'
import type { EngineOptions } from '../../host/engine/engine.ts'
import { openGpuEngine } from '../../host/engine/gpu/engine.ts'
import type { GpuDevice } from '../../host/engine/gpu/gpu.ts'
import type { WeightType } from '../../models/index.ts'
import { packedOf, testOptions } from './engines.ts'
import type { TestAdapter } from './gpu.ts'

export interface GpuOpenOptions extends Partial<EngineOptions> {
  type?: WeightType
}

/** A cache with its engine, and the device of that. */
export interface OpenedGpu {
  cache: KvCache
  gpu: GpuDevice
}

export async function openGpu(
  adapter: TestAdapter,
  directory: string,
  { type = 'q8', ...options }: GpuOpenOptions = {},
): Promise<OpenedGpu> {
  const { spec, plan, weights } = await packedOf(directory, type)
  const language = (await adapter.gpu()).wgslLanguageFeatures
  const engine = await openGpuEngine({
    ...{ spec, plan, options: { ...testOptions(type), ...options } },
    adapter: { adapter: await adapter.request(), language },
    load: (target) => target.write(0, weights),
  })
  return { cache: await KvCache.open(engine, undefined), gpu: (engine as unknown as { gpu: GpuDevice }).gpu }
}

/** Buffers by what they are called. */
export function buffersOf(gpu: GpuDevice): Map<string, GPUBuffer> {
  const { buffers } = gpu as unknown as { buffers: Set<GPUBuffer> }
  return new Map(Array.from(buffers, (buffer) => [buffer.label, buffer]))
}
