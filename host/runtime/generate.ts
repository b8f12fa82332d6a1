/** Generation: prefill, then one token after the other, until something ends it. */
import type { Sampling } from '../engine/engine.ts'
import { checkSampling, defaultSampling, samplingNames } from '../engine/sampling.ts'
import { checkNames, checkSetting, checkTokens, errors, OutOfMemoryError } from '../errors.ts'
import { generateSettings, settings } from '../settings.ts'
import { TextStream } from '../text/text-stream.ts'
import type { Finish, GenerateOptions, Generation, Prompt, Speculation } from './api.ts'
import type { Runtime } from './runtime.ts'
import type { SampledLogits } from './scheduler.ts'
import type { Sequence } from './sequence.ts'
import { StopStrings } from './stop.ts'
import { GenerationStream } from './stream.ts'

const generateOptions = [...Object.keys(generateSettings), 'stopAtEos', 'stopTokens', 'signal', 'onToken', 'onPrefill']

/** See `Conversation.generate`. */
export function generate(sequence: Sequence, prompt: Prompt | undefined, options: GenerateOptions): GenerationStream {
  return new GenerationStream(pieces(sequence, prompt, options))
}

async function* pieces(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions,
): AsyncGenerator<string, Generation> {
  const release = sequence.acquire()
  try {
    return yield* continueWith(sequence, prompt, options)
  } finally {
    release()
  }
}

async function* continueWith(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions,
): AsyncGenerator<string, Generation> {
  const { runtime } = sequence
  checkNames('generate()', options, generateOptions)
  sequence.checkLength(prompt)
  const given = prompt === undefined ? [] : runtime.promptIds(prompt, sequence.isBegun)
  const ids = [...sequence.pending, ...given]
  if (ids.length === 0) throw errors.emptyPrompt()
  sequence.checkRoom(ids)
  const sampling = resolveSampling(runtime, sequence.lastSampling, options)
  const {
    maxTokens = Number.POSITIVE_INFINITY,
    // Without a prompt it goes on with text, if the model has a tokenizer.
    stopAtEos = typeof prompt === 'string' || (prompt === undefined && runtime.tokenizer !== undefined),
    signal,
    speculate = settings.speculate.default,
  } = options
  if (maxTokens !== Number.POSITIVE_INFINITY) checkSetting('maxTokens', maxTokens)
  checkSetting('speculate', speculate)
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw errors.badOption('signal', 'an AbortSignal', signal)

  const stops = checkStops(options.stop ?? [])
  if (stops.length > 0 && !runtime.tokenizer)
    throw errors.badOption('stop', 'absent, because this model has no tokenizer', stops)
  const stopTokens = options.stopTokens ?? []
  checkTokens(stopTokens, runtime.spec.vocabSize)
  const output = new Output(runtime, stops)
  /** What a token says, and whether it is the last; asked once for each, in their order, when it is sampled. */
  const judge = (token: number, position: number): Verdict => {
    if (maxTokens === 0) return { piece: '', finish: 'length' }
    const isEos = (stopAtEos && runtime.eos.has(token)) || stopTokens.includes(token)
    const piece = isEos ? output.end(token) : output.push(token)
    if (isEos) return { piece, finish: 'eos' }
    if (output.isStopped) return { piece, finish: 'stop' }
    if (output.tokens.length >= maxTokens) return { piece, finish: 'length' }
    const isFull = sequence.context.policy === 'error' && position >= runtime.context
    return { piece, finish: isFull ? 'context' : undefined }
  }
  const sampler = new Sampler(sequence, sampling, speculate, signal, judge)
  const started = performance.now()
  await sequence.claim(signal)
  const { reused, matched } = await sequence.whole(async () => {
    const reuse = sequence.reuse(ids)
    const report = (done: number) => options.onPrefill?.({ done: reuse.reused + done, total: ids.length })
    await sampler.start(ids.slice(reuse.reused), report)
    return reuse
  })
  const prefilled = performance.now()
  let finish: Finish | undefined
  try {
    for (;;) {
      const { token, piece } = sampler.current
      finish = sampler.current.finish
      if (maxTokens > 0) options.onToken?.(token)
      if (piece !== '') yield piece
      if (finish) break
      signal?.throwIfAborted()
      sequence.checkOpen()
      await sampler.advance()
    }
  } finally {
    sampler.settle()
    // What was sampled is not wanted: whoever goes on samples again, behind the same prompt.
    if (maxTokens === 0) sequence.stepBack(sampling)
  }
  const decodeSeconds = (performance.now() - prefilled) / 1000
  const rest = output.isStopped ? '' : output.flush()
  if (rest !== '') yield rest
  return {
    tokens: output.tokens,
    text: output.text,
    promptTokens: ids.length,
    cachedTokens: reused,
    matchedTokens: matched,
    finish,
    sampling,
    prefillSeconds: (prefilled - started) / 1000,
    decodeSeconds,
    ...(speculate > 0 ? { speculation: sampler.speculation } : {}),
    logitsHash: sampler.logitsHash,
  }
}

interface Verdict {
  /** Text that can be shown now. */
  piece: string
  /** Why this token is the last. */
  finish: Finish | undefined
}

