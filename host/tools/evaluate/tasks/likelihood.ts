/**
 * Log-likelihoods of what may follow a text. Many items are computed side by side, each in a conversation of its own: what
 * the choices of an item have in common is computed once, and behind it the conversation is cut back before each choice.
 * So a step is full of rows of as many items as there is room for, and an item takes the pages of its longest choice only.
 */
import { largest, PAGE_TOKENS } from '../../../../models/index.ts'
import { greedy } from '../../../engine/engine.ts'
import { errors } from '../../../errors.ts'
import { logSumExp } from '../../../runtime/logprobs.ts'
import { type Model, runtimeOf } from '../../../runtime/model.ts'
import type { SampledLogits } from '../../../runtime/scheduler.ts'
import { Sequence } from '../../../runtime/sequence.ts'
import { toolErrors } from '../../errors.ts'
import type { Continuation } from './formats.ts'

/** Tokens, of which those from `from` on are scored. */
export interface ScoredText {
  ids: number[]
  from: number
  /** Tokens that were cut off at its beginning. */
  cut: number
}

/**
 * Ids as lm-evaluation-harness has them: spaces at the end of the context go to the continuation, whose tokens are those
 * that it adds to the context. The model's begin token precedes all. What is longer than the model's context loses its
 * beginning. Throws GtaError for a continuation that has no tokens, or more than the context.
 */
export function encode(model: Model, { context, continuation }: Continuation): ScoredText {
  const { tokenizer } = model
  if (!tokenizer) throw errors.badTokenizer(model.path, 'is missing (no tokenizer.json)')
  const text = context.trimEnd()
  const before = tokenizer.encode(text)
  const added = tokenizer.encode(context + continuation).slice(before.length)
  const [begin] = model.corpusIds('')
  const first = begin ?? (before.length === 0 ? [...runtimeOf(model).eos][0] : undefined)
  const ids = [...(first === undefined ? [] : [first]), ...before, ...added]
  // The last token is predicted, but not read.
  const cut = Math.max(0, ids.length - model.context - 1)
  const from = ids.length - added.length - cut
  if (added.length === 0 || from < 1) throw toolErrors.badContinuation(continuation, added.length, model.context)
  return { ids: ids.slice(cut), from, cut }
}

/** Told of each item when it is done. */
export type OnScored = (item: number, logLikelihoods: number[]) => void

/**
 * Scores the continuations of every item, the items in any order. The model must be free: all of its conversations are
 * used. What `onScored` or the engine throws ends it, as does the signal.
 */
export async function scoreAll(
  model: Model,
  items: readonly (readonly ScoredText[])[],
  onScored: OnScored,
  signal?: AbortSignal,
): Promise<void> {
  const running = new Set<Promise<void>>()
  const { cache } = runtimeOf(model)
  let pages = Math.min(cache.pagesAvailable, ...cache.windowsAvailable)
  let failure: { error: unknown } | undefined
  for (const [i, texts] of items.entries()) {
    const needed = pagesOf(texts)
    while (running.size > 0 && !failure && (running.size === cache.facts.conversations || needed > pages))
      await Promise.race(running)
    if (failure) break
    pages -= needed
    const task: Promise<void> = score(model, texts, signal)
      .then((logLikelihoods) => onScored(i, logLikelihoods))
      .catch((error) => {
        failure ??= { error }
      })
      .finally(() => {
        pages += needed
        running.delete(task)
      })
    running.add(task)
  }
  await Promise.all(running)
  if (failure) throw failure.error
}

/** Pages that an item takes at most: one more, as a page that it has in common with others is copied before it changes. */
function pagesOf(texts: readonly ScoredText[]): number {
  return Math.ceil(largest(texts.map(({ ids }) => ids.length)) / PAGE_TOKENS) + 1
}

/** Σ log p of the scored tokens of each text, in nats and float64. */
async function score(model: Model, texts: readonly ScoredText[], signal?: AbortSignal): Promise<number[]> {
  using sequence = new Sequence(runtimeOf(model), {})
  const release = sequence.acquire()
  try {
    await sequence.claim(signal)
    const shared = sharedLength(texts)
    const prefix = texts[0]?.ids.slice(0, shared) ?? []
    const { reused } = sequence.reuse(prefix)
    await sequence.feed({ tokens: prefix.slice(reused), sampling: greedy, signal })
    const sums: number[] = []
    for (const { ids, from } of texts) {
      sequence.cut(shared)
      await sequence.reread(signal)
      let sum = 0
      let next = shared
      const onSampled = async (_: number, { values }: SampledLogits) => {
        next++
        if (next < from) return
        const logits = await values()
        sum += (logits[ids[next] as number] as number) - logSumExp(logits)
      }
      await sequence.feed({ tokens: ids.slice(shared, -1), sampling: greedy, isEvery: true, signal, onSampled })
      sums.push(sum)
    }
    return sums
  } finally {
    release()
  }
}

/** Tokens that all texts begin with and that stand before the last one that predicts a scored token. */
function sharedLength(texts: readonly ScoredText[]): number {
  const [{ ids: first }] = texts as [ScoredText]
  let most = -largest(texts.map(({ from }) => 1 - from))
  for (const { ids } of texts) {
    let same = 0
    while (same < most && ids[same] === first[same]) same++
    most = same
  }
  return most
}
