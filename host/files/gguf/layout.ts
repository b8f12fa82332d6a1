/**
 * How tensors lie in a GGUF file, as against the checkpoint that it was made from: their names, and what llama.cpp's
 * convert_hf_to_gguf.py does to their rows. Reading (weights.ts) and writing (export.ts) share it.
 */

/** Stems of names in the file, and what they are called in the checkpoint. */
export interface Names {
  /** What the names of a layer's tensors begin with in the checkpoint; layer 3 is blk.3 in the file. */
  layers: string
  outer: Readonly<Record<string, string>>
  inner: Readonly<Record<string, string>>
  /** Names in a layer that have no end to come off in the file or in the checkpoint. */
  whole?: Readonly<Record<string, string>>
}

export interface Layout {
  names: Names
  /** Rows of q and k of each head in this order of pairs: 0, d/2, 1, d/2 + 1, …; the checkpoint rotates halves. */
  pairs?: { heads: number; kvHeads: number }
  /** So many heads, of which the checkpoint has q, k and v of each together, the file all of q, of k, of v. */
  fusedHeads?: number
  /** Matrices of the layers are (in, out) in the checkpoint. */
  isTransposed?: boolean
  /** Norms have w + 1, the checkpoint w. */
  normPlus?: number
  /** Norms that are kept as they are, whatever `normPlus` says of the others. */
  plainNorms?: string[]
  /** Numbers of these are −e^x of those of the checkpoint. */
  exponents?: string[]
  /** Weights of depthwise convolutions: (channels, taps) there, (channels, 1, taps) in the checkpoint. */
  convolutions?: string[]
  /** kv_b of each head is kept as two matrices, that of the keys turned round. */
  isSplit?: boolean
}

const outer: Record<string, string> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
}

const inner: Record<string, string> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  attn_q_norm: 'self_attn.q_norm',
  attn_k_norm: 'self_attn.k_norm',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
  attn_q_a: 'self_attn.q_a_proj',
  attn_q_a_norm: 'self_attn.q_a_layernorm',
  attn_q_b: 'self_attn.q_b_proj',
  attn_kv_a_mqa: 'self_attn.kv_a_proj_with_mqa',
  attn_kv_a_norm: 'self_attn.kv_a_layernorm',
  attn_kv_b: 'self_attn.kv_b_proj',
}

/** Llama's names, and what a family calls otherwise in its layers: its own stand first, where one of the checkpoint has two. */
export function llamaNames(own: Record<string, string> = {}, others: Partial<Names> = {}): Names {
  return {
    layers: 'model.layers',
    ...others,
    outer: { ...outer, ...others.outer },
    inner: { ...own, ...inner, ...own },
  }
}

export const gptNeoXNames: Names = {
  layers: 'gpt_neox.layers',
  outer: { token_embd: 'gpt_neox.embed_in', output_norm: 'gpt_neox.final_layer_norm', output: 'embed_out' },
  inner: {
    attn_norm: 'input_layernorm',
    attn_qkv: 'attention.query_key_value',
    attn_output: 'attention.dense',
    ffn_norm: 'post_attention_layernorm',
    ffn_up: 'mlp.dense_h_to_4h',
    ffn_down: 'mlp.dense_4h_to_h',
  },
}

export const gpt2Names: Names = {
  layers: 'transformer.h',
  outer: {
    token_embd: 'transformer.wte',
    position_embd: 'transformer.wpe',
    output_norm: 'transformer.ln_f',
    output: 'lm_head',
  },
  inner: {
    attn_norm: 'ln_1',
    attn_qkv: 'attn.c_attn',
    attn_output: 'attn.c_proj',
    ffn_norm: 'ln_2',
    ffn_up: 'mlp.c_fc',
    ffn_down: 'mlp.c_proj',
  },
}

