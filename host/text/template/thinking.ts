/** How much a model thinks before it answers: the switches that templates have for it. */
import { errors } from '../../errors.ts'
import { reasoningOf } from '../tools/reasoning.ts'
import type { TemplateNames } from './requests.ts'

export const reasoningEfforts = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] as const
export type ReasoningEffort = (typeof reasoningEfforts)[number]

/**
 * Variables of a template that make its model think so much. Where there is only a switch, all but "none" turn it on.
 * "none" asks nothing of a model that does not think. Throws BAD_OPTION where the template has no switch.
 */
export function effortVariables(
  effort: ReasoningEffort,
  { variables, words }: TemplateNames,
  source: string,
): Record<string, unknown> {
  if (!reasoningEfforts.includes(effort))
    throw errors.badOption('reasoningEffort (reasoning_effort)', `one of ${reasoningEfforts.join(', ')}`, effort)
  if (variables.includes('reasoning_effort') && (effort !== 'none' || words.includes('none')))
    return { reasoning_effort: effort }
  const name = ['enable_thinking', 'thinking'].find((each) => variables.includes(each))
  if (name !== undefined) return { [name]: effort !== 'none' }
  const isThinking = reasoningOf(source) !== undefined || variables.includes('reasoning_effort')
  if (effort === 'none' && !isThinking) return {}
  const what = isThinking ? 'its chat template has no such switch' : 'this model does not think'
  throw errors.badOption('reasoningEffort (reasoning_effort)', `left out, because ${what}`, effort)
}
