/**
 * A literal f64 transcription of every attention kind, from config.json and checkpoint tensors, that shares nothing with
 * models/: per-head loops, keys and values written out, no cache, no absorption, no folding. Slow and plain on purpose.
 */

import { literalOf, underLlamasNames } from './families.ts'
import { causalConvolution, deltaNet, shortConvolution } from './state.ts'

/** One tensor, one row behind the other. */
export interface Weight {
  shape: number[]
  data: Float32Array
  /** What a product with it makes of its input first: some engines round it. */
  enter?: (x: Float64Array) => Float64Array
}
export type Weights = Map<string, Weight>
type Config = Record<string, unknown>
export type Rows = Float64Array[]

/** Logits (tokens, vocabSize) of a whole text. */
export function referenceLogits(own: Config, ownWeights: Weights, ids: number[]): Rows {
  const { config, weights } = underLlamasNames(own, ownWeights)
  const { eps, normPlus, norms, ...is } = literalOf(config)
  const row = (name: string, index: number) => {
    const { shape, data } = tensor(weights, name)
    const width = at(shape, 1)
    return Float64Array.from(data.subarray(index * width, (index + 1) * width))
  }
  const x: Rows = ids.map((id) => row('model.embed_tokens.weight', id).map((e) => e * is.embeddingScale))
  if (is.hasPositions)
    addRows(
      x,
      ids.map((_, position) => row('model.positions.weight', position)),
    )
  const f = activations[is.activation]
  for (let layer = 0; layer < Number(config.num_hidden_layers); layer++) {
    const name = `model.layers.${layer}`
    const normed = (place: keyof typeof norms, rows: Rows) =>
      norms[place] === undefined ? rows : norm(weights, `${name}.${norms[place]}`, rows, eps, normPlus)
    const mlp = (part: string, rows: Rows) => linear(weights, `${name}.mlp.${part}_proj`, rows)
    const branch = (rows: Rows) => rows.map((row) => row.map((value) => value * is.branchFactor))
    const before = x.map((row) => row.slice())
    const input = normed('mixerIn', x)
    const mixed = {
      attention: () => attention(config, weights, `${name}.self_attn`, input),
      conv: () => convolution(config, weights, `${name}.conv`, input),
      delta: () => gatedDelta(config, weights, `${name}.linear_attn`, input, eps),
    }[is.mixer(layer)]()
    addRows(x, branch(normed('mixerOut', mixed)))
    const z = normed('ffnIn', is.isParallel ? before : x)
    const up = mlp('up', z)
    const entering = is.isGated
      ? mlp('gate', z).map((row, t) => row.map((g, i) => f(g) * at(up[t], i)))
      : up.map((row) => row.map(f))
    addRows(x, branch(normed('ffnOut', mlp('down', entering))))
  }
  const logits = linear(
    weights,
    weights.has('lm_head.weight') ? 'lm_head' : 'model.embed_tokens',
    norm(weights, 'model.norm', x, eps, normPlus),
  ).map((row) => row.map((logit) => logit * is.logitFactor))
  return is.logitCap ? logits.map((row) => row.map((logit) => is.logitCap * Math.tanh(logit / is.logitCap))) : logits
}

export const silu = (x: number) => x / (1 + Math.exp(-x))
export const geluTanh = (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))

export const activations = {
  silu,
  'gelu-tanh': geluTanh,
  gelu: (x: number) => (x * (1 + erf(x / Math.SQRT2))) / 2,
  relu2: (x: number) => Math.max(x, 0) ** 2,
}

/** Near 0 by its series, else by the continued fraction of erfc; right to 1e-13. */
export function erf(x: number): number {
  const size = Math.abs(x)
  if (size > 3) {
    let fraction = 0
    for (let k = 80; k > 0; k--) fraction = k / 2 / (size + fraction)
    return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction))
  }
  let term = x
  let sum = x
  for (let n = 1; n < 100; n++) {
    term *= (-x * x) / n
    sum += term / (2 * n + 1)
  }
  return (2 / Math.sqrt(Math.PI)) * sum
}

/** How GTA's value decoder is applied: to the average of the latents, or to every latent before it. Both are the same. */
export type GtaOrder = 'decode-then-attend' | 'attend-then-decode'

