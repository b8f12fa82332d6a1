/**
 * Every field that a layer or a model may have, in small models made of nothing but a spec: logits in f32 against an f64
 * evaluation of the same spec (spec-reference.ts), fed at once, token by token and in threes, by one thread and by three. And
 * each field matters: an evaluation without it is far away.
 */
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { KvCache } from '../../host/cache/cache.ts'
import type { Weights as EngineWeights } from '../../host/engine/engine.ts'
import { type Build, debugBuild } from '../../host/engine/wasm/builds.ts'
import { openWasmEngine } from '../../host/engine/wasm/engine.ts'
import type { Checkpoint } from '../../host/files/checkpoint.ts'
import { packTensors } from '../../host/files/tensors.ts'
import {
  arrange,
  type FeedForward,
  type LayerSpec,
  layerOf,
  layerTensors,
  type ModelDescription,
  type ModelSpec,
  type Norm,
  planModel,
  type Source,
} from '../../models/index.ts'
import { grouped } from '../../models/kinds/gqa.ts'
import { snakeCase } from '../../models/plan.ts'
import { random } from '../fixtures/checkpoints.ts'
import { worst } from '../fixtures/goldens.ts'
import { logitsOf, relaxedSingle, strict } from '../harness/engines.ts'
import type { Weights } from '../reference/reference.ts'
import { specLogits } from '../reference/spec-reference.ts'

/** Longer than a page, so that windows begin in the middle of one, and leave whole ones behind. */
const LENGTH = 150
const rms: Norm = { kind: 'rms', eps: 1e-3 }
const layerNorm: Norm = { kind: 'layer', eps: 1e-2 }
const shape = { maps: 4, keyHeads: 2, keyDim: 6, valueHeads: 2, valueDim: 10, bias: { in: false, out: false } }
const rope = { dim: 6, theta: 100 }
const ffn: FeedForward = { width: 19, activation: 'silu', isGated: true, bias: false }
const base: LayerSpec = {
  mixer: grouped({ ...shape, rope }),
  ffn,
  norms: { mixerIn: rms, ffnIn: rms },
  isParallel: false,
}
const mixer = (change: Partial<Parameters<typeof grouped>[0]>): LayerSpec => ({
  ...base,
  mixer: grouped({ ...shape, rope, ...change }),
})

function modelOf(layers: LayerSpec[], change: Partial<ModelSpec> = {}): ModelSpec {
  return {
    kind: 'gqa',
    vocabSize: 45,
    hiddenDim: 22,
    maxContext: 192,
    embedding: { scale: 1 },
    ...arrange(layers),
    head: { norm: rms, isTied: true, bias: false },
    eos: [],
    ...change,
  }
}

type Weight = { shape: number[]; data: Float32Array }

interface Case {
  spec: ModelSpec
  /** The same without what the case is about. */
  without: ModelSpec
}

const plain = modelOf([base, base])
const withLayer = (layer: LayerSpec, without = plain): Case => ({ spec: modelOf([layer, layer]), without })
const withFfn = (change: Partial<FeedForward>, without?: Partial<FeedForward>): Case => ({
  spec: modelOf([1, 2].map(() => ({ ...base, ffn: { ...ffn, ...change } }))),
  without: modelOf([1, 2].map(() => ({ ...base, ffn: { ...ffn, ...change, ...without } }))),
})
const allNorms = { mixerIn: rms, mixerOut: rms, ffnIn: rms, ffnOut: rms }
const gpt2: LayerSpec = {
  mixer: grouped({ ...shape, bias: { in: true, out: true } }),
  ffn: { width: 33, activation: 'gelu-tanh', isGated: false, bias: true },
  norms: { mixerIn: layerNorm, ffnIn: layerNorm },
  isParallel: false,
}
const narrow = { ...base, ffn: { ...ffn, width: 3 } }
const few = (change: Partial<Parameters<typeof grouped>[0]>) =>
  mixer({ maps: 2, keyHeads: 1, valueHeads: 1, valueDim: 3, ...change })
const { ffnIn: _, ...mixerInOnly } = base.norms
const conv = (bias: boolean): LayerSpec => ({
  ...base,
  mixer: { is: 'conv', taps: 4, channels: 22, bias },
  norms: allNorms,
})
/** Three value heads for each of two key heads; sixteen columns of a state and two more. */
const delta = (isTiled: boolean): LayerSpec => ({
  ...base,
  mixer: { is: 'delta', taps: 3, keyHeads: 2, keyDim: 5, valueHeads: 6, valueDim: 18, isTiled, eps: 1e-2 },
})

