/**
 * What a board report is: one JSON file that `gta bench --report` writes and a stranger sends. The same rules refuse to
 * write and to read: a field that is not named here is in no report, and a report that holds another one is refused.
 *
 *     gta-board/1
 *     ├─ date, set, seconds     when and what was measured
 *     ├─ software, machine      facts.ts
 *     ├─ heat                   before, during and after
 *     ├─ runs[]                 one model each ─ bandwidth[], results[]
 *     └─ skipped[]              runs of the set that could not be, and why
 *
 * Units are SI: bytes, seconds, Hz, °C. What could not be found out is absent. A change of meaning is another number
 * behind the name.
 */
import {
  type CacheType,
  cacheTypes,
  type PackingType,
  packingTypes,
  show,
  type WeightType,
  weightTypes,
} from '../../../../models/index.ts'
import { errors } from '../../../errors.ts'
import { toolErrors } from '../../errors.ts'
import type { Bandwidth, BenchResult } from '../report.ts'
import { type BoardFacts, forms, type SoftwareFacts } from './facts.ts'

export const boardSchema = 'gta-board/1'

export interface BoardReport {
  schema: typeof boardSchema
  /** Of the measurement, in UTC: 2026-11-28. */
  date: string
  /** The fixed set, or what the flags said. */
  set: 'standard-1' | 'flags'
  seconds: number
  software: SoftwareFacts
  machine: BoardFacts
  heat: BoardHeat
  runs: BoardRun[]
  skipped: { model: string; weightType: WeightType; reason: 'memory' }[]
  /** Of the process: the largest run. */
  peakRssBytes: number
  /** Every hash was the same in all repetitions and with any number of threads. */
  isGood: boolean
  /** Someone stopped it: tests are missing. */
  isUnfinished?: true
}

/** Seen once a second. */
export interface BoardHeat {
  before?: number
  highest?: number
  after?: number
  /** Hz of the first core. */
  lowestFrequency?: number
  highestFrequency?: number
  /** What slowed the processor down meanwhile; empty: nothing. */
  throttled?: string[]
  /** … and since the system's start. */
  throttledSinceStart?: string[]
}

export interface BoardRun {
  /** A config of the papers, or the file's name without its directory; absent where that is no plain name. */
  model?: string
  /** Weights of the user's own: nobody else can know the hash. */
  weights: 'synthetic' | 'embedded' | 'own'
  /** SHA-256 of the plan, first 16 hex digits: shape and weight type. */
  plan: string
  kind: string
  weightType: PackingType
  cacheType: CacheType
  weightBytes: number
  context: number
  batch: number
  repetitions: number
  loadSeconds: number
  bandwidth: Bandwidth[]
  results: BoardResult[]
}

export interface BoardResult
  extends Pick<BenchResult, 'test' | 'threads' | 'bytesPerSecond' | 'bandwidthShare' | 'operationsPerSecond' | 'hash'> {
  /** The engine's own choice, or what the set asked for. */
  isTuned: boolean
  tokensPerSecond: { median: number; min: number; max: number }
  parts: Record<'linear' | 'attention' | 'valueDecoder' | 'rest' | 'barrier', number>
  barrierShare: number
  /** Of the processors' time, what other programs took during the test. */
  foreignShare?: number
  /** Right after the test. */
  temperature?: number
  /** The hash was not always the same. */
  differs: boolean
}

/** Refuses a value at a place of a file. */
type Check = (value: unknown, place: string, path: string) => void

function refuse(path: string, place: string, expected: string, value: unknown): never {
  const found = show(value)
  throw errors.badFile(path, place, expected, found.length > 40 ? `${found.slice(0, 40)}…` : found)
}

const text =
  (form: RegExp): Check =>
  (value, place, path) => {
    if (typeof value !== 'string' || !form.test(value)) refuse(path, place, `a text of the form ${form.source}`, value)
  }

const number =
  (min: number, max: number): Check =>
  (value, place, path) => {
    if (typeof value !== 'number' || !(value >= min && value <= max))
      refuse(path, place, `a number from ${min} to ${max}`, value)
  }

const whole =
  (min: number, max: number): Check =>
  (value, place, path) => {
    number(min, max)(value, place, path)
    if (!Number.isInteger(value)) refuse(path, place, 'a whole number', value)
  }

const one =
  (...choices: (string | boolean)[]): Check =>
  (value, place, path) => {
    if (!choices.includes(value as string)) refuse(path, place, `one of ${choices.join(', ')}`, value)
  }

const list =
  (item: Check, most: number): Check =>
  (value, place, path) => {
    if (!Array.isArray(value) || value.length > most) refuse(path, place, `a list of at most ${most}`, value)
    for (const [i, element] of value.entries()) item(element, `${place}[${i}]`, path)
  }