export function attention(config: Config, weights: Weights, name: string, x: Rows, order?: GtaOrder): Rows {
  const project = (part: string, rows = x) => linear(weights, `${name}.${part}`, rows)
  const theta = Number(config.rope_theta ?? 10000)
  const number = (field: string, fallback?: number) => Number(config[field] ?? fallback)
  const nHeads = number('num_attention_heads')
  const kind = String(config.attention_kind)

  if (kind === 'gta') {
    const [maps, d, latentDim] = [number('num_query_heads'), number('head_dim'), number('value_dim')]
    const [keyHeads, valueHeads] = [number('num_key_heads'), number('num_value_heads')]
    const [q, k, c] = [project('q_proj'), project('k_proj'), project('v_proj')]
    const width = number('hidden_size') / maps
    const flat = tensor(weights, `${name}.v_b_proj.weight`).data
    const decode = (map: number) => (row: Float64Array) =>
      Float64Array.from({ length: width }, (_, b) => {
        let sum = at(row, b % latentDim)
        for (let a = 0; a < latentDim; a++) sum += at(row, a) * at(flat, (map * latentDim + a) * width + b)
        return sum
      })
    const heads = Array.from({ length: maps }, (_, map) => {
      const queries = rope(part(q, map * d, d), theta)
      const keys = rope(part(k, Math.floor((map * keyHeads) / maps) * d, d), theta)
      const latents = part(c, Math.floor((map * valueHeads) / maps) * latentDim, latentDim)
      return order === 'attend-then-decode'
        ? attend(queries, keys, latents, d ** -0.5).map(decode(map))
        : attend(queries, keys, latents.map(decode(map)), d ** -0.5)
    })
    const gate = project('g_proj')
    return project(
      'o_proj',
      join(heads).map((row, t) => row.map((u, i) => u / (1 + Math.exp(-at(gate[t], i))))),
    )
  }

  if (config.kv_lora_rank !== undefined) {
    const [plain, turned, dv, rank] = [
      number('qk_nope_head_dim'),
      number('qk_rope_head_dim'),
      number('v_head_dim', number('hidden_size') / nHeads),
      number('kv_lora_rank'),
    ]
    const q = config.q_lora_rank
      ? project('q_b_proj', norm(weights, `${name}.q_a_layernorm`, project('q_a_proj'), 1e-6))
      : project('q_proj')
    const low = project('kv_a_proj_with_mqa')
    const kv = project('kv_b_proj', norm(weights, `${name}.kv_a_layernorm`, part(low, 0, rank), 1e-6))
    const is = literalOf(config).attention(0)
    const isPaired = config.attention_kind === 'mla' ? config.rope_interleave !== false : is.isPaired
    const turn = (rows: Rows) => rope(rows, theta, { ...is, isPaired })
    const sharedKey = turn(part(low, rank, turned))
    const heads = Array.from({ length: nHeads }, (_, h) => {
      const own = part(q, h * (plain + turned), plain + turned)
      const queries = join([part(own, 0, plain), turn(part(own, plain, turned))])
      const block = part(kv, h * (plain + dv), plain + dv)
      return attend(queries, join([part(block, 0, plain), sharedKey]), part(block, plain, dv), (plain + turned) ** -0.5)
    })
    return project('o_proj', join(heads))
  }

  const d = number('head_dim', number('hidden_size') / nHeads)
  if (kind === 'tied') {
    const [turned, kvHeads] = [number('rope_dim', d / 2), number('num_key_value_heads')]
    const [q, kv, sharedKey] = [project('q_proj'), project('kv_proj'), rope(project('W_rope_k'), theta)]
    const heads = Array.from({ length: nHeads }, (_, h) => {
      const own = part(q, h * d, d)
      const state = part(kv, Math.floor((h * kvHeads) / nHeads) * d, d)
      const queries = join([part(own, 0, d - turned), rope(part(own, d - turned, turned), theta)])
      return attend(queries, join([part(state, 0, d - turned), sharedKey]), state, d ** -0.5)
    })
    return project('o_proj', join(heads))
  }

  if (kind === 'gla') {
    const turned = number('qk_rope_dim')
    const eps = number('rms_norm_eps')
    const q = project('W_uQ_rope', norm(weights, `${name}.q_norm`, project('W_dQ'), eps))
    const low = project('W_dKV')
    const sharedKey = rope(part(low, 4 * d, turned), theta)
    const kv = [0, 1].map((g) =>
      project(`W_ukv_${g + 1}`, norm(weights, `${name}.kv_norm_${g + 1}`, part(low, g * 2 * d, 2 * d), eps)),
    )
    const heads = Array.from({ length: nHeads }, (_, h) => {
      const group = h < nHeads / 2 ? 0 : 1
      const own = part(q, h * (d + turned), d + turned)
      const queries = join([part(own, 0, d), rope(part(own, d, turned), theta)])
      const block = part(kv[group] as Rows, (h - (group * nHeads) / 2) * 2 * d, 2 * d)
      return attend(queries, join([part(block, 0, d), sharedKey]), part(block, d, d), (d + turned) ** -0.5)
    })
    return project('o_proj', join(heads))
  }

  const kvHeads = number('num_key_value_heads', nHeads)
  const [maps, keyHeads, valueHeads] = [
    number('num_query_heads', nHeads),
    number('num_key_heads', kvHeads),
    number('num_value_heads', kvHeads),
  ]
  const { eps, normPlus, ...is } = { ...literalOf(config), ...literalOf(config).attention(Number(name.split('.')[2])) }
  const [q, k] = ['q', 'k'].map((one) => {
    const rows = project(`${one}_proj`)
    return is.norm === 'all' ? norm(weights, `${name}.${one}_norm`, rows, eps, normPlus) : rows
  }) as [Rows, Rows]
  const turned = (one: 'q' | 'k', rows: Rows) => {
    const normed = is.norm === 'head' ? norm(weights, `${name}.${one}_norm`, rows, eps, normPlus) : rows
    const width = is.rotated ?? d
    const rotated = join([rope(part(normed, 0, width), is.theta, is), part(normed, width, d - width)])
    if (is.norm !== 'behind') return rotated
    return norm(weights, `${name}.${one === 'q' ? 'query' : 'key'}_layernorm`, rotated, eps)
  }
  const v = project('v_proj')
  const heads = Array.from({ length: nHeads }, (_, h) => {
    const map = Math.floor(h / (nHeads / maps))
    const value = config.value_head_map === 'stride' ? h % valueHeads : Math.floor(h / (nHeads / valueHeads))
    const stride = is.hasGate ? 2 * d : d
    const queries = turned('q', part(q, map * stride, d))
    const keys = turned('k', part(k, Math.floor(map / (maps / keyHeads)) * d, d))
    const averages = attend(queries, keys, part(v, value * d, d), is.scale ?? d ** -0.5, is)
    if (!is.hasGate) return averages
    const gate = part(q, map * stride + d, d)
    return averages.map((row, t) => row.map((value, i) => value / (1 + Math.exp(-at(gate[t], i)))))
  })
  return project('o_proj', join(heads))
}

