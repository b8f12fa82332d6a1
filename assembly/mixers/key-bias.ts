/**
 * Large biases of keys, which Qwen 2 has, are not left to int8: a bias a hundred times the rest takes the steps that the rest
 * needs. What an int8 cache keeps is the key without them, R(p)(k − b), and what they add to a score is computed in f32:
 *
 *     q · R(p) b = Σ Re( z · e^(−iωp) ),  z = q · conj(b)       over the rotated pairs of a head as complex numbers
 *
 * At page P and token t of it p = 64 P + t: z is turned back to its page once, and meets the cosines and sines of 64 tokens,
 * which all pages, heads and layers share (kernels/harmonics.ts). So nothing about it is cached, and a row does not depend on
 * those around it. Pairs of a small bias, which is most of them, are left as they are. Numbers that are not rotated have
 * the same bias at every token, so it adds the same to all scores of a query and changes no weight: it is dropped.
 *
 * A rank's scratch: angles (plan's Buffers), a query, the harmonics of a page, then (queries of a tile, 2 views) of count and harmonics.
 */
import { Layer, LayerKind, PAGE_TOKENS, Plan } from '../abi'
import { arena, mine, rowAt } from '../arena'
import { hadamard } from '../kernels/hadamard'
import { addHarmonics, Harmonic } from '../kernels/harmonics'
import { rotate, writeAngles } from '../kernels/rope'
import { buffersOf, kindOf, rotationAt, rotationOffset, vectorAt, viewHead } from '../plan'
import { harmonicBytes, isBiasApart, queryWidth } from '../sizes'

/**
 * Mean square of the biases of a head from which on they are large, and square of a large bias of a pair. Of the stories model,
 * whose biases have mean squares of up to 8.4, all are left where they are.
 */
const LARGE: f32 = 16

/** Address of the bias of a head of a slot; 0 if it is not kept apart. */
export function keyBiasOf(plan: Plan, layer: Layer, kind: LayerKind, slot: u32, head: u32): usize {
  if (!arena().isCacheInt8 || !isBiasApart(layer, kind, slot)) return 0
  const before = slot ? kind.slot0Heads * kind.slot0Dim : 0
  const dim = slot ? kind.slot1Dim : kind.slot0Dim
  return vectorAt(plan, layer.inBias) + ((queryWidth(kind) + before + head * dim) << 2)
}

/**
 * The square of the largest bias that a pair may have and keep. A bias is spread over its head before it is rounded, so a head whose
 * biases are not large together keeps them all.
 */
function mostKept(bias: usize, pairs: u32, dim: u32): f32 {
  let sum: f32 = 0
  for (let i: u32 = 0; i < pairs; i++) sum += squareOf(bias, pairs, i)
  return sum > LARGE * (dim as f32) ? LARGE : Infinity
}

function squareOf(bias: usize, pairs: u32, pair: u32): f32 {
  const first = load<f32>(bias + (pair << 2))
  const second = load<f32>(bias + ((pairs + pair) << 2))
  return first * first + second * second
}

/** Takes the bias off a key of `dim` numbers, of which the first `pairs` pairs are to be rotated. */
export function removeBias(key: usize, bias: usize, pairs: u32, dim: u32): void {
  const most = mostKept(bias, pairs, dim)
  for (let i: u32 = 0; i < pairs; i++) {
    if (!(squareOf(bias, pairs, i) > most)) continue
    subtract(key, bias, i)
    subtract(key, bias, pairs + i)
  }
  for (let i: u32 = 2 * pairs; i < dim; i++) subtract(key, bias, i)
}

function subtract(key: usize, bias: usize, i: u32): void {
  store<f32>(key + (i << 2), load<f32>(key + (i << 2)) - load<f32>(bias + (i << 2)))
}

/** Writes the cosines and sines of pages and their tokens, once: by one rank, before a barrier. */
export function writeTurns(plan: Plan): void {
  const a = arena()
  if (!a.needsTurns) return
  a.needsTurns = 0
  const stride = buffersOf(plan).angles
  const one = a.pageTurns
  for (let r: u32 = 0; r < plan.nRotations; r++) {
    const rotation = rotationAt(plan, rotationOffset(plan, r))
    const pairs = rotation.dim >> 1
    const invFreq = a.plan + rotation.invFreq
    const turns = a.turns + rotation.angles * PAGE_TOKENS
    for (let t: u32 = 0; t < PAGE_TOKENS; t++) {
      writeAngles(one, t, invFreq, pairs, 1)
      for (let i: u32 = 0; i < rotation.dim; i++) {
        const row = i < pairs ? 2 * i : 2 * (i - pairs) + 1
        store<f32>(turns + ((row * PAGE_TOKENS + t) << 2), load<f32>(one + (i << 2)))
      }
    }
  }
  for (let page: u32 = 0; page < a.tableBlocks; page++)
    for (let r: u32 = 0; r < plan.nRotations; r++) {
      const rotation = rotationAt(plan, rotationOffset(plan, r))
      const at = a.pageTurns + page * stride + rotation.angles
      writeAngles(at, page * PAGE_TOKENS, a.plan + rotation.invFreq, rotation.dim >> 1, 1)
    }
}

