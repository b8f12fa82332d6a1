/** Loading a model for a context longer than the one that it was first trained for (models/long-context.ts). */
import { derivedBytes, forContext, planModel } from '../../models/index.ts'
import type { ModelSource } from './source.ts'

/** The source for a context of so many tokens: what follows from the spec, such as frequencies, is written over the file's. */
export function sourceFor(source: ModelSource, context: number): ModelSource {
  const model = forContext(source.model, context)
  if (model === source.model) return source
  const plan = planModel(model, source.plan.type)
  return {
    ...source,
    model,
    plan,
    async load(weights) {
      await source.load(weights)
      for (const tensor of plan.tensors) {
        const derived = derivedBytes(plan, tensor)
        if (derived) await weights.write(tensor.offset, derived)
      }
    },
  }
}
