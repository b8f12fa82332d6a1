/** Settings of sampling: what a caller gives over what the model's generation_config.json says over our defaults. */

import { errors } from '../errors.ts'
import type { Sampling } from './engine.ts'

/** llama.cpp's defaults; the repetition penalty is off, as there. */
export const defaultSampling: Omit<Sampling, 'seed'> = {
  temperature: 0.8,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1,
  repeatLastN: 64,
}

/** Allowed range of each setting, both ends included. */
const ranges: Record<keyof Sampling, { min: number; max: number; isWhole?: boolean }> = {
  temperature: { min: 0, max: 100 },
  topK: { min: 0, max: 2 ** 31, isWhole: true },
  topP: { min: 0, max: 1 },
  minP: { min: 0, max: 1 },
  repeatPenalty: { min: 0.01, max: 100 },
  repeatLastN: { min: 0, max: 2 ** 31, isWhole: true },
  seed: { min: 0, max: Number.MAX_SAFE_INTEGER, isWhole: true },
}

export const samplingNames = Object.keys(ranges) as (keyof Sampling)[]

/** What a person at a terminal calls them. */
const flags: Record<keyof Sampling, string> = {
  temperature: '--temp',
  topK: '--top-k',
  topP: '--top-p',
  minP: '--min-p',
  repeatPenalty: '--repeat-penalty',
  repeatLastN: '--repeat-last-n',
  seed: '--seed',
}

/** Checks settings; throws GtaError BAD_OPTION with the name and the range. */
export function checkSampling(sampling: Sampling): Sampling {
  for (const name of samplingNames) {
    const { min, max, isWhole } = ranges[name]
    const value: unknown = sampling[name]
    if (!isWithin(name, value))
      throw errors.badOption(
        `${name} (${flags[name]})`,
        `a ${isWhole ? 'whole ' : ''}number from ${min} to ${max}`,
        value,
      )
  }
  return sampling
}

function isWithin(name: keyof Sampling, value: unknown): boolean {
  const { min, max, isWhole } = ranges[name]
  return typeof value === 'number' && value >= min && value <= max && (!isWhole || Number.isInteger(value))
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
  const found: Partial<Sampling> = {}
  for (const [name, field] of names) {
    const value = (generation as Record<string, unknown>)[field]
    if (isWithin(name, value)) found[name] = value as number
  }
  return found
}
