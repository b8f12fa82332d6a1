/**
 * Pages that lie in a file, because the memory is too small for them: somebody outside reads them, layer by layer, while
 * the layer before is computed. Two layers are in memory at a time.
 *
 * The words that both sides share are STREAM_READY and STREAM_SWEPT of abi.ts; the reader stays less than two layers ahead.
 * Layers are counted on from step to step (arena().streamed), so that the reader can begin with the next step's.
 */
import { STREAM_READY, STREAM_SWEPT } from './abi'
import { arena } from './arena'
import { rank } from './host'
import { enter, STREAM } from './profile'
import { giveUpIfPoisoned, PATIENCE } from './team'

/** Returns when the pages of `layer` are in memory. */
export function awaitLayer(layer: u32): void {
  // Nobody reads beside the only rank.
  if (!ASC_FEATURE_THREADS) return
  const a = arena()
  if (!a.isStreaming) return
  const wanted = a.streamed + layer
  let ready = atomic.load<u32>(STREAM_READY)
  if (((ready - wanted) as i32) > 0) return
  const part = enter(STREAM)
  while (((ready - wanted) as i32) <= 0) {
    giveUpIfPoisoned()
    atomic.wait<u32>(STREAM_READY, ready, PATIENCE)
    ready = atomic.load<u32>(STREAM_READY)
  }
  enter(part)
}

/** Behind the barrier after the sweep of `layer`: its pages may be overwritten. */
export function leaveLayer(layer: u32): void {
  if (!ASC_FEATURE_THREADS) return
  const a = arena()
  if (!a.isStreaming || rank != 0) return
  atomic.store<u32>(STREAM_SWEPT, a.streamed + layer + 1)
  atomic.notify(STREAM_SWEPT, -1)
}
