/**
 * The plan of a file is a program with addresses. Hosts that have the config build it again and compare; here every word is
 * looked at, whoever the host is: sizes must be possible and fit each other, the scratch memory must be enough, and each
 * tensor must lie where it belongs (plan-tensors.ts). What passes cannot make the engine read or write outside of what it
 * was given.
 */
import {
  Buffers,
  LayerKind,
  MAX_PAGE_KINDS,
  MAX_WIDTH,
  MIXER_ATTENTION,
  MIXER_CONV,
  MIXER_DELTA,
  NORM_LAYER,
  PLAN_BAD_BUFFER,
  PLAN_BAD_FLAG,
  PLAN_BAD_HEAD,
  PLAN_BAD_KIND,
  PLAN_BAD_LENGTH,
  PLAN_BAD_NUMBER,
  PLAN_BAD_PAGES,
  PLAN_BAD_ROTATION,
  PLAN_BAD_SIZE,
  PLAN_BAD_TENSOR,
  PLAN_BAD_VERSION,
  PLAN_BAD_VIEW,
  PLAN_VERSION,
  Plan,
  RELU2,
  Recurrence,
  SPAN_ALL,
  SPAN_TURNED,
  TYPE_F32,
  TYPE_Q8,
} from './abi'
import { hasMinima } from './kernels/blocks'
import {
  buffersOf,
  embedding,
  HEAD_BYTES,
  kindAt,
  kindBytes,
  LAYER_BYTES,
  layerAt,
  pageKindAt,
  positions,
  recurrenceOf,
  rotationAt,
  rotationOffset,
  viewHead,
} from './plan'
import { Walk, walkTensors } from './plan-tensors'
import { bufferBytes } from './sizes'

const MAX_COUNT: u32 = 1 << 24
const MAX_LAYERS: u32 = 1024
/** Tokens that a convolution reaches back. */
const MAX_TAPS: u32 = 64
/** A row needs the state of the row before it. */
const STATE_WINDOW: u32 = 2
/** Rounded up to whole pages it is still a number of 32 bits. */
const MAX_CONTEXT: u32 = 0x7fff_ffff

/**
 * Checks the plan at `p`, of which `limit` bytes may be read, and with its weights `bytes` are there; 0: none, so that it does
 * not matter where they would be. Returns 0,
 * with the end of all tensors in the walk, or what is wrong: PLAN_BAD_… of abi.ts.
 */
export function checkPlan(p: Plan, limit: u64, bytes: u64, w: Walk): u32 {
  if (limit < HEAD_BYTES) return PLAN_BAD_LENGTH
  const found = checkHead(p)
  if (found) return found
  // Each part begins where the one before ends, so all that is read from here on lies before `limit`.
  let end = rotationOffset(p, p.nRotations) as u64
  if (end > limit) return PLAN_BAD_LENGTH
  const rotations = checkRotations(p)
  if (rotations) return rotations
  for (let i: u32 = 0; i < p.nLayerKinds; i++) {
    if (end + offsetof<LayerKind>() > limit) return PLAN_BAD_LENGTH
    const kind = kindAt(p, end as usize)
    if (!isCount(kind.mixer, MIXER_DELTA)) return PLAN_BAD_KIND
    if (kind.mixer == MIXER_ATTENTION && !isCount(kind.maps, MAX_WIDTH)) return PLAN_BAD_SIZE
    end += kindBytes(kind)
    if (end > limit) return PLAN_BAD_LENGTH
    const bad = checkKind(p, kind)
    if (bad) return bad
  }
  if (p.layers != end) return PLAN_BAD_KIND
  end = (end + (p.nLayers as u64) * LAYER_BYTES + 63) & ~63
  if (end > limit) return PLAN_BAD_LENGTH
  const layers = checkLayers(p)
  if (layers) return layers
  if (!areBuffersRight(p)) return PLAN_BAD_BUFFER
  if (!bytes) return 0
  walkTensors(w, p, end)
  return w.isGood && w.end <= bytes ? 0 : PLAN_BAD_TENSOR
}

function isCount(value: u32, max: u32): bool {
  return value >= 1 && value <= max
}

