/** Youtu-LLM (Tencent, transformers `youtu`): DeepSeek-V3's attention in every layer, dense, and a tied head unless config.json says no. */
import { smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { latentDecoder } from '../kinds/mla.ts'

const small = { architectures: ['YoutuForCausalLM'] }

export const family: Family = {
  name: 'youtu',
  kinds: [],
  architectures: ['YoutuForCausalLM'],
  describe: (config) => latentDecoder(config, { isInterleaved: config.boolean('rope_interleave', true), isTied: true }),
}

export const shapes: Shapes = () => ({
  'youtu, 4 heads, low-rank query': {
    ...smallDecoder(small, 34, 31, 43),
    rms_norm_eps: 1e-2,
    num_attention_heads: 4,
    kv_lora_rank: 14,
    q_lora_rank: 22,
    qk_nope_head_dim: 10,
    qk_rope_head_dim: 6,
    v_head_dim: 4,
  },
  'youtu, 3 heads, direct query, biases, untied': {
    ...smallDecoder(small, 26, 18, 37),
    num_attention_heads: 3,
    kv_lora_rank: 18,
    q_lora_rank: null,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 2,
    v_head_dim: 10,
    attention_bias: true,
    tie_word_embeddings: false,
  },
})
