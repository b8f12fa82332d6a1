/** The feed-forward block: x += W_down · (silu(W_gate · z) ⊙ W_up · z), z = norm(x). */
import { arena, ffnStride, gateUpStride, hiddenStride } from './arena'
import { swiglu } from './kernels/activation'
import { linear } from './kernels/matmul'
import { downMatrix, gateUpMatrix, Layer, Plan } from './plan'
import { isMine } from './team'

/** arena.normed → added to arena.x, `count` rows. */
export function feedForward(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  linear(gateUpMatrix(layer), 0, a.normed, hiddenStride(plan), count, a.gateUp, gateUpStride(plan), false)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const gate = a.gateUp + i * gateUpStride(plan)
    swiglu(gate, gate + (plan.ffnDim << 2), plan.ffnDim, a.activation + i * ffnStride(plan))
  }
  linear(downMatrix(layer), 0, a.activation, ffnStride(plan), count, a.x, hiddenStride(plan), true)
}