/** A depthwise convolution by its weight (channels, 1, taps). */
function depthwise(weights: Weights, name: string, x: Rows): Rows {
  const { shape, data } = tensor(weights, `${name}.weight`)
  const [, , taps = 0] = shape
  const bias = weights.get(`${name}.bias`)?.data
  return causalConvolution(
    x,
    taps,
    (tap, channel) => at(data, channel * taps + tap),
    (channel) => (bias ? at(bias, channel) : 0),
  )
}

/** LFM 2's. */
function convolution(_: Config, weights: Weights, name: string, x: Rows): Rows {
  const y = shortConvolution(linear(weights, `${name}.in_proj`, x), (rows) => depthwise(weights, `${name}.conv`, rows))
  return linear(weights, `${name}.out_proj`, y)
}

/** Qwen 3.5's. */
function gatedDelta(config: Config, weights: Weights, name: string, x: Rows, eps: number): Rows {
  const number = (field: string) => Number(config[`linear_${field}`])
  const [keyHeads, valueHeads] = [number('num_key_heads'), number('num_value_heads')]
  const project = (part: string) => linear(weights, `${name}.in_proj_${part}`, x)
  const qkv = depthwise(weights, `${name}.conv1d`, project('qkv')).map((row) => row.map(silu))
  const heads = {
    ...{ keyHeads, valueHeads, eps },
    keyDim: number('key_head_dim'),
    valueDim: number('value_head_dim'),
    keyHeadOf: (head: number) => Math.floor(head / (valueHeads / keyHeads)),
    decay: tensor(weights, `${name}.A_log`).data,
    norm: tensor(weights, `${name}.norm.weight`).data,
  }
  const { data: dt } = tensor(weights, `${name}.dt_bias`)
  const a = project('a').map((row) => row.map((value, i) => value + at(dt, i)))
  return linear(weights, `${name}.out_proj`, deltaNet(heads, qkv, project('z'), project('b'), a))
}

function tensor(weights: Weights, name: string) {
  const found = weights.get(name)
  if (!found) throw new Error(`the reference needs ${name}`)
  return found
}

export const at = (list: ArrayLike<number> | undefined, i: number) => list?.[i] as number

