/**
 * A quantised model as wide as blocks of 256 ask for, against llama.cpp's logits. llama.cpp rounds what enters a product, block
 * by block; this runtime does not with f32 weights. So a literal evaluation that rounds as it does must give the same numbers, which
 * shows that every weight is read as it is; and the engine must be as near as that rounding lets it be.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openGguf } from '../host/files/gguf/model.ts'
import { load } from '../host/index.ts'
import { golden, readJson, worst } from './fixtures/goldens.ts'
import { referenceLogits, type Weights } from './reference/reference.ts'

const expected: { tokens: number[]; logits: Record<string, number[]> } = readJson(golden('gguf/wide-expected.json'))
const names = Object.keys(expected.logits)
const path = (name: string) => golden(`gguf/wide-${name}.gguf`)

/** Ties to even. */
const nearest = (x: number) => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x))
const half = (x: number) => Math.f16round(x)

/** Numbers in blocks, each of them made of its own. */
const inBlocks = (width: number, round: (block: Float64Array) => Float64Array) => (x: Float64Array) =>
  Float64Array.from(
    Array.from({ length: x.length / width }, (_, i) => round(x.subarray(i * width, (i + 1) * width))).flatMap((block) =>
      Array.from(block),
    ),
  )

/** ggml's q8_0 for 4 and 8 bits: 32 numbers, the scale kept in f16. */
const roundQ8 = inBlocks(32, (block) => {
  const scale = Math.max(...block.map(Math.abs)) / 127
  return block.map((x) => nearest(x / scale) * half(scale))
})
/** Its q8_K for K types: 256 numbers, the largest becomes −127. */
const roundQ8K = inBlocks(256, (block) => {
  const peak = block.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0)
  const scale = peak / -127
  return block.map((x) => Math.min(127, nearest(x / scale)) * scale)
})

async function readWeights(name: string): Promise<{ config: Record<string, unknown>; weights: Weights }> {
  const { files, store } = await openGguf(path(name))
  const weights: Weights = new Map()
  for (const [tensor, { shape, type }] of store.tensors) {
    const count = shape.reduce((product, n) => product * n, 1)
    const data = await store.read(tensor, 0, count)
    weights.set(tensor, {
      shape: [...shape],
      data,
      ...(type === 'F32' ? {} : { enter: type.endsWith('_K') ? roundQ8K : roundQ8 }),
    })
  }
  await store.close()
  return { config: files.config as Record<string, unknown>, weights }
}

for (const name of names) {
  const logits = expected.logits[name] as number[]

  test(`${name}: with llama.cpp's rounding of activations, its logits to every digit`, async () => {
    const { config, weights } = await readWeights(name)
    const found = referenceLogits(config, weights, expected.tokens).at(-1) as Float64Array
    assert.is(found.length, logits.length)
    const difference = worst(found, logits)
    assert.ok(difference <= 5e-6, `${difference}`)
  })

  // Kept, the blocks are the file's, and activations are rounded as this engine does.
  for (const [type, cache] of [
    ['f32', 'f32'],
    ['f32', 'int8'],
    ['keep', 'f32'],
    ['keep', 'int8'],
  ] as const)
    test(`${name}, ${type}, ${cache} cache: within 2 % of the range of the logits, the same first`, async () => {
      const model = await load(path(name), { type, cache, threads: 1 })
      const found = await model.logits(expected.tokens)
      await model.close()
      const range = Math.max(...logits) - Math.min(...logits)
      const difference = worst(found, logits)
      assert.ok(difference <= 0.02 * range, `${difference} of ${range}`)
      assert.is(found.indexOf(Math.max(...found)), logits.indexOf(Math.max(...logits)))
    })
}

test.run()