interface Sampled extends Verdict {
  token: number
}

/** The tokens of a conversation, one after the other; with speculation, some of them are computed ahead. */
class Sampler {
  readonly speculation: Speculation = { steps: 0, drafted: 0, accepted: 0 }
  /** Positions in the cache before the current token. */
  position = 0
  /** That of the logits of the last token, once there is one: they are in the engine only until its next step. */
  logitsHash = ''
  private readonly sequence: Sequence
  private readonly sampling: Sampling
  private readonly speculate: number
  private readonly signal: AbortSignal | undefined
  private readonly judge: (token: number, position: number) => Verdict
  /** The current token, and those behind it that are known already. */
  private ahead: Sampled[] = []
  /** Tokens that were judged before their computation failed. */
  private readonly judged: Sampled[] = []
  /** All tokens before the current one. */
  private readonly history: number[] = []

  constructor(
    sequence: Sequence,
    sampling: Sampling,
    speculate: number,
    signal: AbortSignal | undefined,
    judge: (token: number, position: number) => Verdict,
  ) {
    this.sequence = sequence
    this.sampling = sampling
    this.speculate = speculate
    this.signal = signal
    this.judge = judge
  }

  get current(): Sampled {
    return this.ahead[0] as Sampled
  }

  /** Computes a prompt and samples what follows. */
  async start(ids: readonly number[], onProgress: (done: number) => void): Promise<void> {
    await this.compute(ids, [], onProgress)
    this.position = this.sequence.length
    // The token that was pending before the prompt is computed.
    this.sequence.resume(undefined, this.sampling)
    if (this.speculate > 0) this.history.push(...this.sequence.tokens)
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

  /** Leaves the conversation where the caller stopped: the current token is computed with what will follow it. */
  settle(): void {
    this.sequence.cut(this.position)
    this.sequence.resume(this.current.token, this.sampling)
  }

  private async noteHash(logits: SampledLogits): Promise<void> {
    this.logitsHash = await logits.hash()
  }

  private draft(): number[] {
    const { sequence, speculate, history } = this
    // A state cannot go back by a few tokens: a wrong guess would cost up to a page of them.
    if (speculate === 0 || sequence.runtime.cache.hasStates) return []
    const draft = promptLookup(history, Math.min(speculate, sequence.share - 1))
    return sequence.hasMemory(1 + draft.length) ? draft : []
  }

  /** Computes tokens, of which the last are a guess at what will be sampled; returns how much of the guess was right. */
  private async compute(tokens: readonly number[], draft: readonly number[], onProgress?: (done: number) => void) {
    const { sequence, sampling, signal } = this
    const first = sequence.length + tokens.length - draft.length
    const sampled: Sampled[] = []
    let accepted = 0
    let isRight = true
    const onSampled = (token: number, logits: SampledLogits) => {
      if (!isRight) return undefined
      let pending: Promise<void> | undefined
      // What an attempt that failed has judged is sampled again.
      if (!sampled.at(-1)?.finish) {
        const next = this.judged.shift() ?? { token, ...this.judge(token, first + accepted) }
        sampled.push(next)
        if (next.finish) pending = this.noteHash(logits)
      }
      isRight = token === draft[accepted]
      if (isRight) accepted++
      return pending
    }
    try {
      await sequence.feed({ tokens, sampling, isEvery: draft.length > 0, signal, onProgress, onSampled })
    } catch (error) {
      this.judged.unshift(...sampled)
      throw error
    }
    this.ahead = sampled
    return accepted
  }
}

/** Tokens so far and their text; a model without a tokenizer has no text. */
class Output {
  readonly tokens: number[] = []
  text = ''
  isStopped = false
  private readonly stream: TextStream | undefined
  private readonly stops: StopStrings

  constructor({ tokenizer }: Runtime, stops: string[]) {
    this.stream = tokenizer && new TextStream(tokenizer)
    this.stops = new StopStrings(stops)
  }

  /** Adds a token and returns the text that can be shown now. */
  push(token: number): string {
    this.tokens.push(token)
    const { text, isStopped } = this.stops.push(this.stream?.push(token) ?? '')
    this.isStopped = isStopped
    this.text += text
    return text
  }

  /** Adds the token that ends the text; it is not shown. */
  end(token: number): string {
    this.tokens.push(token)
    return ''
  }

  /** What was held back. */
  flush(): string {
    const { text } = this.stops.push(this.stream?.end() ?? '')
    const rest = text + this.stops.end()
    this.text += rest
    return rest
  }
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

function resolveSampling(runtime: Runtime, last: Sampling | undefined, options: GenerateOptions): Sampling {
  const given = Object.fromEntries(
    samplingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined),
  )
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] as number
  return checkSampling({ seed, ...defaultSampling, ...runtime.recommended, ...last, ...given })
}

function checkStops(stops: string[]): string[] {
  if (!Array.isArray(stops)) throw errors.badOption('stop', 'a list of texts', stops)
  for (const stop of stops)
    if (typeof stop !== 'string' || stop === '') throw errors.badOption('a stop text', 'not empty', stop)
  return stops
}
