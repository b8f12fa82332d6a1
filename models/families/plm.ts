/**
 * PLM (plm-team, `PLMForCausalLM`): MLA without a low-rank query, whose rotated parts are pairs of neighbours, and a feed-forward
 * block without a gate, W_down relu(W_up z)².
 */
import { ffnWidth, smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { latentDecoder } from '../kinds/mla.ts'

const small = { architectures: ['PLMForCausalLM'] }

export const family: Family = {
  name: 'plm',
  kinds: [],
  architectures: ['PLMForCausalLM'],
  describe: (config) => {
    config.require('hidden_act', 'relu2')
    config.require('mlp_bias', false)
    const ffn = { width: ffnWidth(config), activation: 'relu2', isGated: false, bias: false } as const
    return latentDecoder(config, { isInterleaved: true, theta: 1e5, isTied: true, ffn })
  },
}

export const shapes: Shapes = () => ({
  'plm, 3 heads, values wider than keys': {
    ...smallDecoder(small, 34, 31, 43),
    hidden_act: 'relu2',
    num_attention_heads: 3,
    kv_lora_rank: 18,
    q_lora_rank: null,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 2,
    v_head_dim: 10,
  },
  'plm, 5 heads, mostly rotated, untied': {
    ...smallDecoder(small, 22, 18, 37),
    hidden_act: 'relu2',
    num_attention_heads: 5,
    kv_lora_rank: 14,
    qk_nope_head_dim: 2,
    qk_rope_head_dim: 6,
    v_head_dim: 4,
    tie_word_embeddings: false,
  },
})