function slotOf(kind: LayerKind, view: u32): u32 {
  return view ? kind.key1Slot : kind.key0Slot
}

/** Address of what query n of the tile has for a view. */
function harmonicsOf(plan: Plan, kind: LayerKind, view: u32, n: u32): usize {
  const dim = max(kind.slot0Dim, kind.slot1Dim)
  const first = mine(arena().keyBias) + buffersOf(plan).angles + (dim << 2)
  return first + (1 + 2 * n + view) * harmonicBytes(plan, kind)
}

/** What the biases that map j meets through a view are to query n, at `q`, of a row, rotated and spread as it is. */
export function prepareKeyBias(plan: Plan, layer: Layer, view: u32, row: u32, j: u32, n: u32, q: usize): void {
  const kind = kindOf(plan, layer)
  const slot = slotOf(kind, view)
  const bias = keyBiasOf(plan, layer, kind, slot, viewHead(kind, view, j))
  const rope = slot ? kind.slot1Rope : kind.slot0Rope
  if (!bias || !rope) return
  const dim = slot ? kind.slot1Dim : kind.slot0Dim
  const pairs = rope >> 1
  const most = mostKept(bias, pairs, dim)
  const angles = mine(arena().keyBias)
  const query = angles + buffersOf(plan).angles
  const target = harmonicsOf(plan, kind, view, n)
  let harmonic = target + 4
  for (let i: u32 = 0; i < pairs; i++) {
    if (!(squareOf(bias, pairs, i) > most)) continue
    if (harmonic == target + 4) plainQuery(plan, kind, row, q, dim, angles, query)
    const factor = kind.scale * rotationAt(plan, kind.rotation).magnitude
    const h = changetype<Harmonic>(harmonic)
    h.pair = i
    multiplyConjugate(h, query + (i << 2), bias + (i << 2), pairs << 2, factor)
    harmonic += offsetof<Harmonic>()
  }
  store<u32>(target, ((harmonic - target - 4) / offsetof<Harmonic>()) as u32)
}

/** factor · q · conj(b) of a pair, whose second numbers are `half` bytes behind the first. */
function multiplyConjugate(h: Harmonic, query: usize, bias: usize, half: usize, factor: f32): void {
  const u = load<f32>(query)
  const v = load<f32>(query + half)
  const first = load<f32>(bias)
  const second = load<f32>(bias + half)
  h.cosine = (u * first + v * second) * factor
  h.sine = (v * first - u * second) * factor
}

/**
 * A query as it was before it was spread. Rows of a conversation that has dropped tokens are rotated by positions that count
 * them, pages by those that do not: the difference is taken back.
 */
function plainQuery(plan: Plan, kind: LayerKind, row: u32, q: usize, dim: u32, angles: usize, target: usize): void {
  memory.copy(target, q, dim << 2)
  hadamard(target, dim)
  const dropped = rowAt(row).dropped
  if (!dropped) return
  const rotation = rotationAt(plan, kind.rotation)
  const pairs = rotation.dim >> 1
  writeAngles(angles, dropped, arena().plan + rotation.invFreq, pairs, 1)
  // The sines of the other direction.
  for (let s: u32 = pairs; s < rotation.dim; s++) store<f32>(angles + (s << 2), -load<f32>(angles + (s << 2)))
  rotate(target, angles, pairs)
}

/** Adds what the biases of its keys are to the scores of query n with `tokens` tokens of a page. */
export function addKeyBias(plan: Plan, layer: Layer, page: u32, tokens: u32, n: u32, scores: usize): void {
  const kind = kindOf(plan, layer)
  if (!arena().isCacheInt8 || !kind.rotation) return
  addView(plan, layer, kind, 0, page, tokens, n, scores)
  if (kind.key1Dim) addView(plan, layer, kind, 1, page, tokens, n, scores)
}

function addView(
  plan: Plan,
  layer: Layer,
  kind: LayerKind,
  view: u32,
  page: u32,
  tokens: u32,
  n: u32,
  scores: usize,
): void {
  const a = arena()
  const slot = slotOf(kind, view)
  if (!isBiasApart(layer, kind, slot) || !(slot ? kind.slot1Rope : kind.slot0Rope)) return
  const source = harmonicsOf(plan, kind, view, n)
  const count = load<u32>(source)
  if (!count) return
  const rotation = rotationAt(plan, kind.rotation)
  const half = (rotation.dim >> 1) << 2
  const angles = a.pageTurns + page * buffersOf(plan).angles + rotation.angles
  // Behind the query of the scratch, before what the maps have.
  const turned = harmonicsOf(plan, kind, 0, 0) - harmonicBytes(plan, kind)
  for (let h: u32 = 0; h < count; h++) {
    const from = changetype<Harmonic>(source + 4 + h * offsetof<Harmonic>())
    const to = changetype<Harmonic>(turned + h * offsetof<Harmonic>())
    const c = load<f32>(angles + (from.pair << 2))
    const s = load<f32>(angles + half + (from.pair << 2))
    to.pair = from.pair
    to.cosine = from.cosine * c + from.sine * s
    to.sine = from.sine * c - from.cosine * s
  }
  addHarmonics(turned, count, a.turns + rotation.angles * PAGE_TOKENS, tokens, scores)
}
