/** Embeddings: what a model has made of a text behind its last norm, the mean over its tokens. */
import { checkNames, checkSignal, errors, OutOfMemoryError } from '../errors.ts'
import type { Embeddings, Prompt } from './api.ts'
import type { Runtime } from './runtime.ts'
import { Sequence } from './sequence.ts'

/** Texts that are under way at a time: short ones share steps. */
const TOGETHER = 8

interface EmbedOptions {
  signal?: AbortSignal
}

/** See `Model.embed`. */
export async function embed(
  runtime: Runtime,
  texts: readonly Prompt[],
  options: EmbedOptions = {},
): Promise<Embeddings> {
  checkNames('embed()', options, ['signal'])
  checkSignal(options.signal)
  if (!Array.isArray(texts)) throw errors.badOption('texts of embed()', 'a list of texts or of lists of ids', texts)
  // All are looked at before one is computed.
  const left = texts.map((text: Prompt, index) => ({ index, ids: checkedIds(runtime, text) }))
  const promptTokens = left.reduce((sum, { ids }) => sum + ids.length, 0)
  const vectors: Float32Array[] = new Array(left.length)
  const failed = new AbortController()
  const workers = Math.min(TOGETHER, left.length)
  let running = workers
  const work = async () => {
    try {
      for (let next = left.shift(); next; next = left.shift()) {
        failed.signal.throwIfAborted()
        options.signal?.throwIfAborted()
        const isAlone = running === 1
        try {
          vectors[next.index] = await embedOne(runtime, next.ids, options.signal)
        } catch (error) {
          // Together they want more of the cache than there is: one less at a time, and the last one alone.
          if (!(error instanceof OutOfMemoryError) || isAlone) throw error
          left.unshift(next)
          if (running > 1) return
        }
      }
    } catch (error) {
      failed.abort(error)
      throw error
    } finally {
      running--
    }
  }
  const all = await Promise.allSettled(Array.from({ length: workers }, work))
  for (const outcome of all) if (outcome.status === 'rejected') throw failed.signal.reason
  return { vectors, promptTokens, isEmbeddingModel: false }
}

/** Throws BAD_PROMPT or CONTEXT_FULL. */
function checkedIds(runtime: Runtime, text: Prompt): number[] {
  using sequence = new Sequence(runtime, {})
  sequence.checkLength(text)
  const ids = runtime.promptIds(text)
  sequence.checkRoom(ids)
  return ids
}

async function embedOne(runtime: Runtime, tokens: readonly number[], signal: AbortSignal | undefined) {
  using sequence = new Sequence(runtime, {})
  const sums = new Float64Array(runtime.spec.hiddenDim)
  const onState = (state: Float32Array) => {
    for (let i = 0; i < sums.length; i++) (sums[i] as number) += state[i] as number
  }
  const release = sequence.acquire()
  try {
    await sequence.feed({ tokens, signal, onState })
  } finally {
    release()
  }
  // The length is 1 whatever the mean is divided by.
  const norm = Math.sqrt(sums.reduce((sum, value) => sum + value * value, 0))
  return Float32Array.from(sums, (value) => (norm === 0 ? 0 : value / norm))
}
