/**
 * A context longer than the one that a model was first trained for (longrope: Phi 3 and 4 mini). Its frequencies are others, for the
 * whole text: which set holds is chosen once, by the context that is asked for, so that no text changes its own past while it
 * grows (docs/decisions/016). transformers chooses by the length of the text, and computes it anew where it crosses over.
 */
import type { Rope } from './attention.ts'
import type { ModelDescription, ModelSpec } from './spec.ts'

/** The longest context that may be asked for. */
export function longestContext({ maxContext, longContext }: Pick<ModelSpec, 'maxContext' | 'longContext'>): number {
  return longContext ?? maxContext
}

/** The model as it is for a context of so many tokens. */
export function forContext(model: ModelDescription, context: number): ModelDescription {
  const { spec, sources } = model
  const { longContext, ...rest } = spec
  if (longContext === undefined || context <= spec.maxContext) return model
  const layers = spec.layers.map((layer) => {
    const { rope } = layer.mixer
    return rope ? { ...layer, mixer: { ...layer.mixer, rope: lengthened(rope) } } : layer
  })
  return { spec: { ...rest, layers, maxContext: longContext }, sources }
}

function lengthened({ scaling, ...rope }: Rope): Rope {
  if (scaling?.type !== 'longrope') return { ...rope, scaling }
  return { ...rope, scaling: { ...scaling, factors: scaling.longFactors } }
}
