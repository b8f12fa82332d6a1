/** How an answer ended and what it took, in OpenAI's words; and how fast it was, in llama-server's. */
import type { Generation } from '../../runtime/api.ts'
import { isCut } from '../writing.ts'

/** A text that was cut by max_tokens, or by the end of the context, is told alike. */
export function finishReason(generation: Generation): 'stop' | 'length' {
  return isCut(generation) ? 'length' : 'stop'
}

const tokensOf = (generations: readonly Generation[]) => generations.reduce((sum, { tokens }) => sum + tokens.length, 0)

/** Of all texts of a request; those of one prompt count it once. */
export function usageOf(generations: readonly Generation[], prompts = 1): object {
  const each = generations.length / prompts
  const first = generations.filter((_, i) => i % each === 0)
  const prompt = first.reduce((sum, { promptTokens }) => sum + promptTokens, 0)
  const cached = first.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0)
  const completion = tokensOf(generations)
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  }
}

/** Of the first text. */
export function timingsOf([first]: readonly Generation[]): object {
  if (!first) return {}
  const { promptTokens, cachedTokens, prefillSeconds, decodeSeconds, tokens } = first
  const computed = promptTokens - cachedTokens
  const decoded = tokens.length - 1
  const rate = (count: number, seconds: number) => (seconds > 0 ? count / seconds : null)
  return {
    cache_n: cachedTokens,
    prompt_n: computed,
    prompt_ms: prefillSeconds * 1000,
    prompt_per_second: rate(computed, prefillSeconds),
    predicted_n: tokens.length,
    predicted_ms: decodeSeconds * 1000,
    predicted_per_second: rate(decoded, decodeSeconds),
  }
}
