import { megabytes } from '../errors.ts'
import type { Fit } from './fit.ts'

/** Whether a model fits, in one line for people. `context`: tokens that were asked for; `longest`: what the model was made for. */
export function describeFit(found: Fit, context: number, longest: number): string {
  const { type, cache, weightBytes, neededBytes, availableBytes, limit, fits, largestContext, mostConversations } =
    found
  const number = (n: number) => n.toLocaleString('en')
  const of = limit === 'memory' ? 'are left beside the system' : 'is what one engine can address'
  const needs = `${type} weights ${megabytes(weightBytes)}, ${cache} cache: needs ${megabytes(neededBytes)}, ${megabytes(availableBytes)} ${of}`
  const beyond = largestContext > longest ? ` (the model is made for ${number(longest)})` : ''
  const room =
    largestContext === 0
      ? 'not even the weights fit'
      : `room for ${number(largestContext)} tokens of context${beyond}, or ${number(mostConversations)} conversation${mostConversations === 1 ? '' : 's'} of ${number(context)}`
  return `${fits ? 'yes' : 'no '}  ${needs}; ${room}\n`
}
