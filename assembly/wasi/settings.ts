/** The settings of this run: what the command line says over what the model recommends over the defaults of the table. */
import { Options } from './abi'
import { OPTIONS, RESULT } from './addresses'
import { Sampling } from './generate'
import { reserve } from './memory'
import { file, header, refuseHeader } from './model-file'
import { fallbackOf, isGiven, options } from './options'
import { random_get } from './wasi_snapshot_preview1'

/** The begin token must be one of the vocabulary. */
export function checkTokens(vocabSize: u32): void {
  if (header().hasBos && header().bos >= vocabSize) refuseHeader('the begin token')
}

export function isEos(token: u32): bool {
  for (let i: u32 = 0; i < header().eosCount; i++) if (load<u32>(file().eos + (i << 2)) == token) return true
  return false
}

export function sampling(): Sampling {
  const o = options()
  const h = header()
  const target = changetype<Sampling>(reserve(offsetof<Sampling>()))
  target.temperature = choose(offsetof<Options>('temperature'), h.temperature) as f32
  target.topK = choose(offsetof<Options>('topK'), h.topK) as u32
  target.topP = choose(offsetof<Options>('topP'), h.topP) as f32
  target.minP = choose(offsetof<Options>('minP'), h.minP) as f32
  target.repeatPenalty = choose(offsetof<Options>('repeatPenalty'), h.repeatPenalty) as f32
  target.repeatLastN = choose(offsetof<Options>('repeatLastN'), NaN) as u32
  target.presencePenalty = choose(offsetof<Options>('presencePenalty'), NaN) as f32
  target.frequencyPenalty = choose(offsetof<Options>('frequencyPenalty'), NaN) as f32
  if (!isGiven(o.seed)) {
    random_get(RESULT, 4)
    o.seed = load<u32>(RESULT) as f64
  }
  target.seedLow = o.seed as u64 as u32
  target.seedHigh = ((o.seed as u64) >> 32) as u32
  return target
}

/** What the command line says in this field of its options, else what is recommended, else what the table has. */
function choose(field: usize, recommended: f32): f64 {
  const given = load<f64>(OPTIONS + field)
  return isGiven(given) ? given : isGiven(recommended) ? (recommended as f64) : fallbackOf(field)
}
