/** The feed-forward block: W_down · (f(W_gate · z) ⊙ W_up · z), or W_down · f(W_up · z). */
import { GELU, GELU_TANH, Layer, LayerKind, Plan, RELU2, SILU } from './abi'
import { arena } from './arena'
import { gelu, geluTanh, relu2, silu, swiglu } from './kernels/activation'
import { clearPadding, multiply } from './kernels/elementwise'
import { linear, productOf } from './linear'
import { buffersOf, downMatrix, gateUpMatrix, kindOf, vectorAt } from './plan'
import { hiddenStride } from './sizes'
import { isMine } from './team'

/** x → y, `count` rows of the hidden width, added to it if `adds`. */
export function feedForward(plan: Plan, layer: Layer, count: u32, x: usize, y: usize, adds: bool): void {
  const a = arena()
  const b = buffersOf(plan)
  const kind = kindOf(plan, layer)
  const up = productOf(gateUpMatrix(layer), count)
  up.bias = vectorAt(plan, layer.gateUpBias)
  up.from(x, hiddenStride(plan))
  up.into(a.gateUp, b.gateUp)
  linear(up)
  for (let i: u32 = 0; i < count; i++) {
    if (!isMine(i)) continue
    const target = a.activation + i * b.activation
    activate(kind, a.gateUp + i * b.gateUp, target)
    if (plan.nLayerKinds > 1) clearPadding(target, kind.ffnDim)
  }
  const down = productOf(downMatrix(layer), count)
  down.bias = vectorAt(plan, layer.downBias)
  down.from(a.activation, b.activation)
  down.into(y, hiddenStride(plan))
  down.adds = adds ? 1 : 0
  linear(down)
}

/** [gate | up], or up alone → the input of W_down. */
function activate(kind: LayerKind, projected: usize, target: usize): void {
  const n = kind.ffnDim
  const up = projected + (n << 2)
  const activation = kind.activation
  if (activation == SILU && kind.isGated) {
    swiglu(projected, up, n, target)
    return
  }
  if (activation == SILU) silu(projected, n, target)
  else if (activation == GELU) gelu(projected, n, target)
  else if (activation == GELU_TANH) geluTanh(projected, n, target)
  else if (activation == RELU2) relu2(projected, n, target)
  if (kind.isGated) multiply(target, up, n)
}
