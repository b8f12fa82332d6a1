/** Parameters that several endpoints have, and what they are in the library. */
import type { GenerateOptions } from '../runtime/api.ts'
import { samplingSettings } from '../settings.ts'
import { apiErrors } from './errors.ts'
import { boolean, list, number, object, oneOrMore, type Read, type Reader, shown, whole } from './readers.ts'

const MAX_STOPS = 16

/** A text that ends the answer. */
const stopText: Reader<string> = (value, path) => {
  if (typeof value === 'string' && value !== '' && value.length <= 1000) return value
  const expected = path.endsWith(']')
    ? 'a text of 1 to 1000 characters'
    : 'a text of 1 to 1000 characters, or a list of such'
  throw apiErrors.badValue(
    path,
    expected,
    typeof value === 'string' && value !== '' ? `one of ${value.length}` : shown(value),
  )
}

export const stop = oneOrMore(stopText, { max: MAX_STOPS })

const rangeOf = ({ min, max }: { min: number; max: number }) => number(min, max)
const wholeOf = ({ min, max }: { min: number; max: number }) => whole(min, max)

export const temperature = rangeOf(samplingSettings.temperature)
export const topP = rangeOf(samplingSettings.topP)
export const topK = wholeOf(samplingSettings.topK)
export const minP = rangeOf(samplingSettings.minP)
export const repeatPenalty = rangeOf(samplingSettings.repeatPenalty)
export const repeatLastN = wholeOf(samplingSettings.repeatLastN)
export const penalty = number(-2, 2)
/** -1: as many as there is room for. */
export const maxTokens = whole(-1)

/** -1, as llama.cpp says it: another one each time. Other negative ones, which OpenAI allows, are as good as any. */
export const seed: Reader<number | undefined> = (value, path) => {
  const read = whole(Number.MIN_SAFE_INTEGER)(value, path)
  return read === -1 ? undefined : read < 0 ? Number.MAX_SAFE_INTEGER + read : read
}

/** { "1234": -100 … 100 } */
export const logitBias: Reader<Record<number, number>> = (value, path) => {
  const entries = Object.entries(object(value, path))
  if (entries.length > 1024)
    throw apiErrors.badValue(path, 'an object of at most 1024 tokens', `one of ${entries.length}`)
  return Object.fromEntries(
    entries.map(([id, bias]) => {
      if (!/^\d{1,9}$/.test(id))
        throw apiErrors.badValue(path, 'an object whose names are token ids', `"${id.slice(0, 50)}"`)
      return [Number(id), number(-100, 100)(bias, `${path}.${id}`)]
    }),
  )
}

/** As OpenAI and llama.cpp name them. */
export const samplingFields = {
  temperature,
  top_p: topP,
  top_k: topK,
  min_p: minP,
  repeat_penalty: repeatPenalty,
  repetition_penalty: repeatPenalty,
  repeat_last_n: repeatLastN,
  presence_penalty: penalty,
  frequency_penalty: penalty,
  logit_bias: logitBias,
  seed,
  stop,
  ignore_eos: boolean,
}

export const ids = list(whole(0, 2 ** 31), { min: 1, what: 'a text or a list of token ids' })

/** What was given of them, for the library. */
export function samplingOf(read: Read<typeof samplingFields>): GenerateOptions {
  return given({
    temperature: read.temperature,
    topP: read.top_p,
    topK: read.top_k,
    minP: read.min_p,
    repeatPenalty: read.repeat_penalty ?? read.repetition_penalty,
    repeatLastN: read.repeat_last_n,
    presencePenalty: read.presence_penalty || undefined,
    frequencyPenalty: read.frequency_penalty || undefined,
    logitBias: read.logit_bias && Object.keys(read.logit_bias).length > 0 ? read.logit_bias : undefined,
    seed: read.seed,
    stop: read.stop,
    stopAtEos: read.ignore_eos ? false : undefined,
  })
}

/** Without what is undefined: it would take the place of a default. */
export function given(options: Record<string, unknown>): GenerateOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** -1: as many tokens as there is room for, whatever the command line says; nothing: what it says. */
export function tokenLimit(...limits: (number | undefined)[]): { maxTokens?: number } {
  const limit = limits.find((value) => value !== undefined)
  if (limit === undefined) return {}
  return { maxTokens: limit < 0 ? Number.POSITIVE_INFINITY : limit }
}
