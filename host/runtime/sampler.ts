/** The tokens of a generation, one after the other, as its conversation computes them. */
import type { LogitBias, Sampling } from '../engine/engine.ts'
import { errors, OutOfMemoryError } from '../errors.ts'
import type { Constraint } from '../text/structured/constraint.ts'
import type { Finish, ScoredToken, Speculation } from './api.ts'
import type { Feed, SampledLogits } from './scheduler.ts'
import type { Sequence } from './sequence.ts'

export interface Verdict {
  /** Text that can be shown now. */
  piece: string
  /** Why this token is the last. */
  finish: Finish | undefined
}

interface Sampled extends Verdict {
  token: number
  /** With log probabilities. */
  scored?: ScoredToken
}

/** How tokens are chosen, and judged. */
export interface Choice {
  sampling: Sampling
  /** Tokens to guess at most. */
  speculate: number
  constraint?: Constraint | undefined
  bias?: LogitBias | undefined
  signal?: AbortSignal | undefined
  /** Log probabilities of a token and of so many alternatives, and how many of each kind of token. */
  score?: ((logits: Float32Array, token: number, count: number) => ScoredToken) | undefined
  logprobs?: number | undefined
  promptLogprobs?: number | undefined
  /** What a token says, and whether it is the last; asked once for each, in their order, when it is sampled. */
  judge(token: number, position: number): Verdict
}

/** Where a generation has come to. */
export interface Place {
  token: number
  /** Tokens before it, those that are forgotten too. */
  position: number
}

/** The tokens of a conversation, one after the other; with speculation, some of them are computed ahead. */
export class Sampler {
  readonly speculation: Speculation = { steps: 0, drafted: 0, accepted: 0 }
  /** Positions in the cache before the current token. */
  position = 0
  /** That of the logits of the last token, once there is one: they are in the engine only until its next step. */
  logitsHash = ''
  /** Of all tokens so far, and of those of the prompt behind its first one; where they are asked for. */
  readonly logprobs: ScoredToken[] = []
  readonly promptLogprobs: ScoredToken[] = []
  private readonly choice: Choice
  private readonly sequence: Sequence
  private readonly sampling: Sampling
  private readonly speculate: number
  /** All tokens of the conversation before the first one that is generated. */
  private generatedFrom: number | undefined
  /** The current token, and those behind it that are known already. */
  private ahead: Sampled[] = []
  /** Tokens that were judged before their computation failed. */
  private readonly judged: Sampled[] = []
  /** All tokens before the current one. */
  private history: number[] = []

  constructor(sequence: Sequence, choice: Choice) {
    this.sequence = sequence
    this.choice = choice
    this.sampling = choice.sampling
    // What may come next is known for one token at a time.
    this.speculate = choice.constraint ? 0 : choice.speculate
  }

  get current(): Sampled {
    return this.ahead[0] as Sampled
  }

  /** Computes a prompt and samples what follows. */
  async start(ids: readonly number[], onProgress: (done: number) => void, leaving: AbortSignal): Promise<void> {
    await this.compute(ids, [], { onProgress, leaving })
    this.position = this.sequence.length
    this.generatedFrom = this.position + this.sequence.dropped
    // The token that was pending before the prompt is computed.
    this.sequence.resume(undefined, this.sampling)
    if (this.speculate > 0) this.history = this.sequence.tokens
  }

  /** Goes on to the next token. */
  async advance(): Promise<void> {
    const { sequence, speculation, history } = this
    const { token } = this.current
    if (this.speculate > 0) history.push(token)
    if (this.ahead.length > 1) {
      this.ahead.shift()
      this.position++
      return
    }
    const draft = this.draft()
    let accepted: number
    try {
      accepted = await this.compute([...sequence.unread, token, ...draft], draft)
    } catch (error) {
      // Others took the memory that the guess needed: compute this token without a guess.
      if (draft.length === 0 || !(error instanceof OutOfMemoryError)) throw error
      draft.length = 0
      sequence.cut(this.position)
      accepted = await this.compute([...sequence.unread, token], draft)
    }
    this.position = sequence.length - draft.length
    sequence.cut(this.position + accepted)
    speculation.steps++
    speculation.drafted += draft.length
    speculation.accepted += accepted
  }

