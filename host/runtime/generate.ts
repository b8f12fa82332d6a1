/** Generation: prefill, then one token after the other, until something ends it. */
import { errors } from '../errors.ts'
import type { GenerateOptions, Generation, PrefillProgress, Prompt, ScoredToken } from './api.ts'
import { type CheckedOptions, checkOptionNames, checkOptions } from './generate-options.ts'
import { Output } from './output.ts'
import type { Runtime } from './runtime.ts'
import { type Choice, Sampler, type Verdict } from './sampler.ts'
import type { Sequence } from './sequence.ts'
import type { GenerationParts, PartEvent } from './stream.ts'
import { structureOf } from './structure.ts'

/** What a generation tells, and how it went: see `Conversation.generate`. */
export async function* generate<T>(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions<T>,
): GenerationParts<T> {
  const release = sequence.acquire()
  try {
    checkOptionNames(options)
    const ids = idsOf(sequence, prompt)
    const structure = await structureOf(options)
    const constrain = structure?.constraint ?? options.constraint
    const checked = checkOptions(sequence, prompt, options, constrain !== undefined)
    const output = new Output(sequence.runtime, checked.stops, checked.shown)
    const choice = await choiceOf(sequence, checked, { signal: options.signal, constrain }, output)
    const sampler = new Sampler(sequence, choice)
    const started = performance.now()
    await sequence.claim(options.signal)
    const { reused, matched } = yield* prefill(sequence, sampler, ids, checked, options)
    const prefilled = performance.now()
    const finish = yield* decode(sequence, sampler, checked, options)
    const { tokens, text } = output
    const isWhole = finish === 'eos' || choice.constraint?.isComplete
    const decodeSeconds = (performance.now() - prefilled) / 1000
    return {
      ...{ tokens, text, promptTokens: ids.length, cachedTokens: reused, matchedTokens: matched, finish },
      ...(isWhole ? await structure?.valueOf(text) : {}),
      usage: { promptTokens: ids.length, cachedTokens: reused, completionTokens: tokens.length },
      sampling: checked.sampling,
      prefillSeconds: (prefilled - started) / 1000,
      decodeSeconds,
      ...(checked.speculate > 0 ? { speculation: sampler.speculation } : {}),
      ...(checked.logprobs === undefined ? {} : { logprobs: sampler.logprobs }),
      ...(checked.promptLogprobs === undefined ? {} : { promptLogprobs: [undefined, ...sampler.promptLogprobs] }),
      logitsHash: sampler.logitsHash,
    }
  } finally {
    release()
  }
}

/** What is to be computed. Throws BAD_PROMPT or CONTEXT_FULL. */
function idsOf(sequence: Sequence, prompt: Prompt | undefined): number[] {
  sequence.checkLength(prompt)
  const given = prompt === undefined ? [] : sequence.runtime.promptIds(prompt, sequence.isBegun)
  const ids = [...sequence.pending, ...given]
  if (ids.length === 0) throw errors.emptyPrompt()
  sequence.checkRoom(ids)
  return ids
}

async function choiceOf(
  sequence: Sequence,
  { sampling, speculate, bias, ends, shown, maxTokens, logprobs, promptLogprobs }: CheckedOptions,
  { signal, constrain }: { signal: AbortSignal | undefined; constrain: GenerateOptions['constraint'] },
  output: Output,
): Promise<Choice> {
  const { runtime } = sequence
  const { tokenizer, spec } = runtime
  const constraint = await constrain?.({ tokenizer, vocabSize: spec.vocabSize, ends })
  const judge = (token: number, position: number): Verdict => {
    if (maxTokens === 0) return { piece: '', finish: 'length' }
    const isEnd = ends.has(token)
    const piece = isEnd ? output.end(token) : output.push(token)
    if (!isEnd) constraint?.push(token)
    const isFull = sequence.context.policy === 'error' && position >= runtime.context
    const finish = isEnd
      ? 'eos'
      : output.isStopped || constraint?.isComplete
        ? 'stop'
        : output.tokens.length >= maxTokens
          ? 'length'
          : isFull
            ? 'context'
            : undefined
    return { piece: finish ? piece + output.flush() : piece, finish }
  }
  const score = logprobs === undefined && promptLogprobs === undefined ? undefined : await scorer(runtime, shown)
  return { sampling, speculate, bias, signal, constraint, judge, score, logprobs, promptLogprobs }
}

async function scorer({ tokenizer }: Runtime, shown: ReadonlySet<number>): Promise<Choice['score']> {
  const { scoreToken } = await import('./logprobs.ts')
  const bytesOf = (id: number) => tokenizer?.bytesOf(id, shown.has(id)) ?? new Uint8Array()
  return (logits, token, count): ScoredToken => scoreToken(logits, token, count, bytesOf)
}

/** Reads the prompt and samples the first token. Who leaves meanwhile ends it: the conversation is as it was. */
async function* prefill(
  sequence: Sequence,
  sampler: Sampler,
  ids: number[],
  { promptLogprobs }: CheckedOptions,
  { onPrefill }: GenerateOptions,
): AsyncGenerator<PartEvent, { reused: number; matched: number }> {
  const told: PrefillProgress[] = []
  let wake = () => {}
  let isOver = false
  const leaving = new AbortController()
  const reading = sequence.whole(async () => {
    // What the cache has of a prompt has no logits.
    const reuse = promptLogprobs === undefined ? sequence.reuse(ids) : { reused: 0, matched: 0 }
    const cached = reuse.reused
    const tell = (done: number) => {
      const progress = { done: cached + done, total: ids.length, cached }
      onPrefill?.(progress)
      told.push(progress)
      wake()
    }
    await sampler.start(ids.slice(cached), tell, leaving.signal)
    return reuse
  })
  const end = () => {
    isOver = true
    wake()
  }
  reading.then(end, end)
  try {
    for (;;) {
      for (let progress = told.shift(); progress; progress = told.shift()) yield { type: 'prefill', ...progress }
      if (isOver) return await reading
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  } finally {
    if (!isOver) {
      leaving.abort(errors.streamLeft())
      await reading.catch(() => undefined)
    }
  }
}

/**
 * One token after the other; returns what ended them. The next one is computed while the reader has this one, and is taken
 * back if the reader leaves.
 */
async function* decode(
  sequence: Sequence,
  sampler: Sampler,
  { maxTokens, sampling }: CheckedOptions,
  { signal, onToken }: GenerateOptions,
): AsyncGenerator<PartEvent, Generation['finish']> {
  let { place } = sampler
  let next: Promise<void> | undefined
  try {
    for (;;) {
      const { token, piece, finish, scored } = sampler.current
      place = sampler.place
      next = finish ? undefined : sampler.advance()
      // Told to the reader when it comes for the next one, if it does.
      next?.catch(() => undefined)
      if (maxTokens > 0) {
        onToken?.(token)
        yield { type: 'token', id: token, text: piece, ...scored }
      }
      if (finish) return finish
      signal?.throwIfAborted()
      sequence.checkOpen()
      await next
    }
  } finally {
    await next?.catch(() => undefined)
    sampler.settle(place)
    // What was sampled is not wanted: whoever goes on samples again, behind the same prompt.
    if (maxTokens === 0) sequence.stepBack(sampling)
  }
}
