/** What becomes of a conversation whose context is full: its options, checked against the model and its cache. */
import { PAGE_TOKENS } from '../../models/index.ts'
import { checkNames, checkSetting, errors } from '../errors.ts'
import { settings as shared, titleOf } from '../settings.ts'
import type { ConversationOptions } from './api.ts'
import type { Runtime } from './runtime.ts'
import { type ContextSettings, planDrop } from './scheduler.ts'

const names = ['contextPolicy', 'keep', 'busy']

/** Options with their defaults; throws BAD_OPTION. */
export function checkContext(options: ConversationOptions, { context, cache, spec }: Runtime): ContextSettings {
  checkNames('open()', options, names)
  const { contextPolicy: policy = shared.contextPolicy.default, keep = shared.keep.default } = options
  checkSetting('contextPolicy', policy)
  checkSetting('keep', keep)
  checkSetting('busy', options.busy)
  // What is cached knows its position, and no rotation can change it.
  if (policy !== 'error' && spec.embedding.positions !== undefined)
    throw errors.badOption('contextPolicy (--context-policy)', 'error for a model that learned its positions', policy)
  if (policy !== 'error' && cache.hasStates)
    throw errors.badOption(
      'contextPolicy (--context-policy)',
      'error for a model with layers that keep a state: no token can be taken out of it',
      policy,
    )
  const settings = { policy, keep }
  const plan = planDrop(settings, context)
  if (policy !== 'error' && (plan.keep + plan.drop) * PAGE_TOKENS >= context)
    throw errors.badOption(
      titleOf('context'),
      `more than ${(plan.keep + plan.drop) * PAGE_TOKENS} tokens where ${plan.keep * PAGE_TOKENS} are kept (--keep): ${PAGE_TOKENS} more are forgotten at a time, and one must be left`,
      context,
    )
  // Kept pages are turned when others are forgotten: they lie in the cache twice then.
  const { pageBytes, totalBytes } = cache.use
  const pages = Math.ceil(context / PAGE_TOKENS) - plan.drop + plan.keep
  // Where layers with a window have given kept pages back, these cannot be seen again: the window must end behind them.
  const windows = cache.kinds.map(({ window = 1 }) => window).filter((window) => context >= window + 2 * PAGE_TOKENS)
  const least = (plan.keep + plan.drop) * PAGE_TOKENS + Math.max(0, ...windows.map((window) => window - 1))
  if (policy !== 'error' && context < least)
    throw errors.badOption(
      titleOf('context'),
      `at least ${least} tokens where ${plan.keep * PAGE_TOKENS} are kept (--keep) and ${plan.drop * PAGE_TOKENS} forgotten at a time: some layers see all tokens behind them`,
      context,
    )
  if (policy !== 'error' && pages > cache.pagesTotal)
    throw errors.badOption(
      titleOf('cacheMemory'),
      `at least ${pages * pageBytes} bytes for a context of ${context} tokens of which ${keep} are kept`,
      totalBytes,
    )
  return settings
}