  /** The current token and its position. */
  get place(): Place {
    return { token: this.current.token, position: this.position + this.sequence.dropped }
  }

  /** Leaves the conversation where the caller stopped: that token is computed with what will follow it. */
  settle({ token, position }: Place): void {
    const { sequence } = this
    sequence.cut(position - sequence.dropped)
    sequence.resume(token, this.sampling)
  }

  private draft(): number[] {
    const { sequence, speculate, history } = this
    // A state cannot go back by a few tokens: a wrong guess would cost up to a page of them.
    if (speculate === 0 || sequence.runtime.cache.hasStates) return []
    const draft = promptLookup(history, Math.min(speculate, sequence.share - 1))
    return sequence.hasMemory(1 + draft.length) ? draft : []
  }

  /** Computes tokens, of which the last are a guess at what will be sampled; returns how much of the guess was right. */
  private async compute(tokens: readonly number[], draft: readonly number[], prefill: Partial<Feed> = {}) {
    const { sequence, sampling, generatedFrom } = this
    const { signal, bias, constraint, judge, promptLogprobs } = this.choice
    const first = sequence.length + tokens.length - draft.length
    // Of a prompt whose log probabilities are wanted, all but the last are no tokens of the text.
    const isScored = promptLogprobs !== undefined && generatedFrom === undefined
    let place = isScored ? 1 : tokens.length
    const sampled: Sampled[] = []
    let accepted = 0
    let isRight = true
    const onSampled = (token: number, logits: SampledLogits) => {
      if (place < tokens.length) return this.scorePrompt(tokens[place++] as number, logits)
      if (!isRight) return undefined
      let pending: Promise<void> | undefined
      // What an attempt that failed has judged is sampled again.
      if (!sampled.at(-1)?.finish) {
        const next = this.judged.shift() ?? { token, ...judge(token, first + accepted) }
        sampled.push(next)
        pending = this.note(next, logits)
      }
      isRight = token === draft[accepted]
      if (isRight) accepted++
      return pending
    }
    try {
      const mask = checkMask(constraint?.allowed(), sequence.runtime.spec.vocabSize)
      const isEvery = isScored || draft.length > 0
      const from = generatedFrom === undefined ? {} : { generatedFrom }
      await sequence.feed({ tokens, sampling, isEvery, mask, bias, ...from, signal, ...prefill, onSampled })
    } catch (error) {
      this.judged.unshift(...sampled)
      throw error
    }
    this.ahead = sampled
    return accepted
  }

  /** What is to be read from the logits of a token, if anything. */
  private note(next: Sampled, logits: SampledLogits): Promise<void> | undefined {
    const { score, logprobs } = this.choice
    if (!next.finish && logprobs === undefined) return undefined
    const read = async () => {
      if (score && logprobs !== undefined && !next.scored) {
        next.scored = score(await logits.values(), next.token, logprobs)
        this.logprobs.push(next.scored)
      }
      if (next.finish) this.logitsHash = await logits.hash()
    }
    return read()
  }

  private async scorePrompt(token: number, logits: SampledLogits): Promise<void> {
    const { score, promptLogprobs = 0 } = this.choice
    if (score) this.promptLogprobs.push(score(await logits.values(), token, promptLogprobs))
  }
}

/** Throws NOTHING_ALLOWED where no token of the vocabulary may come next. */
function checkMask(mask: Uint32Array | undefined, vocabSize: number): Uint32Array | undefined {
  if (!mask) return undefined
  const whole = vocabSize >>> 5
  for (let i = 0; i < whole; i++) if (mask[i]) return mask
  if ((mask[whole] ?? 0) & (2 ** (vocabSize & 31) - 1)) return mask
  throw errors.nothingAllowed()
}

/** What followed when the tokens last ended as they do now: prompt lookup (A. Saxena 2023). */
export function promptLookup(tokens: readonly number[], most: number): number[] {
  const end = tokens.length
  if (most < 1) return []
  for (const n of [3, 2])
    for (let i = end - n - 1; i >= 0; i--) {
      let same = 0
      while (same < n && tokens[i + same] === tokens[end - n + same]) same++
      if (same === n) return tokens.slice(i + n, i + n + most)
    }
  return []
}
