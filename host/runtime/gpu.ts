/** Engines on a GPU: alone, or for prompts beside one on the CPU. Read only where a GPU is asked for. */
import type { Engine, EngineOptions, Weights } from '../engine/engine.ts'
import { chooseAdapter } from '../engine/gpu/adapters.ts'
import { openGpuEngine } from '../engine/gpu/engine.ts'
import { openPaired } from '../engine/paired.ts'
import type { WeightSource } from './source.ts'

/** Throws NO_GPU, or what openGpuEngine throws. */
export async function openOnGpu({ model, plan, load }: WeightSource, options: EngineOptions): Promise<Engine> {
  const adapter = await chooseAdapter(options.gpuForce === true)
  return await openGpuEngine({ spec: model.spec, plan, options, adapter, load })
}

/** Prompts on a GPU, all else on the engine that `openOnCpu` opens; the weights are read once for both. */
export async function openForPrompts(
  source: WeightSource,
  options: EngineOptions,
  openOnCpu: (load: WeightSource['load']) => Promise<Engine>,
): Promise<Engine> {
  let gpu: Engine | undefined
  try {
    const cpu = await openOnCpu(async (weights) => {
      const load = (others: Weights) => source.load(both(weights, others))
      gpu = await openOnGpu({ ...source, load }, options)
    })
    try {
      return await openPaired(gpu as Engine, cpu)
    } catch (error) {
      await cpu.close()
      throw error
    }
  } catch (error) {
    await gpu?.close()
    throw error
  }
}

/** What is loaded into two engines at once. */
function both(one: Weights, other: Weights): Weights {
  return {
    bytes: one.bytes,
    pieceBytes: Math.min(one.pieceBytes, other.pieceBytes),
    fill: (offset, bytes, read) =>
      one.fill(offset, bytes, async (piece) => {
        await read(piece)
        // The piece may lie in shared memory, which a GPU does not read from.
        await other.write(offset, piece.slice())
      }),
    write: async (offset, bytes) => {
      await one.write(offset, bytes)
      await other.write(offset, bytes)
    },
  }
}
