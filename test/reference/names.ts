/** What classes of transformers call the weights that Llama's call otherwise. */
import type { Weights } from './reference.ts'

export const neoxNames: [string, string][] = [
  ['gpt_neox.embed_in', 'model.embed_tokens'],
  ['gpt_neox.final_layer_norm', 'model.norm'],
  ['gpt_neox.layers', 'model.layers'],
  ['embed_out', 'lm_head'],
  ['attention.dense', 'self_attn.o_proj'],
  ['attention.', 'self_attn.'],
  ['mlp.dense_h_to_4h', 'mlp.up_proj'],
  ['mlp.dense_4h_to_h', 'mlp.down_proj'],
]

export const lfm2Names: [string, string][] = [
  ['model.embedding_norm', 'model.norm'],
  ['operator_norm', 'input_layernorm'],
  ['ffn_norm', 'post_attention_layernorm'],
  ['q_layernorm', 'q_norm'],
  ['k_layernorm', 'k_norm'],
  ['self_attn.out_proj', 'self_attn.o_proj'],
  ['feed_forward.w1', 'mlp.gate_proj'],
  ['feed_forward.w2', 'mlp.down_proj'],
  ['feed_forward.w3', 'mlp.up_proj'],
]

export const gpt2Names: [string, string][] = [
  ['transformer.wte', 'model.embed_tokens'],
  ['transformer.wpe', 'model.positions'],
  ['transformer.ln_f', 'model.norm'],
  ['transformer.h', 'model.layers'],
  ['ln_1', 'input_layernorm'],
  ['ln_2', 'post_attention_layernorm'],
  ['attn.c_proj', 'self_attn.o_proj'],
  ['attn.c_attn', 'self_attn.c_attn'],
  ['mlp.c_fc', 'mlp.up_proj'],
  ['mlp.c_proj', 'mlp.down_proj'],
]

/** Weights by their names, in which the first of each pair becomes the second. */
export function renamed(weights: Weights, names: [string, string][]): Weights {
  const llamas = (name: string) => names.reduce((text, [from, to]) => text.replace(from, to), name)
  return new Map(Array.from(weights, ([name, weight]) => [llamas(name), weight]))
}
