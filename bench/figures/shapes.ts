/** Shapes that the papers compare, as config.json files, with the formulas of Table 4 of arXiv 2506.17286. */

export interface Shape {
  name: string
  config: unknown
  /** By the paper's formulas: cache numbers, multiply-adds per pair (its N² column), per token (its linear column over N). */
  paper: { cache: number; pair: number; linear: number }
  note: string
}

const decoder = {
  vocab_size: 32000,
  num_hidden_layers: 24,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  max_position_embeddings: 8192,
}
const [H, nHeads, d] = [1280, 20, 64]
const base = { ...decoder, hidden_size: H, intermediate_size: 3584, num_attention_heads: nHeads, head_dim: d }
const llama = { ...base, architectures: ['LlamaForCausalLM'] }

export const shapesOfTable4: readonly Shape[] = [
  {
    name: 'MHA',
    config: { ...llama, num_key_value_heads: nHeads },
    paper: { cache: 2 * nHeads * d, pair: 2 * nHeads * d, linear: 4 * H * H },
    note: '',
  },
  {
    name: 'GQA, n_k 5',
    config: { ...llama, num_key_value_heads: 5 },
    paper: { cache: 2 * 5 * d, pair: 2 * nHeads * d, linear: 2 * H * H + 2 * 5 * d * H },
    note: '',
  },
  {
    name: 'MLA, d_c 320, d_rope 32',
    config: {
      ...base,
      architectures: ['DeepseekV3ForCausalLM'],
      kv_lora_rank: 320,
      qk_nope_head_dim: d,
      qk_rope_head_dim: 32,
      v_head_dim: d,
      q_lora_rank: null,
    },
    paper: {
      cache: 320 + 32,
      pair: nHeads * (32 + 2 * d),
      linear: (320 + 32) * H + nHeads * (32 + d) * H + 2 * nHeads * 320 * d + H * H,
    },
    note: 'the paper expands keys and values (and prints d_l where d_c is meant); here the latent is attended to as it is (absorbed)',
  },
  {
    name: 'GVA, n_q = n_k = 5',
    config: { ...base, attention_kind: 'gva', num_query_heads: 5, num_key_heads: 5, num_value_heads: nHeads },
    paper: { cache: H + 5 * d, pair: 5 * d + nHeads * d, linear: 2 * H * H + 2 * 5 * d * H },
    note: '',
  },
  {
    name: 'GHA, n_q 5, n_k 1, n_v 5',
    config: {
      ...base,
      attention_kind: 'gha',
      num_query_heads: 5,
      num_key_heads: 1,
      num_value_heads: 5,
      value_head_map: 'stride',
    },
    paper: { cache: d + 5 * d, pair: 5 * d + nHeads * d, linear: H * H + 5 * d * H + d * H + 5 * d * H },
    note: '',
  },
  {
    name: '**GTA**, n_q 5, n_k 1, d_l 128',
    config: {
      ...base,
      architectures: ['GTAForCausalLM'],
      num_query_heads: 5,
      query_dim: d,
      num_key_heads: 1,
      key_dim: d,
      num_value_heads: 1,
      value_dim: 128,
    },
    paper: { cache: d + 128, pair: 5 * (d + 128), linear: 2 * H * H + (5 * d + d + 128 + 128) * H },
    note: '',
  },
]

const wide = { ...decoder, hidden_size: 2048, intermediate_size: 5464, num_attention_heads: 16, head_dim: 128 }

/** The kinds that arXiv 2505.21487 compares at its 1.5 B shape, and GTA of arXiv 2506.17286 with four maps. */
export const variantsOfIntensity: readonly { name: string; config: unknown }[] = [
  { name: 'MHA', config: { ...wide, architectures: ['LlamaForCausalLM'], num_key_value_heads: 16 } },
  { name: 'GQA-4', config: { ...wide, architectures: ['LlamaForCausalLM'], num_key_value_heads: 4 } },
  { name: 'grouped-tied-4', config: { ...wide, attention_kind: 'tied', num_key_value_heads: 4, rope_dim: 64 } },
  { name: 'GLA-2', config: { ...wide, attention_kind: 'gla', qk_rope_dim: 64 } },
  {
    name: 'MLA',
    config: {
      ...wide,
      architectures: ['DeepseekV3ForCausalLM'],
      kv_lora_rank: 512,
      qk_nope_head_dim: 128,
      qk_rope_head_dim: 64,
      v_head_dim: 128,
      q_lora_rank: null,
    },
  },
  {
    name: 'GTA, 4 maps',
    config: {
      ...wide,
      architectures: ['GTAForCausalLM'],
      num_query_heads: 4,
      query_dim: 128,
      num_key_heads: 1,
      key_dim: 128,
      num_value_heads: 1,
      value_dim: 256,
    },
  },
]