const cases: Record<string, Case> = {
  'a window of 5': withLayer(mixer({ window: 5 })),
  'a window of 64': withLayer(mixer({ window: 64 })),
  'a window of 65 in the second layer': { spec: modelOf([base, mixer({ window: 65 })]), without: plain },
  'a window of 1: a token sees itself': withLayer(mixer({ window: 1 })),
  'no rotation': withLayer(mixer({ rope: undefined })),
  'no rotation in the second layer': { spec: modelOf([base, mixer({ rope: undefined })]), without: plain },
  'a rotation of its own in the second layer': {
    spec: modelOf([base, mixer({ rope: { dim: 6, theta: 3, magnitude: 1.2 } })]),
    without: plain,
  },
  'a part of each head is rotated': withLayer(mixer({ rope: { dim: 2, theta: 100 } })),
  'queries and keys normed head by head': withLayer(mixer({ norm: { eps: 1e-2, spans: 'head' } })),
  'queries and keys normed as one': withLayer(
    mixer({ norm: { eps: 1e-2, spans: 'all' } }),
    modelOf([1, 2].map(() => mixer({ norm: { eps: 1e-2, spans: 'head' } }))),
  ),
  'queries normed behind their rotation': withLayer(
    mixer({ norm: { eps: 1e-2, spans: 'head' }, queryNorm: { eps: 1e-2, spans: 'turned' } }),
    modelOf([1, 2].map(() => mixer({ norm: { eps: 1e-2, spans: 'head' } }))),
  ),
  'capped scores': withLayer(mixer({ softcap: 0.7 })),
  'capped scores within a window': withLayer(mixer({ softcap: 0.7, window: 70 }), modelOf([1, 2].map(() => mixer({ window: 70 })))),
  'another scale': withLayer(mixer({ scale: 0.9 })),
  gelu: withFfn({ activation: 'gelu' }, { activation: 'gelu-tanh' }),
  'gelu-tanh': withFfn({ activation: 'gelu-tanh' }, { activation: 'gelu' }),
  relu2: withFfn({ activation: 'relu2' }, { activation: 'silu' }),
  'silu without a gate': withFfn({ isGated: false }, { activation: 'relu2' }),
  'gelu without a gate': withFfn({ isGated: false, activation: 'gelu' }, { activation: 'gelu-tanh' }),
  'relu2 without a gate': withFfn({ isGated: false, activation: 'relu2' }, { activation: 'silu' }),
  'biases of the feed-forward block': withFfn({ bias: true }, { bias: false }),
  'norms behind both blocks': withLayer({ ...base, norms: allNorms }),
  'norms behind both blocks and none before': withLayer({ ...base, norms: { mixerOut: rms, ffnOut: rms } }),
  'a norm before the mixer alone': withLayer({ ...base, norms: mixerInOnly }),
  'layer norms': withLayer({ ...base, norms: { mixerIn: layerNorm, mixerOut: layerNorm, ffnIn: layerNorm, ffnOut: layerNorm } }, modelOf([1, 2].map(() => ({ ...base, norms: allNorms })))),
  'a parallel layer': withLayer({ ...base, isParallel: true }),
  'a parallel layer without a norm before its feed-forward block': withLayer(
    { ...base, norms: mixerInOnly, isParallel: true },
    modelOf([1, 2].map(() => ({ ...base, norms: mixerInOnly }))),
  ),
  'a parallel layer with norms behind': withLayer({ ...base, norms: allNorms, isParallel: true }, modelOf([1, 2].map(() => ({ ...base, norms: allNorms })))),
  'a short convolution with biases before attention': {
    spec: modelOf([conv(true), base]),
    without: modelOf([conv(false), base]),
  },
  'a delta net whose value heads go through the key heads over and over': {
    spec: modelOf([base, delta(true)]),
    without: modelOf([base, delta(false)]),
  },
  'layers of other widths': {
    spec: modelOf([narrow, base, { ...few({ window: 9 }), ffn: { ...ffn, width: 40 } }, base]),
    without: modelOf([narrow, base, { ...few({}), ffn: { ...ffn, width: 40 } }, base]),
  },
  'a scale of the embedding, tied': { spec: modelOf([base], { embedding: { scale: 3 } }), without: modelOf([base]) },
  'learned positions': { spec: modelOf([gpt2], { embedding: { scale: 1, positions: 192 } }), without: modelOf([gpt2]) },
  'capped logits': { spec: modelOf([base], { head: { ...plain.head, softcap: 2 } }), without: modelOf([base]) },
  'an untied head with a bias': {
    spec: modelOf([base], { head: { ...plain.head, isTied: false, bias: true } }),
    without: modelOf([base], { head: { ...plain.head, isTied: false } }),
  },
  'a layer norm before the head': { spec: modelOf([base], { head: { ...plain.head, norm: layerNorm } }), without: modelOf([base]) },
} // biome-ignore format: a table

