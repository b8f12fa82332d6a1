/** What is measured: a model with its own weights, or any config with synthetic ones. */
import { fileURLToPath } from 'node:url'
import { longestContext, type ModelDescription, type Plan, planModel } from '../../../models/index.ts'
import type { Weights } from '../../engine/engine.ts'
import { errors } from '../../errors.ts'
import { describeModel } from '../../files/describe.ts'
import { defaultModel, openSource } from '../../load.ts'
import { sourceFor } from '../../runtime/long-context.ts'
import type { BenchSettings } from './settings.ts'
import { fillSynthetic } from './synthetic.ts'

export interface Subject {
  /** Path of the model or config. */
  path: string
  isSynthetic: boolean
  model: ModelDescription
  plan: Plan
  load(weights: Weights): Promise<void>
  close(): Promise<void>
}

/** Opens it for so many positions per conversation; nothing large is read yet. */
export async function openSubject(settings: BenchSettings, context: number): Promise<Subject> {
  return settings.config === undefined ? openReal(settings, context) : openSynthetic(settings.config, settings, context)
}

async function openReal({ model, type, signal, onProgress }: BenchSettings, context: number): Promise<Subject> {
  const given = model ?? defaultModel
  const path = given instanceof URL ? fileURLToPath(given) : given
  const source = await openSource(path, {
    type,
    signal,
    onProgress: (progress) => onProgress?.({ label: 'loading', ...progress }),
  })
  const most = longestContext(source.model.spec)
  if (context > most) {
    await source.close()
    throw errors.badOption(
      'depth and tokens of a test (-d with -p or -n)',
      `at most ${most} together, the context of "${path}" (synthetic weights, --config, have no such limit)`,
      context,
    )
  }
  return { path, isSynthetic: false, ...sourceFor(source, context) }
}

/** The spec's context is the plan's: what the model was made for does not limit what can be timed. */
async function openSynthetic(path: string, { type }: BenchSettings, context: number): Promise<Subject> {
  if (type === 'keep') throw errors.nothingToKeep(path)
  const { model } = await describeModel(path)
  const spec = { ...model.spec, maxContext: Math.max(context, model.spec.maxContext) }
  const longer = { ...model, spec }
  const plan = planModel(longer, type ?? 'q8')
  return {
    path,
    isSynthetic: true,
    model: longer,
    plan,
    load: (weights) => fillSynthetic(longer, plan, weights.write),
    close: async () => undefined,
  }
}
