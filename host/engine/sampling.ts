/** Settings of sampling: what a caller gives over what the model's generation_config.json says over our defaults. */
import { checkSetting } from '../errors.ts'
import { isAllowed, samplingSettings } from '../settings.ts'
import type { Sampling } from './engine.ts'

const { temperature, topK, topP, minP, repeatPenalty, repeatLastN, presencePenalty, frequencyPenalty } =
  samplingSettings

export const defaultSampling: Omit<Sampling, 'seed'> = {
  temperature: temperature.default,
  topK: topK.default,
  topP: topP.default,
  minP: minP.default,
  repeatPenalty: repeatPenalty.default,
  repeatLastN: repeatLastN.default,
  presencePenalty: presencePenalty.default,
  frequencyPenalty: frequencyPenalty.default,
}

export const samplingNames = Object.keys(samplingSettings) as (keyof Sampling)[]

/** Checks settings; throws GtaError BAD_OPTION with the name and the range. */
export function checkSampling(sampling: Sampling): Sampling {
  // A session may lack one.
  for (const name of samplingNames) checkSetting(name, sampling[name] === undefined ? 'nothing' : sampling[name])
  return sampling
}

/** Settings that generation_config.json recommends; what is not usable there is ignored, it is advice only. */
export function recommendedSampling(generation: unknown): Partial<Sampling> {
  if (typeof generation !== 'object' || generation === null) return {}
  const names: [keyof Sampling, string][] = [
    ['temperature', 'temperature'],
    ['topK', 'top_k'],
    ['topP', 'top_p'],
    ['minP', 'min_p'],
    ['repeatPenalty', 'repetition_penalty'],
  ]
  // Without sampling, the most likely token; penalties are for both.
  const isGreedy = (generation as Record<string, unknown>).do_sample === false
  const found: Partial<Sampling> = {}
  for (const [name, field] of names) {
    const value = (generation as Record<string, unknown>)[field]
    if (isAllowed(samplingSettings[name], value)) found[name] = value as number
  }
  return isGreedy ? { ...found, temperature: 0 } : found
}
