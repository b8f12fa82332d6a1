/**
 * A context longer than the one that a model was first trained for (longrope: Phi 3 and 4 mini). Its frequencies are others, for the
 * whole text: which set holds is chosen once, by the context that is asked for, so that no text changes its own past while it
 * grows (docs/decisions/016). transformers chooses by the length of the text, and computes it anew where it crosses over.
 */
import type { Rope } from './attention.ts'
import type { PackedTensor } from './packed.ts'
import type { Plan } from './plan.ts'
import type { ModelDescription, ModelSpec } from './spec.ts'

/** The longest context that may be asked for. */
export function longestContext({ maxContext, longContext }: Pick<ModelSpec, 'maxContext' | 'longContext'>): number {
  return longContext ?? maxContext
}

/** The model as it is for a context of so many tokens, and its plan, of which only the frequencies differ. */
export function forContext(
  model: ModelDescription,
  plan: Plan,
  context: number,
): { model: ModelDescription; plan: Plan } {
  const { longContext, ...rest } = model.spec
  if (longContext === undefined || context <= rest.maxContext) return { model, plan }
  const layers = rest.layers.map((layer) => {
    const { mixer } = layer
    return mixer.is === 'attention' && mixer.rope
      ? { ...layer, mixer: { ...mixer, rope: longRope(mixer.rope) } }
      : layer
  })
  const spec = { ...rest, layers, maxContext: longContext }
  return { model: { ...model, spec }, plan: { ...plan, tensors: plan.tensors.map(longTensor) } }
}

function longTensor(tensor: PackedTensor): PackedTensor {
  const { content } = tensor
  return content.is === 'invFreq' ? { ...tensor, content: { ...content, rope: longRope(content.rope) } } : tensor
}

function longRope(rope: Rope): Rope {
  const { scaling } = rope
  return scaling?.type === 'longrope' ? { ...rope, scaling: { ...scaling, factors: scaling.longFactors } } : rope
}
