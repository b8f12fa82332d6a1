/** Generation: prefill, then one token after the other, until something ends it. */
import type { Sampling } from '../engine/engine.ts'
import { checkSampling, defaultSampling, samplingNames } from '../engine/sampling.ts'
import { checkNames, checkSetting, checkTokens, errors } from '../errors.ts'
import { generateSettings, settings } from '../settings.ts'
import { TextStream } from '../text/text-stream.ts'
import type { Finish, GenerateOptions, Generation, Prompt } from './api.ts'
import type { Runtime } from './runtime.ts'
import { Sampler, type Verdict } from './sampler.ts'
import type { Sequence } from './sequence.ts'
import { StopStrings } from './stop.ts'
import { GenerationStream } from './stream.ts'
import { structureOf } from './structure.ts'

const generateOptions = [
  ...Object.keys(generateSettings),
  ...['stopAtEos', 'stopTokens', 'signal', 'onToken', 'onPrefill', 'schema', 'pattern', 'json', 'constraint'],
]

/** See `Conversation.generate`. */
export function generate<T>(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions<T>,
): GenerationStream<T> {
  return new GenerationStream(pieces(sequence, prompt, options))
}

async function* pieces<T>(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions<T>,
): AsyncGenerator<string, Generation<T>> {
  const release = sequence.acquire()
  try {
    return yield* continueWith(sequence, prompt, options)
  } finally {
    release()
  }
}

async function* continueWith<T>(
  sequence: Sequence,
  prompt: Prompt | undefined,
  options: GenerateOptions<T>,
): AsyncGenerator<string, Generation<T>> {
  const { runtime } = sequence
  checkNames('generate()', options, generateOptions)
  const structure = await structureOf(options)
  const constrain = structure?.constraint ?? options.constraint
  sequence.checkLength(prompt)
  const given = prompt === undefined ? [] : runtime.promptIds(prompt, sequence.isBegun)
  const ids = [...sequence.pending, ...given]
  if (ids.length === 0) throw errors.emptyPrompt()
  sequence.checkRoom(ids)
  const sampling = resolveSampling(runtime, sequence.lastSampling, options)
  const {
    maxTokens = Number.POSITIVE_INFINITY,
    // Without a prompt it goes on with text, if the model has a tokenizer. A constraint says where the text may end.
    stopAtEos = typeof prompt === 'string' ||
      (prompt === undefined && runtime.tokenizer !== undefined) ||
      constrain !== undefined,
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
  const ends = new Set([...(stopAtEos ? runtime.eos : []), ...stopTokens])
  const constraint = await constrain?.({
    tokenizer: runtime.tokenizer,
    vocabSize: runtime.spec.vocabSize,
    ends,
  })
  const judge = (token: number, position: number): Verdict => {
    if (maxTokens === 0) return { piece: '', finish: 'length' }
    const isEos = ends.has(token)
    const piece = isEos ? output.end(token) : output.push(token)
    if (isEos) return { piece, finish: 'eos' }
    constraint?.push(token)
    if (output.isStopped || constraint?.isComplete) return { piece, finish: 'stop' }
    if (output.tokens.length >= maxTokens) return { piece, finish: 'length' }
    const isFull = sequence.context.policy === 'error' && position >= runtime.context
    return { piece, finish: isFull ? 'context' : undefined }
  }
  const sampler = new Sampler(sequence, { sampling, speculate, constraint, signal, judge })
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
  const isWhole = finish === 'eos' || constraint?.isComplete
  const checked = isWhole ? await structure?.valueOf(output.text) : undefined
  return {
    tokens: output.tokens,
    text: output.text,
    promptTokens: ids.length,
    cachedTokens: reused,
    matchedTokens: matched,
    finish,
    ...checked,
    sampling,
    prefillSeconds: (prefilled - started) / 1000,
    decodeSeconds,
    ...(speculate > 0 ? { speculation: sampler.speculation } : {}),
    logitsHash: sampler.logitsHash,
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