/** blk.3.attn_q.weight: model.layers.3.self_attn.q_proj.weight. What is not known keeps its name, and is found to be unused. */
export function checkpointName(name: string, { layers, outer, inner, whole = {} }: Names): string {
  const [, index, rest = ''] = /^blk\.(\d+)\.(.+)$/.exec(name) ?? []
  if (index !== undefined && Object.hasOwn(whole, rest)) return `${layers}.${index}.${whole[rest]}`
  const [, layer, stem = '', end = ''] = /^(?:blk\.(\d+)\.)?([\w.]+)\.(weight|bias)$/.exec(name) ?? []
  const table = layer === undefined ? outer : inner
  // The stem is the file's: only what is in the table counts, not what every object has.
  if (!Object.hasOwn(table, stem)) return name
  return `${layer === undefined ? '' : `${layers}.${layer}.`}${table[stem]}.${end}`
}

/** The other way; undefined for a tensor that the file has no name for. */
export function ggufName(name: string, { layers, outer, inner }: Names): string | undefined {
  const [, stem = '', end] = /^(.*)\.(weight|bias)$/.exec(name) ?? []
  const [, layer, inLayer] = stem.startsWith(`${layers}.`)
    ? (/^(\d+)\.(.+)$/.exec(stem.slice(layers.length + 1)) ?? []).map(String)
    : []
  const table = layer === undefined ? outer : inner
  const found = Object.keys(table).find((own) => table[own] === (inLayer ?? stem))
  return found === undefined ? undefined : `${layer === undefined ? '' : `blk.${layer}.`}${found}.${end}`
}

/** The row of the file for a row of the checkpoint; undefined where they are the same. */
export function fileRows(name: string, rows: number, layout: Layout): ((row: number) => number) | undefined {
  const { pairs, fusedHeads } = layout
  const part = /\.attn_(q|k|qkv)\.(?:weight|bias)$/.exec(name)?.[1]
  if (pairs && (part === 'q' || part === 'k')) {
    const dim = rows / (part === 'q' ? pairs.heads : pairs.kvHeads)
    return (row) => pairedRow(row, dim)
  }
  if (fusedHeads !== undefined && part === 'qkv') {
    const dim = rows / 3 / fusedHeads
    return (row) => {
      const [head, which, at] = [Math.floor(row / dim / 3), Math.floor(row / dim) % 3, row % dim]
      return (which * fusedHeads + head) * dim + at
    }
  }
  return undefined
}

/** Of d rows of a head, j lies at 2 j, and j + d/2 at 2 j + 1. */
function pairedRow(row: number, dim: number): number {
  const [head, at] = [Math.floor(row / dim), row % dim]
  return head * dim + 2 * (at % (dim / 2)) + Math.floor(at / (dim / 2))
}

export const isNorm = (name: string) => /norm\.weight$/.test(name)

/** 'ssm_conv1d' of blk.3.ssm_conv1d.weight. */
const stemOf = (name: string) => name.replace(/^blk\.\d+\./, '').replace(/\.(?:weight|bias)$/, '')

/** What is to be added to the numbers of the file. */
export function plusOf(name: string, { normPlus = 0, plainNorms = [] }: Layout): number {
  return isNorm(name) && !plainNorms.includes(stemOf(name)) ? -normPlus : 0
}

export const isExponent = (name: string, { exponents = [] }: Layout) => exponents.includes(stemOf(name))

/** The shape in the checkpoint. */
export function checkpointShape(
  { name, shape }: { name: string; shape: number[] },
  { convolutions }: Layout,
): number[] {
  const [channels = 0, taps = 0] = shape
  const isConvolution = shape.length === 2 && convolutions?.includes(stemOf(name))
  return isConvolution ? [channels, 1, taps] : shape
}

/** Matrices of layers, where `isTransposed`. */
export const isTurned = (name: string, { isTransposed }: Layout) =>
  isTransposed === true && /^blk\.\d+\.(?:attn_qkv|attn_output|ffn_up|ffn_down)\.weight$/.test(name)