/** A model whose checkpoint has the plan's own tensors, and random weights for it. */
function describeSpec(spec: ModelSpec, seed: number): { model: ModelDescription; weights: Weights } {
  const next = random(seed)
  const weights: Weights = new Map()
  const source = (name: string, shape: number[]): Source[] => {
    if (!weights.has(name)) {
      const isNorm = name.endsWith('norm')
      const spread =
        shape.length === 2 && !/embed|positions/.test(name) ? 1.7 / Math.sqrt(shape[1] as number) : isNorm ? 0.5 : 0.8
      const length = shape.reduce((product, n) => product * n, 1)
      const data = Float32Array.from({ length }, () => (next() * 2 - 1) * spread + (isNorm ? 1 : 0))
      weights.set(name, { shape, data })
    }
    return [{ tensor: name, shape }]
  }
  const { hiddenDim, vocabSize, head, embedding } = spec
  const layer = (index: number) =>
    Object.fromEntries(
      layerTensors(layerOf(spec, index), hiddenDim).map((tensor) => [
        tensor.name,
        source(
          `layers.${index}.${snakeCase(tensor.name)}`,
          tensor.is === 'vector' ? [tensor.rows] : [tensor.rows, tensor.cols],
        ),
      ]),
    )
  const isLayerNorm = head.norm.kind === 'layer'
  const sources = {
    embed: source('embed', [vocabSize, hiddenDim]),
    ...(embedding.positions ? { positions: source('positions', [embedding.positions, hiddenDim]) } : {}),
    norm: source('norm', [hiddenDim]),
    ...(isLayerNorm ? { normBias: source('norm_bias', [hiddenDim]) } : {}),
    head: head.isTied ? [] : source('head', [vocabSize, hiddenDim]),
    ...(head.bias ? { headBias: source('head_bias', [vocabSize]) } : {}),
    layer,
    isRedundant: () => false,
  }
  for (let index = 0; index < spec.order.length; index++) layer(index)
  return { model: { spec, sources }, weights }
}

async function open(
  { model, weights }: ReturnType<typeof describeSpec>,
  build: Build,
  threads: number,
): Promise<KvCache> {
  const plan = planModel(model, 'f32')
  const read = async (name: string, from: number, count: number) =>
    (weights.get(name)?.data ?? new Float32Array()).slice(from, from + count)
  const checkpoint = { model, read } as unknown as Checkpoint
  const options = { context: 192, cache: 'f32' as const, maxRows: 64, maxLogits: 64, conversations: 1, threads }
  const load = (target: EngineWeights) => packTensors(checkpoint, plan, target.write)
  return new KvCache(await openWasmEngine({ spec: model.spec, plan, options, build, load }))
}

/** Logits of every position. */
async function run(engine: KvCache, ids: number[], slice: number): Promise<Float32Array[]> {
  engine.rewind(0, 0)
  return logitsOf(engine, ids, slice)
}

/** One thread takes every way; the others must have the same bits. */
const engines: [Build, number, number[]][] = [
  [relaxedSingle, 1, [64, 3, 1]],
  [strict, 3, [64, 50]],
  [debugBuild, 1, [64]],
]

for (const [name, { spec, without }] of Object.entries(cases))
  test(name, async () => {
    const next = random(name.length + 1)
    const ids = Array.from({ length: LENGTH }, () => Math.floor(next() * spec.vocabSize))
    const described = describeSpec(spec, name.length)
    const expected = specLogits(spec, described.weights, ids)
    // What the other has besides, such as a norm, is random too.
    const others = describeSpec(without, 1).weights
    for (const key of others.keys()) others.set(key, described.weights.get(key) ?? (others.get(key) as Weight))
    const other = specLogits(without, others, ids)
    const far = Math.max(...expected.map((row, t) => worst(other[t] ?? [], row)))
    assert.ok(far > 1e-3, `without it the logits differ by ${far} only`)
    let first: Float32Array[] | undefined
    for (const [build, threads, slices] of engines) {
      const engine = await open(described, build, threads)
      try {
        for (const slice of slices) {
          const found = await run(engine, ids, slice)
          first ??= found
          for (const [t, row] of found.entries()) {
            const difference = worst(row, expected[t] as Float64Array)
            assert.ok(difference <= 1e-4, `${build.name}, position ${t}: ${difference}`)
          }
          assert.equal(found, first, `${build.name}, ${threads} threads, slices of ${slice}`)
        }
      } finally {
        await engine.close()
      }
    }
  })

test.run()
