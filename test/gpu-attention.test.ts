/**
 * Attention on a GPU: bytes of cache rows against the other engine's pages, what enters W_o against an f64 twin of the plan
 * (f32 caches) and against what the other engine makes of it (both). Kinds and families in the shapes of their own files. Memory
 * that nobody may read is NaN, and what is not to be written stays so.
 */
import { readdirSync } from 'node:fs'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { MIXER_ATTENTION, WEIGHTS } from '../assembly/abi.ts'
import type { GpuLayer } from '../host/engine/gpu/plan.ts'
import type { Shapes } from '../models/family.ts'
import { type CacheType, describe } from '../models/index.ts'
import { gpuTest, isWhole, type TestAdapter } from './harness/gpu.ts'
import {
  type Case,
  deviceOf,
  GpuAttention,
  openCase,
  runWasm,
  type TestRow,
  wasmPages,
} from './harness/gpu-attention.ts'
import { enteringRows } from './reference/plan-attention.ts'

const TOKENS = 70

const rowsOf = (conversation: number, begin: number, end: number): TestRow[] =>
  Array.from({ length: end - begin }, (_, i) => ({ conversation, position: begin + i }))

/** Tiles of eight rows and of one, one conversation and two in a step, over the edge of a page. */
const steps = [
  rowsOf(0, 0, 61),
  [...rowsOf(0, 61, 66), ...rowsOf(1, 0, 3)],
  [...rowsOf(0, 66, 67), ...rowsOf(1, 3, 4)],
  rowsOf(0, 67, 68),
  rowsOf(0, 68, TOKENS),
]

/** Weights of the one engine, for the twin. */
const weightsOf = ({ engine }: Case, { rotation }: GpuLayer) => ({
  floats: (offset: number, length: number) => engine.floats(WEIGHTS + offset, length),
  frequencies: rotation ? engine.doubles(WEIGHTS + rotation.invFreq, rotation.dim / 2) : new Float64Array(),
})

/** W_o u (+ b) in f64. */
function outOf({ engine }: Case, layer: GpuLayer, u: Float32Array): number[] {
  const { data, rows, cols, stride } = layer.matrices.out
  const bias = layer.outBias ? engine.floats(WEIGHTS + layer.outBias, rows) : undefined
  return Array.from({ length: rows }, (_, r) => {
    const weights = engine.floats(WEIGHTS + data + r * stride, cols)
    return weights.reduce((sum, weight, c) => sum + weight * (u[c] as number), bias?.[r] ?? 0)
  })
}

function closeTo(found: ArrayLike<number>, expected: ArrayLike<number>, within: number, what: string): void {
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs((found[i] as number) - (expected[i] as number))
    assert.ok(error <= within, `${what}, number ${i}: ${found[i]}, not ${expected[i]}`)
  }
}

interface Wanted {
  cache: CacheType
  /** Are cache rows the same bits? Not behind norms that are summed in another order: f32 is then compared as numbers. */
  isExact: boolean
  /** Largest differences of what enters W_o from the twin's, and of what leaves it from the other engine's. */
  twin: number
  other: number
}

function checkPages(
  found: readonly Uint8Array[],
  expected: readonly Uint8Array[],
  { cache, isExact }: Wanted,
  label: string,
) {
  for (const [p, page] of expected.entries()) {
    const own = found[p] as Uint8Array
    if (isExact) {
      const at = page.findIndex((byte, i) => byte !== own[i])
      assert.is(at, -1, `${label}, byte ${at} of page ${p}: ${own[at]}, not ${page[at]}`)
    } else if (cache === 'f32') {
      // NaN, which nobody wrote, is the same on both sides.
      const numbers = new Float32Array(page.slice().buffer)
      for (const [i, value] of new Float32Array(own.slice().buffer).entries())
        assert.ok(
          !(Math.abs(value - (numbers[i] as number)) > 1e-6 * Math.max(1, Math.abs(value))),
          `${label}, page ${p}`,
        )
    }
  }
}

async function check(adapter: TestAdapter, name: string, config: object, wanted: Wanted, keyBias = 0): Promise<void> {
  const gpu = await deviceOf(adapter)
  const one = openCase(describe(config), wanted.cache, 64, name.length, keyBias)
  const kinds = new Map(one.plan.layersInOrder.map((layer) => [layer.is, layer]))
  for (const layer of kinds.values()) {
    if (layer.is.mixer !== MIXER_ATTENTION) continue
    const label = `${name}, layer ${layer.index}, ${wanted.cache}`
    const device = await GpuAttention.open(gpu, one, layer)
    const twin = enteringRows(layer, weightsOf(one, layer), rowsOf(0, 0, TOKENS).map(one.input))
    for (const rows of steps) {
      const expected = runWasm(one, layer.index, rows)
      for (const [i, u] of (await device.run(rows)).entries()) {
        const { conversation, position } = rows[i] as TestRow
        const what = `${label}, position ${position} of ${conversation}`
        if (conversation === 0) closeTo(u, twin[position] as number[], wanted.twin, what)
        closeTo(outOf(one, layer, u), expected[i] as Float32Array, wanted.other, `${what}, behind W_o`)
      }
    }
    checkPages(await device.pages(), wasmPages(one, layer), wanted, label)
  }
}

/** A shape from the file of its kind or family: see the end of its name. */
const files = ['kinds', 'families'].flatMap((folder) => {
  const url = new URL(`../models/${folder}/`, import.meta.url)
  return readdirSync(url).map((file) => new URL(file, url).href)
})
const sets: { shapes: Shapes }[] = await Promise.all(files.map((file) => import(file)))
const shapes = new Map(sets.flatMap((set) => Object.entries(set.shapes())))

/** Compiling shaders is what takes the time, so there is one shape for each thing that is computed otherwise. */
const few = [
  'gta, expand rate 3, latent of 6',
  'mla, low-rank query, biases, halves',
  'tied, biases',
  'gemma2, a window of 5, 3 heads of 6',
  'hunyuan, 4 heads of 10 over 2, a factor of the base, biases, untied',
  'qwen3_5 within a model that sees, a value head of 18, biases, untied',
]
const more = [
  'gqa, head of 256, qkv bias',
  'gva with as many maps as heads',
  'gla, 6 heads of 6',
  'mqa, 64 heads of 2, all biases',
  'olmo2, 6 heads of 10 over 3, biases, untied',
]
const wanted = isWhole ? [...few, ...more] : few

/** The kind of the paper on both adapters. */
const on = (name: string) => (name.startsWith('gta') ? {} : { on: ['lavapipe'] as const })

for (const name of wanted) {
  const run = async (adapter: TestAdapter) => {
    const config = shapes.get(name)
    assert.ok(config, `no shape "${name}"`)
    const isExact = !/hunyuan|olmo2/.test(name)
    await check(adapter, name, config, { cache: 'f32', isExact, twin: 1e-5, other: 1e-5 })
    await check(adapter, name, config, { cache: 'int8', isExact, twin: 0.1, other: isExact ? 1e-4 : 1e-2 })
  }
  gpuTest(name, run, on(name))
}

gpuTest(
  'large biases of keys, kept apart from an int8 cache',
  async (adapter) => {
    const config = shapes.get('gpt_neox, 3 heads of 6, 2 rotated')
    assert.ok(config)
    await check(adapter, 'key biases', config, { cache: 'int8', isExact: true, twin: 0.3, other: 1e-3 }, 100)
  },
  { on: ['lavapipe'] },
)

test.run()