function isFinite32(value: f32): bool {
  return value - value == 0
}

function checkHead(p: Plan): u32 {
  if (p.version != PLAN_VERSION) return PLAN_BAD_VERSION
  if (!isCount(p.nLayers, MAX_LAYERS) || !isCount(p.nLayerKinds, p.nLayers)) return PLAN_BAD_SIZE
  if (!isCount(p.nPageKinds, min(p.nLayerKinds, MAX_PAGE_KINDS))) return PLAN_BAD_PAGES
  if (p.nRotations > p.nLayerKinds) return PLAN_BAD_ROTATION
  if (!isCount(p.hiddenDim, MAX_WIDTH) || !isCount(p.vocabSize, MAX_COUNT)) return PLAN_BAD_SIZE
  if (!isCount(p.maxContext, MAX_CONTEXT) || positions(p).rows > MAX_COUNT) return PLAN_BAD_SIZE
  if (!isCount(p.headNormKind, NORM_LAYER)) return PLAN_BAD_FLAG
  if (!isFinite32(p.embeddingScale) || !isFinite32(p.headNormEps) || !isFinite32(p.headSoftcap)) return PLAN_BAD_NUMBER
  const type = embedding(p).type
  return type == TYPE_F32 || type == TYPE_Q8 || hasMinima(type) ? 0 : PLAN_BAD_TENSOR
}

/** The angles of one lie behind those of the one before. */
function checkRotations(p: Plan): u32 {
  let angles: u32 = 0
  for (let i: u32 = 0; i < p.nRotations; i++) {
    const rotation = rotationAt(p, rotationOffset(p, i))
    if (!isCount(rotation.dim, MAX_WIDTH) || rotation.dim & 1 || rotation.angles != angles) return PLAN_BAD_ROTATION
    if (!isFinite32(rotation.magnitude)) return PLAN_BAD_NUMBER
    angles += rotation.dim << 2
  }
  return buffersOf(p).angles == angles ? 0 : PLAN_BAD_BUFFER
}

function checkKind(p: Plan, k: LayerKind): u32 {
  const around = checkAround(k)
  if (around) return around
  return k.mixer == MIXER_ATTENTION ? checkAttention(p, k) : checkState(k)
}

/** Norms and the feed-forward block. */
function checkAround(k: LayerKind): u32 {
  if (!isCount(k.ffnDim, MAX_WIDTH)) return PLAN_BAD_SIZE
  if ((k.isGated | k.isParallel) > 1) return PLAN_BAD_FLAG
  if (max(max(k.mixerInKind, k.mixerOutKind), max(k.ffnInKind, k.ffnOutKind)) > NORM_LAYER) return PLAN_BAD_FLAG
  return isCount(k.activation, RELU2) ? 0 : PLAN_BAD_FLAG
}

/** Widths that fit each other, a window of two, and nothing of attention. */
function checkState(k: LayerKind): u32 {
  const r = recurrenceOf(k)
  const from = changetype<usize>(k) + offsetof<LayerKind>('maps')
  const end = changetype<usize>(k) + offsetof<LayerKind>('ffnDim')
  for (let at = from; at < end; at += 4)
    if (load<u32>(at) != (at == changetype<usize>(k) + offsetof<LayerKind>('window') ? STATE_WINDOW : 0))
      return PLAN_BAD_KIND
  if (r.taps < 2 || r.taps > MAX_TAPS || !isCount(r.channels, MAX_WIDTH)) return PLAN_BAD_SIZE
  if (!areNumbersFinite(k) || !isFinite32(r.eps)) return PLAN_BAD_NUMBER
  if (k.mixer == MIXER_CONV) return r.keyHeads | r.keyDim | r.valueHeads | r.valueDim | r.isTiled ? PLAN_BAD_SIZE : 0
  if (!isCount(r.keyHeads, MAX_WIDTH) || !isCount(r.keyDim, MAX_WIDTH)) return PLAN_BAD_SIZE
  if (!isCount(r.valueHeads, MAX_WIDTH) || !isCount(r.valueDim, MAX_WIDTH)) return PLAN_BAD_SIZE
  const outWidth = (r.valueHeads as u64) * r.valueDim
  const channels = 2 * (r.keyHeads as u64) * r.keyDim + outWidth
  if (channels != r.channels || r.valueHeads % r.keyHeads || outWidth * r.keyDim > MAX_COUNT) return PLAN_BAD_SIZE
  return r.isTiled > 1 ? PLAN_BAD_FLAG : 0
}

