/** Weights come from a file that may be anybody's: what the kernels take for granted is looked at once. */
import { Matrix, Plan, Q4_ROWS, TYPE_Q8, TYPE_Q8K, TYPE_Q8M } from './abi'
import { arena, mine } from './arena'
import { rank } from './host'
import { bitsOfStripes } from './kernels/blocks'
import { embedding, head, layerAt, MATRICES, matrixOf, positions } from './plan'
import { barrier, ranks, spanStart } from './team'

/**
 * Are all bytes of weights of seven bits below 128? Another byte would mean one thing to the relaxed build on x64, another on ARM,
 * and a third to the strict one. Every rank looks at a span of each matrix; rank 0 has the answer.
 */
export function areWeightsNarrow(): bool {
  const plan = changetype<Plan>(arena().plan)
  let bits = v128.or(bitsOf(embedding(plan)), v128.or(bitsOf(positions(plan)), bitsOf(head(plan))))
  for (let index: u32 = 0; index < plan.nLayers; index++)
    for (let i: usize = 0; i < MATRICES; i++) bits = v128.or(bits, bitsOf(matrixOf(layerAt(plan, index), i)))
  store<u32>(mine(arena().tile), i8x16.bitmask(bits))
  barrier()
  let wide: u32 = 0
  for (let r: u32 = 0; r < ranks(); r++) wide |= load<u32>(mine(arena().tile) + (r - rank) * arena().rankStride)
  barrier()
  return wide == 0
}

/** All bytes of this rank's span, or-ed together. */
function bitsOf(m: Matrix): v128 {
  let a = i32x4.splat(0)
  if (m.type == TYPE_Q8M || m.type == TYPE_Q8K) {
    const stripes = (m.rows + Q4_ROWS - 1) / Q4_ROWS
    const first = spanStart(stripes, 1, rank)
    const count = spanStart(stripes, 1, rank + 1) - first
    return bitsOfStripes(m.type, arena().plan + m.data + (first as usize) * m.stride, count, m.stride)
  }
  if (m.type != TYPE_Q8) return a
  let b = a
  let c = a
  let d = a
  const data = arena().plan + m.data
  const end = data + (spanStart(m.rows, 1, rank + 1) as usize) * m.stride
  for (let at = data + (spanStart(m.rows, 1, rank) as usize) * m.stride; at < end; at += 64) {
    a = v128.or(a, v128.load(at, 0))
    b = v128.or(b, v128.load(at, 16))
    c = v128.or(c, v128.load(at, 32))
    d = v128.or(d, v128.load(at, 48))
  }
  return v128.or(v128.or(a, b), v128.or(c, d))
}
