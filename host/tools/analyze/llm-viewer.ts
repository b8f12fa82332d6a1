/**
 * The cost convention of LLM-Viewer (hahnyuan/LLM-Viewer; the GTA authors' copy: plm-team/GTA `llm_viewer/`, commit d56d00c),
 * formula by formula with its defects, so that published figures can be compared: SPEC §8 lists them as (a) to (m), and the
 * letters below are those. `exact.ts` is what is right. test/golden/llm-viewer has the tool's own numbers.
 */
import { attentionOf, keyDim, type LayerSpec, type ModelSpec, slotOf } from '../../../models/index.ts'
import { errors } from '../../errors.ts'
import { toolErrors } from '../errors.ts'
import type { Hardware } from './hardware.ts'
import type { Operation } from './operation.ts'
import { type Convention, noTraffic, type Pass, type Traffic } from './walk.ts'

/** Bits of weights, activations and cached numbers. */
export interface Widths {
  weights: number
  activations: number
  cache: number
}

/** Sizes as the tool's config files read them. */
interface Shape {
  maps: number
  queryDim: number
  keyHeads: number
  keyDim: number
  valueHeads: number
  valueDim: number
  /** (in, out) of each linear map. */
  linear: Map<string, [number, number]>
}

/** The order in which the tool adds up, which is that of its loops. */
const order = [
  ...['q_proj', 'k_proj', 'v_proj', 'out_proj', 'v2o_proj', 'g_proj', 'gate_proj', 'up_proj', 'down_proj'],
  ...['qk_matmul', 'sv_matmul', 'softmax', 'fused_attention'],
  ...['attn_norm', 'mlp_norm', 'output_add', 'gate_act', 'attn_add', 'mlp_add', 'mlp_act', 'lm_head'],
]

/** Throws BAD_OPTION for a model that the tool has no formulas for, or widths that the device has no peak for. */
export function llmViewerConvention(spec: ModelSpec, hardware: Hardware, widths: Widths): Convention {
  const shape = shapeOf(spec)
  const isInt8 = widths.weights <= 8 && widths.activations <= 8 && widths.cache <= 8
  const format = isInt8 ? 'INT8' : 'FP16'
  const peak = hardware.peak[format]?.value
  // (m) The tool stops with a KeyError here.
  if (peak === undefined) throw toolErrors.noPeak(hardware.name, format, Object.keys(hardware.peak))
  const limits = { peak, bandwidth: hardware.bandwidth.peak.value }
  const buffer = hardware.onchipBuffer.value
  return {
    mode: 'llm-viewer',
    order: (operations) =>
      operations
        .filter(({ name }) => order.includes(name))
        .sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name)),
    count: (operation, pass) => count(spec, shape, widths, buffer, operation, pass),
    limits: () => limits,
  }
}

/** The tool has two files of formulas: Llama's, and one for grouped latent values with a gate. */
function shapeOf(spec: ModelSpec): Shape {
  const { hiddenDim: hidden } = spec
  const layer = spec.layers[0] as LayerSpec
  const attention = attentionOf(layer)
  if (!attention) throw noFormulas(spec)
  const ffn = layer.ffn.width
  const { maps, key, value, decoder, encoder, query, gate } = attention
  const [keySlot, valueSlot] = [slotOf(attention, key[0] as (typeof key)[number]), slotOf(attention, value)]
  const isPlain = isLlamaLike(spec) && key.length === 1 && keySlot !== valueSlot && !encoder && !query
  const ffnMaps: [string, [number, number]][] = [
    ['gate_proj', [hidden, ffn]],
    ['up_proj', [hidden, ffn]],
    ['down_proj', [ffn, hidden]],
  ]
  if (isPlain && decoder && gate) {
    const sizes = { maps, queryDim: keyDim(attention), keyHeads: keySlot.heads, keyDim: keySlot.dim }
    return {
      ...sizes,
      valueHeads: valueSlot.heads,
      valueDim: valueSlot.dim,
      linear: new Map([
        ['q_proj', [hidden, sizes.queryDim * maps]],
        ['k_proj', [hidden, sizes.keyDim * sizes.keyHeads]],
        ['v_proj', [hidden, valueSlot.dim * valueSlot.heads]],
        ['out_proj', [hidden, hidden]],
        ['v2o_proj', [maps * valueSlot.dim, Math.floor(hidden / maps)]],
        ['g_proj', [hidden, hidden]],
        ...ffnMaps,
      ]),
    }
  }
  const isLlama = isPlain && !decoder && keySlot.heads === valueSlot.heads && keySlot.dim === valueSlot.dim
  if (!isLlama) throw noFormulas(spec)
  // (i) head_dim of the config is not looked at.
  const dim = Math.floor(hidden / maps)
  const cached = Math.floor((hidden * keySlot.heads) / maps)
  return {
    maps,
    queryDim: dim,
    keyHeads: keySlot.heads,
    keyDim: dim,
    valueHeads: keySlot.heads,
    valueDim: dim,
    linear: new Map([
      ['q_proj', [hidden, hidden]],
      ['k_proj', [hidden, cached]],
      ['v_proj', [hidden, cached]],
      ['out_proj', [hidden, hidden]],
      ...ffnMaps,
    ]),
  }
}

