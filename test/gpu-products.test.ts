/** Products of q8 with few vectors on a GPU; gpu-products-all.test.ts has all types and forms, whose shaders compile for long. */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { gridOf } from '../host/engine/gpu/products-forms.ts'
import { gpuTest } from './harness/gpu.ts'
import { checkProduct, deviceOf } from './harness/gpu-products.ts'

gpuTest('products of q8: tails, bands, bias, sums, one matrix per map', async (adapter) => {
  const device = await deviceOf(adapter, true)
  const check = (seed: number, shape: Omit<Parameters<typeof checkProduct>[1], 'seed' | 'type' | 'most'>) =>
    checkProduct(device, { seed, type: 'q8', most: 8, ...shape })
  await check(1, { rows: 1, cols: 1, count: 1 })
  await check(2, { rows: 33, cols: 300, count: 1, hasBias: true, adds: true })
  await check(3, { rows: 65, cols: 130, count: 8, adds: true, mostBytes: 2600 })
  await check(4, { rows: 12, cols: 20, count: 3, blocks: 4 })
  await check(5, { rows: 15, cols: 64, count: 1, blocks: 5, mostBytes: 400 })
})

test('workgroups in two dimensions are enough, and few too many', () => {
  for (const total of [0, 1, 65535, 65536, 70001, 3_000_000]) {
    const [x, y] = gridOf(total)
    assert.ok(x <= 65535 && y <= 65535 && x * y >= total && x * y < total + Math.max(1, y), `${total}: ${x} × ${y}`)
  }
})

test.run()
