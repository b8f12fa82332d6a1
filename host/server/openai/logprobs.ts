/** How likely tokens were, in OpenAI's two shapes. */
import type { ScoredToken, TokenLogprob } from '../../runtime/api.ts'

type Scored = Pick<TokenLogprob, 'id' | 'bytes' | 'logprob'>

const hex = (byte: number) => `\\x${byte.toString(16).padStart(2, '0')}`

/** A token as text; one that is a part of a character, or none, has a name that no other token has. */
export function tokenText({ id, bytes }: Pick<Scored, 'id' | 'bytes'>): string {
  if (bytes.length === 0) return `token_id:${id}`
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return `bytes:${Array.from(bytes, hex).join('')}`
  }
}

/** JSON has no −∞. */
const finite = (logprob: number) => Math.max(logprob, -9999)

const entryOf = (token: Scored) => ({
  token: tokenText(token),
  logprob: finite(token.logprob),
  bytes: [...token.bytes],
})

/** Of chats: "logprobs" of a choice. Tokens that show nothing, such as the one that ends an answer, are left out. */
export function chatLogprobs(scored: readonly Partial<ScoredToken>[]): { content: object[] } {
  const shown = scored.filter((token) => (token.bytes?.length ?? 0) > 0) as ScoredToken[]
  return { content: shown.map((token) => ({ ...entryOf(token), top_logprobs: token.top.map(entryOf) })) }
}

export interface CompletionLogprobs {
  tokens: string[]
  token_logprobs: (number | null)[]
  top_logprobs: (Record<string, number> | null)[]
  text_offset: number[]
}

/**
 * Of completions: lists side by side, with the prompt's tokens if it is repeated. Of the first one there is nothing. The token
 * that ends the text is among them; the one that was taken is among the likely ones, whichever they are.
 */
export function completionLogprobs(
  prompt: readonly { token: Pick<Scored, 'id' | 'bytes'>; scored: ScoredToken | undefined }[],
  written: readonly ScoredToken[],
): CompletionLogprobs {
  const lists: CompletionLogprobs = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] }
  const decoder = new TextDecoder()
  let offset = 0
  const add = (token: Pick<Scored, 'id' | 'bytes'>, scored: ScoredToken | undefined) => {
    lists.tokens.push(tokenText(token))
    lists.token_logprobs.push(scored ? finite(scored.logprob) : null)
    lists.top_logprobs.push(scored ? topOf(scored) : null)
    lists.text_offset.push(offset)
    offset += decoder.decode(token.bytes, { stream: true }).length
  }
  for (const { token, scored } of prompt) add(token, scored)
  for (const scored of written) add(scored, scored)
  return lists
}

function topOf(scored: ScoredToken): Record<string, number> {
  // The most likely of several tokens of one text comes last, and stays.
  const likely = [...scored.top].reverse().map((token) => [tokenText(token), finite(token.logprob)] as const)
  return Object.fromEntries([[tokenText(scored), finite(scored.logprob)] as const, ...likely])
}
