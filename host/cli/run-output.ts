/** What `gta run` tells of a text that it has written, or of as much as there is when it was stopped. */
import { cacheBytes } from '../../models/index.ts'
import { megabytes } from '../errors.ts'
import type { Finish, Generation, SavedConversation, Speculation } from '../runtime/api.ts'
import type { Model } from '../runtime/model.ts'
import { printJson } from './terminal.ts'

/** A generation; of one that was stopped, what is known. */
export interface Outcome
  extends Pick<Generation, 'tokens' | 'text' | 'promptTokens' | 'decodeSeconds'>,
    Partial<Pick<Generation, 'cachedTokens' | 'speculation' | 'logitsHash' | 'value'>> {
  finish: Finish | 'interrupted'
  sampling: Generation['sampling'] | undefined
  /** Absent if the prompt was not read to its end. */
  prefillSeconds: number | undefined
}

export interface Circumstances {
  /** Bytes per second that the memory gives, if that was measured. */
  bandwidth: number | undefined
  isJson: boolean
  session: (SavedConversation & { restoredTokens: number }) | undefined
}

/** Statistics on stderr, or everything as a JSON document on stdout. */
export function report(model: Model, outcome: Outcome, circumstances: Circumstances): void {
  const speeds = speedsOf(model, outcome)
  const peakMemoryBytes = process.resourceUsage().maxRSS * 1024
  if (circumstances.isJson) printDocument(model, outcome, circumstances, { ...speeds, peakMemoryBytes })
  else process.stderr.write(`[${describe(outcome, circumstances, { ...speeds, peakMemoryBytes }).join(' · ')}]\n`)
}

interface Speeds {
  prefillTokensPerSecond: number
  decodeTokensPerSecond: number
  bytesReadPerSecond: number
}

function speedsOf(model: Model, { tokens, promptTokens, prefillSeconds, decodeSeconds }: Outcome): Speeds {
  const steps = tokens.length - 1
  const decode = steps > 0 ? steps / decodeSeconds : 0
  const kv = cacheBytes(model.spec, model.cacheType, promptTokens + tokens.length / 2)
  return {
    prefillTokensPerSecond: prefillSeconds === undefined ? 0 : promptTokens / prefillSeconds,
    decodeTokensPerSecond: decode,
    bytesReadPerSecond: decode * (model.bytesPerToken + kv.elements + kv.scales + kv.states),
  }
}

type Measured = Speeds & { peakMemoryBytes: number }

function printDocument(
  model: Model,
  outcome: Outcome,
  { bandwidth, session }: Circumstances,
  measured: Measured,
): void {
  const { tokens, text, value, finish, promptTokens, cachedTokens, speculation, sampling, logitsHash } = outcome
  printJson('run', {
    tokens,
    text: model.tokenizer ? text : null,
    value,
    finish,
    promptTokens,
    cachedTokens,
    speculation,
    session,
    seed: sampling?.seed,
    sampling,
    ...measured,
    memoryBandwidth: bandwidth,
    logitsHash,
    engine: model.engineName,
    weightType: model.weightType,
    cacheType: model.cacheType,
    context: model.context,
  })
}

function describe(outcome: Outcome, { bandwidth, session }: Circumstances, measured: Measured): string[] {
  const { tokens, promptTokens, prefillSeconds, speculation, sampling, logitsHash, finish } = outcome
  const { prefillTokensPerSecond, decodeTokensPerSecond, bytesReadPerSecond: read } = measured
  const steps = tokens.length - 1
  const decode = `decode ${steps} tokens ${decodeTokensPerSecond.toFixed(0)} tok/s, ${(read / 1e9).toFixed(1)} GB/s`
  return [
    ...(session ? [`session ${session.restoredTokens} tokens restored, ${session.tokens} saved`] : []),
    prefillSeconds === undefined
      ? 'prefill not finished'
      : `prefill ${promptTokens} tokens ${prefillTokensPerSecond.toFixed(0)} tok/s`,
    steps > 0 ? `${decode}${shareOf(read, bandwidth)}` : 'decode none',
    ...(speculation ? [describeSpeculation(speculation, steps)] : []),
    `peak ${megabytes(measured.peakMemoryBytes)}`,
    ...(logitsHash ? [`logits ${logitsHash}`] : []),
    ...(sampling ? [`seed ${sampling.seed}`] : []),
    `ended by ${finish === 'interrupted' ? 'a signal' : finish}`,
  ]
}

function shareOf(read: number, bandwidth: number | undefined): string {
  return bandwidth ? ` = ${((100 * read) / bandwidth).toFixed(0)} % of ${(bandwidth / 1e9).toFixed(1)} GB/s memory` : ''
}

function describeSpeculation({ steps, drafted, accepted }: Speculation, tokens: number): string {
  return `guessed ${accepted} of ${drafted} tokens right: ${(tokens / Math.max(1, steps)).toFixed(2)} tokens per step`
}