function checkAttention(p: Plan, k: LayerKind): u32 {
  if (!isCount(k.outDim, MAX_WIDTH) || (k.maps as u64) * k.outDim > MAX_WIDTH) return PLAN_BAD_SIZE
  if (!isCount(k.slot0Heads, MAX_WIDTH) || !isCount(k.slot1Heads, MAX_WIDTH)) return PLAN_BAD_SIZE
  if (!isCount(k.slot0Dim, MAX_WIDTH) || !isCount(k.slot1Dim, MAX_WIDTH)) return PLAN_BAD_SIZE
  if ((k.slot0Heads as u64) * k.slot0Dim > MAX_COUNT || (k.slot1Heads as u64) * k.slot1Dim > MAX_COUNT)
    return PLAN_BAD_SIZE
  if (k.queryRank > MAX_WIDTH || k.encoderDim > MAX_WIDTH || k.repeat > MAX_WIDTH) return PLAN_BAD_SIZE
  const views = checkViews(k)
  if (views) return views
  const rotation = checkRotation(p, k)
  if (rotation) return rotation
  if ((k.repeat as u64) * k.valueDim > k.outDim) return PLAN_BAD_SIZE
  if (!k.hasDecoder && (k.repeat || k.outDim != k.valueDim)) return PLAN_BAD_SIZE
  if ((k.hasDecoder | k.hasGate) > 1) return PLAN_BAD_FLAG
  if (max(k.slot0Norm, k.slot1Norm) > SPAN_ALL || k.queryNorm > SPAN_TURNED) return PLAN_BAD_FLAG
  if (!areNumbersFinite(k)) return PLAN_BAD_NUMBER
  return areHeadsThere(k) ? 0 : PLAN_BAD_HEAD
}

function areNumbersFinite(k: LayerKind): bool {
  const ofAttention = isFinite32(k.slot0Eps) && isFinite32(k.slot1Eps) && isFinite32(k.lowEps) && isFinite32(k.queryEps)
  const ofNorms =
    isFinite32(k.mixerInEps) && isFinite32(k.mixerOutEps) && isFinite32(k.ffnInEps) && isFinite32(k.ffnOutEps)
  return ofAttention && ofNorms && isFinite32(k.scale) && isFinite32(k.softcap)
}

function slotDim(k: LayerKind, slot: u32): u32 {
  return slot ? k.slot1Dim : k.slot0Dim
}

function slotRope(k: LayerKind, slot: u32): u32 {
  return slot ? k.slot1Rope : k.slot0Rope
}

/** A view is the first part of a slot. */
function checkViews(k: LayerKind): u32 {
  if (k.key0Slot > 1 || k.key1Slot > 1 || k.valueSlot > 1) return PLAN_BAD_VIEW
  if (!isCount(k.key0Dim, slotDim(k, k.key0Slot)) || k.key1Dim > slotDim(k, k.key1Slot)) return PLAN_BAD_VIEW
  if (!isCount(k.valueDim, slotDim(k, k.valueSlot))) return PLAN_BAD_VIEW
  // As many queries as may be are written to one row.
  const queries = (k.maps as u64) * ((k.encoderDim ? k.encoderDim : k.key0Dim) + (k.key1Dim as u64))
  if (queries > MAX_COUNT || (k.maps as u64) * k.key0Dim > MAX_COUNT) return PLAN_BAD_SIZE
  return (k.maps as u64) * k.valueDim > MAX_COUNT ? PLAN_BAD_SIZE : 0
}

