/**
 * Products of every type on a GPU, in shapes that fit no tile; in bands, with bias, added, one matrix per map, and by both
 * ways to multiply bytes.
 */
import { test } from 'uvu'
import { gpuTest } from './harness/gpu.ts'
import { checkProduct, deviceOf, type ProductCase } from './harness/gpu-products.ts'
import { type Type, types } from './harness/products.ts'

const shapes: Omit<ProductCase, 'seed' | 'type'>[] = [
  { rows: 1, cols: 1, count: 1 },
  { rows: 7, cols: 31, count: 2, hasBias: true },
  { rows: 65, cols: 130, count: 5, adds: true },
  { rows: 33, cols: 300, count: 1, hasBias: true, adds: true },
  { rows: 70, cols: 97, count: 67, hasBias: true },
  { rows: 130, cols: 64, count: 9, adds: true, mostBytes: 2600 },
]
const inBlocks: typeof shapes = [
  { rows: 12, cols: 20, count: 3, blocks: 4 },
  { rows: 10, cols: 70, count: 40, blocks: 2, adds: true },
  { rows: 15, cols: 64, count: 1, blocks: 5, mostBytes: 1000 },
]

for (const type of Object.keys(types) as Type[])
  gpuTest(`products of ${type}`, async (adapter) => {
    const hasBlocks = type === 'f32' || type === 'q8'
    // Shaders compile for seconds: the other way to multiply bytes for one type by rows and one in blocks.
    for (const canDot of type === 'q8' || type === 'q8k' ? [true, false] : [true]) {
      const device = await deviceOf(adapter, canDot)
      for (const [at, shape] of [...shapes, ...(hasBlocks ? inBlocks : [])].entries())
        await checkProduct(device, { seed: at + 1, type, ...shape })
    }
  })

test.run()
