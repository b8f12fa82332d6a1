/** The line of statistics, in the form of the host's command (host/cli/run-output.ts); what it does not know is left out. */
import { MIXER_ATTENTION, Plan } from '../abi'
import { logitsHash } from '../index'
import { embedding, head, kindOf, layerAt } from '../plan'
import { layerStride, rowWidth } from '../sizes'
import { FINISH_CONTEXT, FINISH_EOS } from './generate'
import { options } from './options'
import { byte, count, fixed, flush, megabytes, STDERR, text, writeTo } from './output'

@unmanaged
export class Run {
  promptTokens: u32
  /** Generated tokens, an ending one included. */
  tokens: u32
  finish: u32
  isCacheInt8: u32
  /** Bytes of all weights. */
  weightBytes: u64
  /** Milliseconds; decode is the time of the tokens behind the first. */
  prefill: f64
  decode: f64
}

export function printStatistics(plan: Plan, run: Run): void {
  const steps = run.tokens > 1 ? run.tokens - 1 : 0
  writeTo(STDERR)
  text('[prefill ')
  count(run.promptTokens)
  text(' tokens ')
  fixed((run.promptTokens as f64) / (run.prefill / 1000), 0)
  text(' tok/s · decode ')
  if (steps > 0) {
    const rate = (steps as f64) / (run.decode / 1000)
    count(steps)
    text(' tokens ')
    fixed(rate, 0)
    text(' tok/s, ')
    fixed((rate * bytesPerToken(plan, run)) / 1e9, 1)
    text(' GB/s')
  } else text('none')
  text(' · memory ')
  megabytes((memory.size() as f64) * 65536)
  text(' · logits ')
  hex(logitsHash(0))
  text(' · seed ')
  count(options().seed as u64)
  text(' · ended by ')
  text(run.finish == FINISH_EOS ? 'eos' : run.finish == FINISH_CONTEXT ? 'context' : 'length')
  text(']\n')
  flush()
}

/** Bytes that one decoded token reads: weights but for the embedding, of which it takes a row, and half of the final cache. */
function bytesPerToken(plan: Plan, run: Run): f64 {
  const embed = embedding(plan)
  const gathered = embed.data == head(plan).data ? 0 : (embed.rows as u64) * (embed.stride + (embed.scales ? 4 : 0))
  const tokens = (run.promptTokens as f64) + (run.tokens as f64) / 2
  let cached: f64 = 0
  for (let i: u32 = 0; i < plan.nLayers; i++) {
    const kind = kindOf(plan, layerAt(plan, i))
    // A state is read whole.
    if (kind.mixer != MIXER_ATTENTION) cached += layerStride(kind, 0) as f64
    const heads = (kind.slot0Heads + kind.slot1Heads) as f64
    const elements = rowWidth(kind) as f64
    const seen = kind.window ? min(tokens, kind.window as f64) : tokens
    cached += seen * (run.isCacheInt8 ? elements + 4 * heads : 4 * elements)
  }
  return ((run.weightBytes - gathered) as f64) + cached
}

function hex(value: u64): void {
  for (let shift: u64 = 64; shift > 0; shift -= 4) {
    const digit = ((value >> (shift - 4)) & 15) as u32
    byte(digit < 10 ? 48 + digit : 87 + digit)
  }
}