/** Fields with a question mark behind their names may be absent; others than these are refused. */
const record = (fields: Record<string, Check>): Check => {
  const checks = new Map(Object.entries(fields).map(([name, check]) => [name.replace('?', ''), check]))
  const required = Object.keys(fields).filter((name) => !name.endsWith('?'))
  return (value, place, path) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(path, place, 'an object', value)
    const given = new Map(Object.entries(value))
    for (const name of required) if (!given.has(name)) refuse(path, `${place}.${name}`, 'there', undefined)
    for (const [name, field] of given) {
      const check = checks.get(name)
      if (!check) refuse(path, place, `without other fields than ${[...checks.keys()].join(', ')}`, name)
      check(field, `${place}.${name}`, path)
    }
  }
}

const bytes = whole(0, 2 ** 50)
const seconds = number(0, 1e7)
const rate = number(0, 1e15)
const celsius = number(-60, 200)
const hertz = number(1e6, 1e11)
const words = text(forms.words)
const name = text(forms.name)
const hash = text(/^[0-9a-f]{16}$/)
const isTrue = one(true, false)
const version = text(/^v?\d{1,4}\.\d{1,4}\.\d{1,4}[A-Za-z0-9.-]{0,24}$/)
const reasons = list(one('under-voltage', 'frequency capped', 'throttled', 'soft temperature limit'), 4)
const threads = whole(1, 64)

const checkResult = record({
  test: text(/^((pp|tg)\d{1,9}|pp\d{1,9}\+tg\d{1,9})( x\d{1,4})?( @ d\d{1,9})?$/),
  threads,
  isTuned: isTrue,
  tokensPerSecond: record({ median: rate, min: rate, max: rate }),
  bytesPerSecond: rate,
  bandwidthShare: number(0, 1e6),
  operationsPerSecond: rate,
  parts: record({ linear: seconds, attention: seconds, valueDecoder: seconds, rest: seconds, barrier: seconds }),
  barrierShare: number(0, 1),
  'foreignShare?': number(0, 1),
  'temperature?': celsius,
  hash,
  differs: isTrue,
})

const checkRun = record({
  'model?': name,
  weights: one('synthetic', 'embedded', 'own'),
  plan: hash,
  kind: name,
  weightType: one(...packingTypes),
  cacheType: one(...cacheTypes),
  weightBytes: bytes,
  context: whole(1, 2 ** 30),
  batch: whole(1, 4096),
  repetitions: whole(1, 1000),
  loadSeconds: seconds,
  bandwidth: list(record({ threads, bytesPerSecond: rate, barrierSeconds: seconds }), 64),
  results: list(checkResult, 1000),
})

const checkReport = record({
  schema: one(boardSchema),
  date: text(/^\d{4}-\d{2}-\d{2}$/),
  set: one('standard-1', 'flags'),
  seconds,
  software: record({
    'version?': version,
    'commit?': text(/^[0-9a-f]{4,40}(-dirty)?$/),
    node: version,
    v8: text(/^[0-9A-Za-z.-]{1,40}$/),
    build: name,
    tiers: one('optimising', 'quick, then optimising'),
    flags: list(text(forms.flag), 20),
  }),
  machine: record({
    'board?': words,
    'cpu?': words,
    cores: whole(1, 4096),
    availableCores: whole(1, 4096),
    cpuFeatures: list(name, 32),
    memoryBytes: bytes,
    'numaNodes?': whole(1, 10000),
    'pageSize?': whole(1, 2 ** 24),
    'governor?': name,
    'frequencyLimit?': hertz,
    'kernel?': words,
    'system?': words,
    load: number(0, 1e5),
  }),
  heat: record({
    'before?': celsius,
    'highest?': celsius,
    'after?': celsius,
    'lowestFrequency?': hertz,
    'highestFrequency?': hertz,
    'throttled?': reasons,
    'throttledSinceStart?': reasons,
  }),
  runs: list(checkRun, 100),
  skipped: list(record({ model: name, weightType: one(...weightTypes), reason: one('memory') }), 100),
  peakRssBytes: bytes,
  isGood: isTrue,
  'isUnfinished?': one(true),
})

/** A report as it is; throws BAD_FILE, with the place, for anything else. `path` is what messages call it. */
export function checkBoardReport(value: unknown, path: string): BoardReport {
  const schema = (value as Partial<BoardReport> | null)?.schema
  if (typeof schema === 'string' && /^gta-board\/\d{1,6}$/.test(schema) && schema !== boardSchema)
    throw toolErrors.otherReportVersion(path, schema, boardSchema)
  checkReport(value, 'the report', path)
  return value as BoardReport
}