/** y = W x + b, b where there is one. */
function linear(weights: Weights, name: string, rows: Rows): Rows {
  return rowsTimes(tensor(weights, `${name}.weight`), rows, weights.get(`${name}.bias`)?.data)
}

/** y = W x + b, b where there is one; W is (outs, ins), one row behind the other. */
export function rowsTimes({ shape, data, enter = (x) => x }: Weight, rows: Rows, bias?: ArrayLike<number>): Rows {
  const [outs = 0, ins = 0] = shape
  return rows.map(enter).map((x) => {
    const y = new Float64Array(outs)
    for (let o = 0; o < outs; o++) y[o] = (bias ? at(bias, o) : 0) + dot(x, data, o * ins)
    return y
  })
}

/** Σ x[i] · y[from + i]. A loop as plain as this one, because most of the time of the tests that use it is spent here. */
function dot(x: Float64Array, y: ArrayLike<number>, from = 0): number {
  let sum = 0
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[from + i] as number)
  return sum
}

/** RMSNorm; LayerNorm where there is a bias. */
function norm(weights: Weights, name: string, rows: Rows, eps: number, plus = 0): Rows {
  const { data } = tensor(weights, `${name}.weight`)
  const bias = weights.get(`${name}.bias`)?.data
  return rows.map((x) => (bias ? layerNorm(x, data, bias, eps) : rmsNorm(x, data, eps, plus)))
}

export function layerNorm(x: Float64Array, weights: ArrayLike<number>, bias: ArrayLike<number>, eps: number) {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length
  const centred = x.map((value) => value - mean)
  return rmsNorm(centred, weights, eps).map((value, i) => value + at(bias, i))
}

export function rmsNorm(x: Float64Array, weights: ArrayLike<number>, eps: number, plus = 0): Float64Array {
  const factor = 1 / Math.sqrt(dot(x, x) / x.length + eps)
  return x.map((value, i) => value * factor * (at(weights, i) + plus))
}

/** How heads are rotated besides the base. */
interface Turning {
  /** Neighbours 2i and 2i + 1 are a pair, instead of i and i + r/2 (half layout). */
  isPaired?: boolean
  /** What each pair's frequency is divided by. */
  factors?: number[] | undefined
  /** Of cos and sin. */
  magnitude?: number
}

export function rope(rows: Rows, theta: number, { isPaired = false, factors, magnitude = 1 }: Turning = {}): Rows {
  return rows.map((x, t) => {
    const half = x.length / 2
    return x.map((value, i) => {
      const pair = isPaired ? Math.floor(i / 2) : i % half
      const isFirst = isPaired ? i % 2 === 0 : i < half
      const distance = isPaired ? 1 : half
      const angle = (t * theta ** ((-2 * pair) / x.length)) / (factors ? at(factors, pair) : 1)
      const other = isFirst ? -at(x, i + distance) : at(x, i - distance)
      return magnitude * (value * Math.cos(angle) + other * Math.sin(angle))
    })
  })
}

/** One causal head: each token sees itself and the `window` − 1 before it; scores capped where a cap is given. */
export function attend(
  queries: Rows,
  keys: Rows,
  values: Rows,
  scale: number,
  {
    window = Number.POSITIVE_INFINITY,
    softcap = 0,
  }: { window?: number | undefined; softcap?: number | undefined } = {},
): Rows {
  return queries.map((q, t) => {
    const first = Math.max(0, t + 1 - window)
    const seen = keys.slice(first, t + 1)
    const plain = seen.map((key) => scale * dot(key, q))
    const scores = softcap ? plain.map((score) => softcap * Math.tanh(score / softcap)) : plain
    const peak = Math.max(...scores)
    const weights = scores.map((score) => Math.exp(score - peak))
    const total = weights.reduce((sum, weight) => sum + weight, 0)
    const result = new Float64Array(values[0]?.length ?? 0)
    for (const [s, weight] of weights.entries()) addScaled(result, weight / total, values[first + s] as Float64Array)
    return result
  })
}

export const part = (rows: Rows, from: number, length: number): Rows =>
  rows.map((row) => row.subarray(from, from + length))

/** Side by side. */
export function join(lists: Rows[]): Rows {
  return (lists[0] as Rows).map((_, t) =>
    Float64Array.from(lists.flatMap((rows) => Array.from(rows[t] as Float64Array))),
  )
}

export function addRows(x: Rows, y: Rows): void {
  for (const [t, row] of x.entries()) addScaled(row, 1, y[t] as Float64Array)
}

function addScaled(x: Float64Array, factor: number, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) + factor * (y[i] as number)
}
