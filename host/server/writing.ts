/**
 * Writes texts for a request: room in the cache is promised first, then all texts of it are generated beside each other, and
 * those of other requests. Whoever reads slowly holds up its own texts only. What one fails of, the others of the request end
 * with.
 */
import { GtaError } from '../errors.ts'
import type { GenerateOptions, Generation } from '../runtime/api.ts'
import type { Exchange } from './exchange.ts'
import type { ServedModel } from './served-model.ts'
import type { Services } from './services.ts'

/** Told of every piece of text; if it returns a promise, this text waits for it. */
export type OnPiece = (choice: number, text: string) => Promise<void> | undefined

export interface Writing {
  ids: number[]
  options: GenerateOptions
  /** Texts of the same prompt; each has a seed of its own. */
  count?: number
  onPiece: OnPiece
}

/** Resolves to how each text went. Rejects with what ended one of them, or the reason of the exchange's signal. */
export async function write(
  { pool, metrics, defaults }: Services,
  exchange: Exchange,
  served: ServedModel,
  { ids, options, count = 1, onPiece }: Writing,
): Promise<Generation[]> {
  const { model } = served
  const room = ids.length + (options.maxTokens ?? defaults.maxTokens ?? Number.POSITIVE_INFINITY)
  const giveBack = await served.reserve(room, count, exchange.signal)
  const stopped = new AbortController()
  const stop = () => stopped.abort(exchange.signal.reason)
  exchange.signal.addEventListener('abort', stop)
  if (exchange.signal.aborted) stop()
  const begun = performance.now()
  const one = async (choice: number): Promise<Generation> => {
    let isFirst = true
    const pieces = model.generate(ids, {
      stopAtEos: true,
      ...defaults,
      ...options,
      ...(options.seed === undefined ? {} : { seed: options.seed + choice }),
      signal: stopped.signal,
      onPrefill: ({ done, total }) => exchange.stream?.progress(done, total),
      onToken: () => {
        if (isFirst) metrics.firstToken((performance.now() - begun) / 1000)
        isFirst = false
        metrics.tokens++
      },
    })
    try {
      for (;;) {
        const { done, value } = await pieces.next()
        if (done) return value
        const slow = onPiece(choice, value)
        if (slow) await slow
      }
    } catch (error) {
      stopped.abort(error)
      throw error
    } finally {
      await pieces.return(undefined as never)
    }
  }
  try {
    const outcomes = await Promise.allSettled(Array.from({ length: count }, (_, choice) => one(choice)))
    const failed = outcomes.find(({ status }) => status === 'rejected')
    if (failed) throw stopped.signal.reason ?? (failed as PromiseRejectedResult).reason
    const generations = outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Generation>).value)
    metrics.wrote(generations)
    Object.assign(exchange.notes, notesOf(generations))
    return generations
  } catch (error) {
    if (error instanceof GtaError && (error.code === 'ENGINE_FAILED' || error.code === 'CLOSED')) pool.discard(served)
    throw error
  } finally {
    exchange.signal.removeEventListener('abort', stop)
    giveBack()
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
