/** Loading a model for a context longer than the one that it was first trained for (models/long-context.ts). */
import { derivedBytes, forContext } from '../../models/index.ts'
import type { ModelSource } from './source.ts'

/** The source for a context of so many tokens: the frequencies that hold there are written over the file's. */
export function sourceFor(source: ModelSource, context: number): ModelSource {
  const { model, plan } = forContext(source.model, source.plan, context)
  if (model === source.model) return source
  const { reopen } = source
  return {
    ...source,
    model,
    plan,
    ...(reopen ? { reopen: async () => sourceFor(await reopen(), context) } : {}),
    async load(weights) {
      await source.load(weights)
      for (const tensor of plan.tensors) {
        const bytes = tensor.content.is === 'invFreq' ? derivedBytes(plan, tensor) : undefined
        if (bytes) await weights.write(tensor.offset, bytes)
      }
    },
  }
}
