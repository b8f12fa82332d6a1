/** Before the worker of `gta-edge/browser`: fills its GPU's buffers with NaN when the page says so. */
import { type Classes, watchBuffers } from '../harness/gpu-watch.ts'

const poison = watchBuffers(globalThis as unknown as Classes)
const channel = new BroadcastChannel('poison')
channel.addEventListener('message', () => {
  const poisoned = poison()
  // A worker that has no GPU has nothing to say.
  if (poisoned > 0) channel.postMessage(poisoned)
})
