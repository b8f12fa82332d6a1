/** Generation: prefill, then one token after the other, until something ends it. */
import { createHash, randomInt } from 'node:crypto'
import type { Sampling } from './engine.ts'
import { checkNames, errors } from './errors.ts'
import type { Model, Prompt } from './model.ts'
import { checkSampling, defaultSampling, samplingNames } from './sampling.ts'
import { StopStrings } from './stop.ts'
import { TextStream } from './tokenizer/tokenizer.ts'

export interface GenerateOptions extends Partial<Sampling> {
  /** Tokens to generate at most; default: until the text ends or the context is full. */
  maxTokens?: number
  /** End at a token that ends a text; default: true for a text prompt, false for ids. */
  stopAtEos?: boolean
  /** Texts that end the generation; they are not part of it. */
  stop?: string[]
  signal?: AbortSignal
  /** Told of every token as it is generated. */
  onToken?: (id: number) => void
  /** Told while the prompt is read. */
  onPrefill?: (progress: { done: number; total: number }) => void
}

const generateOptions = [...samplingNames, 'maxTokens', 'stopAtEos', 'stop', 'signal', 'onToken', 'onPrefill']

/** Why a generation ended. */
export type Finish = 'length' | 'eos' | 'stop' | 'context'

export interface Generation {
  /** Generated ids, an ending token included. */
  tokens: number[]
  text: string
  promptTokens: number
  finish: Finish
  /** The settings used, with the seed that repeats this text. */
  sampling: Sampling
  prefillSeconds: number
  /** Time of the tokens after the first, which prefill brings. */
  decodeSeconds: number
  /** SHA-256 of the last logits, first 16 hex digits: a change of any bit shows. */
  logitsHash: string
}

export async function* generate(
  model: Model,
  prompt: Prompt,
  options: GenerateOptions,
): AsyncGenerator<string, Generation> {
  const { engine, context } = model
  checkNames('generate()', options, generateOptions)
  const ids = model.promptIds(prompt)
  const sampling = resolveSampling(model, options)
  const { maxTokens = Number.POSITIVE_INFINITY, stopAtEos = typeof prompt === 'string', signal } = options
  const isCount = maxTokens === Number.POSITIVE_INFINITY || (Number.isInteger(maxTokens) && maxTokens >= 1)
  if (!isCount) throw errors.badOption('maxTokens (-n)', 'a whole number of at least 1', maxTokens)

  const stops = checkStops(options.stop ?? [])
  if (stops.length > 0 && !model.tokenizer)
    throw errors.badOption('stop', 'absent, because this model has no tokenizer', stops)
  const output = new Output(model, stops)
  const started = performance.now()
  const onProgress = (done: number) => options.onPrefill?.({ done, total: ids.length })
  let next = await model.prefill(ids, sampling, { signal, onProgress })
  const prefilled = performance.now()
  let finish: Finish | undefined
  for (let position = ids.length; ; position++) {
    const isEos = stopAtEos && model.eos.has(next)
    options.onToken?.(next)
    const piece = isEos ? output.end(next) : output.push(next)
    if (isEos) finish = 'eos'
    else if (output.isStopped) finish = 'stop'
    else if (output.tokens.length >= maxTokens) finish = 'length'
    else if (position >= context) finish = 'context'
    if (piece !== '') yield piece
    if (finish) break
    signal?.throwIfAborted()
    ;[next = 0] = await engine.step([{ conversation: 0, position, token: next, sampling }])
  }
  const decodeSeconds = (performance.now() - prefilled) / 1000
  const rest = output.isStopped ? '' : output.flush()
  if (rest !== '') yield rest
  return {
    tokens: output.tokens,
    text: output.text,
    promptTokens: ids.length,
    finish,
    sampling,
    prefillSeconds: (prefilled - started) / 1000,
    decodeSeconds,
    logitsHash: createHash('sha256').update(engine.logits(0).slice()).digest('hex').slice(0, 16),
  }
}

/** Tokens so far and their text; a model without a tokenizer has no text. */
class Output {
  readonly tokens: number[] = []
  text = ''
  isStopped = false
  private readonly stream: TextStream | undefined
  private readonly stops: StopStrings

  constructor(model: Model, stops: string[]) {
    this.stream = model.tokenizer && new TextStream(model.tokenizer)
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

function resolveSampling(model: Model, options: GenerateOptions): Sampling {
  const given = Object.fromEntries(
    samplingNames.map((name) => [name, options[name]] as const).filter(([, value]) => value !== undefined),
  )
  return checkSampling({ seed: randomInt(2 ** 32), ...defaultSampling, ...model.recommended, ...given })
}

function checkStops(stops: string[]): string[] {
  if (!Array.isArray(stops)) throw errors.badOption('stop', 'a list of texts', stops)
  for (const stop of stops)
    if (typeof stop !== 'string' || stop === '') throw errors.badOption('a stop text', 'not empty', stop)
  return stops
}
