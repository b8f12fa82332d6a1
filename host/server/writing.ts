/**
 * Writes texts for a request: room in the cache is promised first, then all texts of it are generated beside each other, and
 * those of other requests. Whoever reads slowly holds up its own texts only. What one fails of, the others of the request end
 * with.
 */
import type { GenerateOptions, Generation, GenerationEvent } from '../runtime/api.ts'
import type { Call } from './call.ts'
import type { ServedModel } from './served-model.ts'
import type { Services } from './services.ts'

export type TokenEvent = Extract<GenerationEvent, { type: 'token' }>

/** Was a text ended by a limit, before its end? */
export const isCut = ({ finish }: Pick<Generation, 'finish'>) => finish === 'length' || finish === 'context'

export interface Writing {
  ids: number[]
  options: GenerateOptions
  /** Texts of the same prompt; each has a seed of its own. */
  count?: number
  /** Told of every token; if it returns a promise, this text waits for it. */
  onToken: (choice: number, token: TokenEvent) => Promise<void> | undefined
  /** Told when one of the texts is complete. */
  onEnd?: (choice: number, generation: Generation) => Promise<void> | undefined
}

/** Resolves to how each text went. Rejects with what ended one of them, or the reason of the call's signal. */
export async function write(
  services: Services,
  call: Call,
  served: ServedModel,
  writing: Writing,
): Promise<Generation[]> {
  const { pool, metrics, defaults } = services
  const { ids, count = 1 } = writing
  const options = { stopAtEos: true, ...defaults, ...writing.options }
  const giveBack = await served.reserve(ids.length + (options.maxTokens ?? served.model.context), count, call.signal)
  // What one of them fails of ends the others too.
  const stopped = new AbortController()
  const stop = () => stopped.abort(call.signal.reason)
  call.signal.addEventListener('abort', stop)
  if (call.signal.aborted) stop()
  const one = async (choice: number) => {
    const seed = options.seed === undefined ? {} : { seed: options.seed + choice }
    const own = { ...writing, choice, options: { ...options, ...seed, signal: stopped.signal } }
    try {
      return await writeOne(services, call, served, own)
    } catch (error) {
      stopped.abort(error)
      throw error
    }
  }
  try {
    const outcomes = await Promise.allSettled(Array.from({ length: count }, (_, choice) => one(choice)))
    const failed = outcomes.some(({ status }) => status === 'rejected')
    if (failed) throw stopped.signal.reason
    const generations = outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Generation>).value)
    metrics.wrote(generations)
    Object.assign(call.notes, notesOf(generations))
    return generations
  } catch (error) {
    pool.failed(served, error)
    throw error
  } finally {
    call.signal.removeEventListener('abort', stop)
    giveBack()
  }
}

async function writeOne(
  { metrics }: Services,
  call: Call,
  { model }: ServedModel,
  { ids, options, choice, onToken, onEnd }: Writing & { choice: number },
): Promise<Generation> {
  const begun = performance.now()
  let isFirst = true
  const events = model.generate(ids, options).events()
  try {
    for (;;) {
      const { value: event } = await events.next()
      if (event.type === 'prefill') call.stream?.progress(event.done, event.total)
      else if (event.type === 'token') {
        if (isFirst) metrics.firstToken((performance.now() - begun) / 1000)
        isFirst = false
        metrics.tokens++
        const slow = onToken(choice, event)
        if (slow) await slow
      } else {
        await onEnd?.(choice, event.result)
        return event.result
      }
    }
  } finally {
    await events.return?.()
  }
}

function notesOf(generations: readonly Generation[]): Record<string, number> {
  const [first] = generations
  return {
    promptTokens: first?.promptTokens ?? 0,
    cachedTokens: first?.cachedTokens ?? 0,
    tokens: generations.reduce((sum, { tokens }) => sum + tokens.length, 0),
  }
}