/** What is rotated in a slot is all that the angles are for, or nothing; the query has a rotated part where its slot has one. */
function checkRotation(p: Plan, k: LayerKind): u32 {
  if (!k.rotation) return k.slot0Rope | k.slot1Rope ? PLAN_BAD_ROTATION : 0
  let dim: u32 = 0
  for (let i: u32 = 0; i < p.nRotations; i++)
    if (rotationOffset(p, i) == k.rotation) dim = rotationAt(p, k.rotation).dim
  if (!dim || max(k.slot0Rope, k.slot1Rope) != dim) return PLAN_BAD_ROTATION
  if (k.slot0Rope && (k.slot0Rope != dim || dim > k.slot0Dim)) return PLAN_BAD_ROTATION
  if (k.slot1Rope && (k.slot1Rope != dim || dim > k.slot1Dim)) return PLAN_BAD_ROTATION
  if (!k.encoderDim && slotRope(k, k.key0Slot) > k.key0Dim) return PLAN_BAD_ROTATION
  return k.key1Dim && slotRope(k, k.key1Slot) > k.key1Dim ? PLAN_BAD_ROTATION : 0
}

function areHeadsThere(k: LayerKind): bool {
  for (let j: u32 = 0; j < k.maps; j++) {
    if (viewHead(k, 0, j) >= (k.key0Slot ? k.slot1Heads : k.slot0Heads)) return false
    // Without a second view its table is zeros, and no head is never out of range.
    if (viewHead(k, 1, j) >= (k.key1Slot ? k.slot1Heads : k.slot0Heads)) return false
    if (viewHead(k, 2, j) >= (k.valueSlot ? k.slot1Heads : k.slot0Heads)) return false
  }
  return true
}

/** Does a layer kind begin at this offset? */
function isKind(p: Plan, offset: u32): bool {
  let at = rotationOffset(p, p.nRotations)
  for (let i: u32 = 0; i < p.nLayerKinds; i++) {
    if (at == offset) return true
    at += kindBytes(kindAt(p, at))
  }
  return false
}

/** Each layer is of a kind, and one of the layers of a page kind, in their order. */
function checkLayers(p: Plan): u32 {
  for (let i: u32 = 0; i < p.nLayers; i++) {
    if (!isKind(p, layerAt(p, i).kind)) return PLAN_BAD_KIND
    if (layerAt(p, i).pageKind >= p.nPageKinds) return PLAN_BAD_PAGES
  }
  for (let index: u32 = 0; index < p.nPageKinds; index++) {
    const pageKind = pageKindAt(p, index)
    if (!isKind(p, pageKind.kind)) return PLAN_BAD_PAGES
    const kind = kindAt(p, pageKind.kind)
    let layers: u32 = 0
    for (let i: u32 = 0; i < p.nLayers; i++) {
      const layer = layerAt(p, i)
      if (layer.pageKind != index) continue
      if (layer.pageLayer != layers || !isSamePage(kind, kindAt(p, layer.kind))) return PLAN_BAD_PAGES
      layers++
    }
    if (layers == 0 || layers != pageKind.layers) return PLAN_BAD_PAGES
  }
  return 0
}

function isSamePage(a: LayerKind, b: LayerKind): bool {
  if (a.mixer != b.mixer) return false
  if (a.mixer != MIXER_ATTENTION) return isSameState(recurrenceOf(a), recurrenceOf(b))
  if (a.slot0Heads != b.slot0Heads || a.slot0Dim != b.slot0Dim) return false
  return a.slot1Heads == b.slot1Heads && a.slot1Dim == b.slot1Dim && a.window == b.window
}

function isSameState(a: Recurrence, b: Recurrence): bool {
  return memory.compare(changetype<usize>(a), changetype<usize>(b), offsetof<Recurrence>()) == 0
}

/** Each buffer is as large as the layer that needs most of it asks for. */
function areBuffersRight(p: Plan): bool {
  const buffers = changetype<usize>(buffersOf(p))
  for (let field = offsetof<Buffers>('projection'); field < offsetof<Buffers>(); field += 4) {
    let most: u64 = 0
    let at = rotationOffset(p, p.nRotations)
    for (let i: u32 = 0; i < p.nLayerKinds; i++) {
      const kind = kindAt(p, at)
      most = max(most, bufferBytes(p, kind, field))
      at += kindBytes(kind)
    }
    if (load<u32>(buffers + field) != most) return false
  }
  return true
}