function noFormulas(spec: ModelSpec): Error {
  return errors.badOption(
    '--mode llm-viewer',
    'left out for this model: the tool has formulas for Llama (MHA, GQA) and GTA only',
    spec.kind,
  )
}

/** The tool knows one layer: two RMSNorms, attention to all tokens, a gated feed-forward block. */
function isLlamaLike({ layers, embedding, head }: ModelSpec): boolean {
  const [layer, ...others] = layers
  if (!layer || others.length > 0 || embedding.positions !== undefined || head.softcap !== undefined) return false
  const { ffn, norms, isParallel } = layer
  const mixer = attentionOf(layer)
  if (!mixer) return false
  const hasMore = norms.mixerOut || norms.ffnOut || mixer.queryNorm || isParallel || !ffn.isGated || ffn.bias
  return !hasMore && mixer.window === undefined && mixer.softcap === undefined
}

function count(
  { hiddenDim: hidden, vocabSize, layers }: ModelSpec,
  shape: Shape,
  widths: Widths,
  buffer: number,
  { name }: Operation,
  { stage, batch: b, seqlen: s }: Pass,
): Traffic | undefined {
  const [w, a, kv] = [widths.weights / 8, widths.activations / 8, widths.cache / 8]
  const t = stage === 'prefill' ? s : 1
  const ffn = layers[0]?.ffn.width ?? 0
  const { maps, queryDim, keyHeads, keyDim, valueHeads, valueDim } = shape
  const linear = shape.linear.get(name)
  if (linear) {
    const [ic, oc] = linear
    const isCached = name === 'k_proj' || name === 'v_proj'
    return {
      ...noTraffic,
      operations: ic * oc * b * t * 2,
      macs: ic * oc * b * t,
      weights: ic * oc * w,
      loads: ic * b * t * a,
      stores: isCached ? 0 : oc * b * t * a,
      cacheWrites: isCached ? oc * b * t * kv : 0,
    }
  }
  // (c) Every token attends to all, those behind it too; (g) in decode to those before it and not to itself.
  const scores = t * s * maps * b
  const qk = { macs: scores * queryDim, operations: scores * queryDim * 2 }
  const sv = { macs: scores * valueDim, operations: scores * valueDim * 2 }
  const elementwise = (operations: number, loads: number, stores: number): Traffic => ({
    ...noTraffic,
    operations,
    loads: loads * a,
    stores: stores * a,
  })
  const row = hidden * b * t
  switch (name) {
    case 'qk_matmul':
      return {
        ...noTraffic,
        ...qk,
        // (b) In prefill the keys, which are read from the cache as well; the queries never.
        loads: (stage === 'decode' ? queryDim * maps * b : s * keyDim * keyHeads * b) * a,
        stores: scores * a,
        cacheReads: s * keyDim * keyHeads * b * kv,
      }
    case 'sv_matmul':
      return {
        ...noTraffic,
        ...sv,
        loads: scores * a,
        stores: t * valueDim * maps * b * a,
        cacheReads: s * valueDim * valueHeads * b * kv,
      }
    case 'softmax':
      return elementwise(scores * 5, scores, scores)
    case 'fused_attention': {
      // (h) The smaller of the two is the width of a query, whatever the buffer.
      const block = Math.min(Math.ceil(buffer / (kv * queryDim)), queryDim)
      return {
        ...noTraffic,
        macs: qk.macs + sv.macs,
        operations: qk.operations + sv.operations + scores * 5,
        loads: t * queryDim * maps * b * a,
        // (a) The scores, twice, where the averages are meant.
        stores: scores * a * 2,
        cacheReads: Math.ceil(t / block) * s * b * (valueDim * valueHeads + keyDim * keyHeads) * kv,
      }
    }
    case 'attn_norm':
    case 'mlp_norm':
      return elementwise(row * 7, row, row)
    // (e) One operand of two is read.
    case 'output_add':
    case 'attn_add':
    case 'mlp_add':
      return elementwise(row, row, row)
    case 'gate_act':
      return elementwise(row * 5, row * 2, row)
    case 'mlp_act':
      // (d) The result is counted as wide as the residual stream.
      return elementwise(ffn * b * t * 5, ffn * b * t * 2, row)
    case 'lm_head':
      // (f) The rows of a batch are not counted in its activations.
      return {
        ...noTraffic,
        operations: b * hidden * vocabSize * 2,
        macs: b * hidden * vocabSize,
        weights: hidden * vocabSize * w,
        loads: hidden * a,
        stores: vocabSize * a,
      }
  }
  return undefined
}
