/** Weights come from a file that may be anybody's: what shaders take for granted is looked at once, by the device. */
import * as abi from '../../../assembly/abi.ts'
import type { Gpu } from './gpu.ts'
import type { GpuWeights } from './operations.ts'
import type { GpuPlan } from './plan.ts'
import { bandsOf, bytesOf } from './products-forms.ts'
import type { Readback } from './readback.ts'
import { blocksText, checkText } from './texts.ts'

const GROUPS = 256

/** Are all bytes of weights of seven bits below 128? assembly/check.ts. */
export async function areWeightsNarrow(
  gpu: Gpu,
  weights: GpuWeights,
  plan: GpuPlan,
  readback: Readback,
): Promise<boolean> {
  const all = [
    plan.embed,
    plan.positions,
    plan.head,
    ...plan.layersInOrder.flatMap(({ matrices }) => Object.values(matrices)),
  ]
  const matrices = all.filter(({ type }) => type === abi.TYPE_Q8 || type === abi.TYPE_Q8M || type === abi.TYPE_Q8K)
  if (matrices.length === 0) return true
  const wide = gpu.buffer('wide weights', 4)
  const checks = await Promise.all(
    matrices
      .flatMap((matrix) => bandsOf(matrix, 1, weights.mostBytes).map((band) => ({ matrix, band })))
      .map(async ({ matrix, band }) => {
        const pipeline = await gpu.pipeline({ name: 'check', text: blocksText + checkText }, { TYPE: matrix.type })
        const bytes = bytesOf(matrix, band.rows)
        const { resource, word } = weights.bind(matrix.data + bytesOf(matrix, band.firstRow), bytes)
        const parameters = gpu.parameters('check', Uint32Array.of(word, bytes / 4, matrix.stride / 4, 0))
        return { pipeline, bindings: gpu.bind('check', pipeline, [parameters, resource, wide]) }
      }),
  )
  const [found] = await readback.submit([{ buffer: wide, offset: 0, bytes: 4 }], (encoder) => {
    const pass = encoder.beginComputePass()
    for (const { pipeline, bindings } of checks) {
      pass.setPipeline(pipeline)
      pass.setBindGroup(0, bindings)
      pass.dispatchWorkgroups(GROUPS)
    }
    pass.end()
  })
  return new Uint32Array(found as ArrayBuffer)[0] === 0
}
