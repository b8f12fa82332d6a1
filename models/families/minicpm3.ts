/**
 * MiniCPM3 (OpenBMB, `MiniCPM3ForCausalLM`): MLA with a low-rank query, rotated in half layout, and the factors of MiniCPM. The
 * norms of the latents have eps 1e-6 whatever rms_norm_eps says.
 */
import { headDim, hiddenDim, smallDecoder } from '../decoder.ts'
import type { Family, Shapes } from '../family.ts'
import { latentDecoder } from '../kinds/mla.ts'
import { minicpmFactors } from './minicpm.ts'

const small = { architectures: ['MiniCPM3ForCausalLM'], scale_emb: 3, scale_depth: 1.4, dim_model_base: 16 }

export const family: Family = {
  name: 'minicpm3',
  kinds: [],
  architectures: ['MiniCPM3ForCausalLM'],
  describe: (config) => {
    const maps = config.integer('num_attention_heads', { max: 1024 })
    const valueDim = config.has('v_head_dim') ? undefined : headDim(config, maps)
    const { embeddingScale, ...folding } = minicpmFactors(config, hiddenDim(config))
    return latentDecoder(config, { isInterleaved: false, isTied: true, valueDim, embeddingScale }, folding)
  },
}

export const shapes: Shapes = () => ({
  'minicpm3, 4 heads, values of hidden / heads': {
    ...smallDecoder(small, 40, 31, 43),
    rms_norm_eps: 1e-2,
    num_attention_heads: 4,
    kv_lora_rank: 18,
    q_lora_rank: 22,
    qk_nope_head_dim: 6,
    qk_rope_head_dim: 4,
    rope_scaling: {
      type: 'longrope',
      short_factor: [1.1, 1.9],
      long_factor: [2, 3],
      original_max_position_embeddings: 80,
    },
  },
  'minicpm3, 3 heads, values wider than keys, untied': {
    ...smallDecoder(small, 26, 18, 37),
    num_attention_heads: 3,
    kv_lora_rank: 14,
    q_lora_rank: 10,
    qk_nope_head_dim: 2,
    qk_rope_head_dim: 6,
    v_head_dim: 10,
    tie_word_embeddings: false,
  },
})
