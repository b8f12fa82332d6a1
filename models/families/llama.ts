/**
 * Llama and its like: MHA, MQA and GQA (SPEC §3). transformers `LlamaForCausalLM`, `MistralForCausalLM`,
 * `Qwen2ForCausalLM`. `attention_bias` puts a bias on q, k, v and o; `qkv_bias` (implied by Qwen2) on q, k and v only.
 */
import { grouped } from '../attention.ts'
import type { Config } from '../config.ts'
import { type ModelDescription, mismatch } from '../spec.ts'
import { decoderSources, decoderSpec, headDim, heads, linear, requireDivides } from './decoder.ts'
import type { Family } from './index.ts'

export const llama: Family = {
  name: 'llama',
  kinds: ['mha', 'mqa', 'gqa'],
  architectures: ['LlamaForCausalLM', 'MistralForCausalLM', 'Qwen2ForCausalLM'],
  describe,
}

function describe(config: Config): ModelDescription {
  const maps = heads(config, 'num_attention_heads')
  const kvHeads = heads(config, 'num_key_value_heads', maps)
  requireDivides(['num_key_value_heads', kvHeads], ['num_attention_heads', maps])
  const dim = headDim(config, maps)
  const isQwen2 = config.architectures().includes('Qwen2ForCausalLM')
  const outBias = config.boolean('attention_bias', false)
  const inBias = outBias || config.boolean('qkv_bias', isQwen2)

  const attention = grouped({
    maps,
    keyHeads: kvHeads,
    keyDim: dim,
    valueHeads: kvHeads,
    valueDim: dim,
    bias: { in: inBias, out: outBias },
  })
  const kind = kindOf(config, maps, kvHeads)
  const spec = decoderSpec(config, kind, attention)
  const sources = decoderSources(spec, (prefix) => {
    const q = linear(`${prefix}.q_proj`, maps * dim, spec.hiddenDim)
    const k = linear(`${prefix}.k_proj`, kvHeads * dim, spec.hiddenDim)
    const v = linear(`${prefix}.v_proj`, kvHeads * dim, spec.hiddenDim)
    const o = linear(`${prefix}.o_proj`, spec.hiddenDim, maps * dim)
    return {
      in: [q.weight, k.weight, v.weight],
      inBias: inBias ? [q.bias, k.bias, v.bias] : [],
      out: [o.weight],
      outBias: outBias ? [o.bias] : [],
    }
  })
  return { spec, sources }
}

/** MHA and MQA are GQA with as many, or with one, key-value head: a config may use either name where it is right. */
function kindOf(config: Config, maps: number, kvHeads: number): string {
  const isRight: Record<string, boolean> = { mha: kvHeads === maps, mqa: kvHeads === 1, gqa: true }
  const found = kvHeads === maps ? 'mha' : kvHeads === 1 ? 'mqa' : 'gqa'
  const said = config.text('attention_kind')
  if (said !== undefined && !isRight[said])
    throw mismatch('"attention_kind" in config.json', `"${found}" by its head counts`, said, 'correct one of them')
  return found
}
