/**
 * Tensor "generation.table" of a packed file (host/files/tables.ts has its layout): begin and end tokens and the settings
 * of sampling that the model recommends. Together with the command line it makes the settings of this run.
 */

import { U8 } from '../plan-tensors'
import { RESULT } from './addresses'
import { Sampling } from './generate'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected, file, findTensor, read } from './model-file'
import { HAS_MIN_P, HAS_REPEAT_PENALTY, HAS_SEED, HAS_TEMPERATURE, HAS_TOP_K, HAS_TOP_P, options } from './options'
import { flush, STDERR, text, writeTo } from './output'
import { random_get } from './wasi_snapshot_preview1'

export const TABLE_VERSION: u32 = 1

/** The fields of the table, then u32[eosCount]. */
@unmanaged
export class Settings {
  version: u32
  /** 1: `bos` goes before every text. */
  hasBos: u32
  bos: u32
  /** Bits of options.ts: which of the following the model recommends. */
  given: u32
  topK: u32
  eosCount: u32
  unused0: u32
  unused1: u32
  temperature: f64
  topP: f64
  minP: f64
  repeatPenalty: f64
}

const MAX_TABLE: u64 = 1 << 20

/** Reads the table; of a file without one nothing is known. */
export function readSettings(vocabSize: u32): Settings {
  const t = findTensor('generation.table')
  if (!t) {
    if (file().hasGeneration) {
      writeTo(STDERR)
      text('gta: warning: the file was packed without a table of recommended settings, defaults are used instead\n')
      flush()
    }
    const none = changetype<Settings>(reserve(offsetof<Settings>()))
    none.version = TABLE_VERSION
    return none
  }
  if (t.dtype != U8 || t.bytes < offsetof<Settings>() || t.bytes > MAX_TABLE) refuse()
  const at = reserve(t.bytes)
  read(at, t.bytes, file().dataStart + t.begin)
  const s = changetype<Settings>(at)
  const room = (t.bytes - offsetof<Settings>()) >> 2
  if (s.version != TABLE_VERSION || s.hasBos > 1 || s.eosCount > room || (s.hasBos && s.bos >= vocabSize)) refuse()
  if (s.given & HAS_TEMPERATURE && !(s.temperature >= 0 && s.temperature <= 100)) refuse()
  if (s.given & HAS_TOP_P && !(s.topP >= 0 && s.topP <= 1)) refuse()
  if (s.given & HAS_MIN_P && !(s.minP >= 0 && s.minP <= 1)) refuse()
  if (s.given & HAS_REPEAT_PENALTY && !(s.repeatPenalty >= 0.01 && s.repeatPenalty <= 100)) refuse()
  return s
}

function refuse(): void {
  beginBadFile('tensor "generation.table"')
  expected('what gta convert writes, found other values')
  endBadFile()
}

export function isEos(s: Settings, token: u32): bool {
  const ids = changetype<usize>(s) + offsetof<Settings>()
  for (let i: u32 = 0; i < s.eosCount; i++) if (load<u32>(ids + (i << 2)) == token) return true
  return false
}

/** What the command line says over what the model recommends over llama.cpp's defaults (host/runtime/sampling.ts). */
export function samplingOf(s: Settings): Sampling {
  const o = options()
  const target = changetype<Sampling>(reserve(offsetof<Sampling>()))
  target.temperature = choose(s, HAS_TEMPERATURE, o.temperature, s.temperature, 0.8) as f32
  target.topK = choose(s, HAS_TOP_K, o.topK, s.topK, 40) as u32
  target.topP = choose(s, HAS_TOP_P, o.topP, s.topP, 0.95) as f32
  target.minP = choose(s, HAS_MIN_P, o.minP, s.minP, 0.05) as f32
  target.repeatPenalty = choose(s, HAS_REPEAT_PENALTY, o.repeatPenalty, s.repeatPenalty, 1) as f32
  target.repeatLastN = o.repeatLastN as u32
  if (!(o.given & HAS_SEED)) {
    random_get(RESULT, 4)
    o.seed = load<u32>(RESULT) as f64
  }
  target.seedLow = o.seed as u64 as u32
  target.seedHigh = ((o.seed as u64) >> 32) as u32
  return target
}

function choose(s: Settings, bit: u32, given: f64, recommended: f64, otherwise: f64): f64 {
  return options().given & bit ? given : s.given & bit ? recommended : otherwise
}
