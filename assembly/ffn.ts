/** The feed-forward block: x += W_down · (silu(W_gate · z) ⊙ W_up · z), z = norm(x). */
import { Layer, Plan } from './abi'
import { arena } from './arena'
import { swiglu } from './kernels/activation'
import { linear, productOf } from './linear'
import { downMatrix, gateUpMatrix } from './plan'
import { ffnStride, gateUpStride, hiddenStride } from './sizes'
import { isMine } from './team'

/** arena.normed → added to arena.x, `count` rows. */
export function feedForward(plan: Plan, layer: Layer, count: u32): void {
  const a = arena()
  const up = productOf(gateUpMatrix(layer), count)
  up.from(a.normed, hiddenStride(plan))
  up.into(a.gateUp, gateUpStride(plan))
  linear(up)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const gate = a.gateUp + i * gateUpStride(plan)
    swiglu(gate, gate + (plan.ffnDim << 2), plan.ffnDim, a.activation + i * ffnStride(plan))
  }
  const down = productOf(downMatrix(layer), count)
  down.from(a.activation, ffnStride(plan))
  down.into(a.x, hiddenStride(plan))
  down.adds = 1
  linear(down)
}
