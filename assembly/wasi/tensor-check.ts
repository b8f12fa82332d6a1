/**
 * The plan against the file's own table of tensors: each that the plan names must be there under its name, of its type and
 * shape, where the plan says. That the plan itself is possible is for ../plan-check.ts to say.
 */
import {
  Layer,
  LayerMatrices,
  PLAN_BAD_BUFFER,
  PLAN_BAD_FLAG,
  PLAN_BAD_HEAD,
  PLAN_BAD_KIND,
  PLAN_BAD_LENGTH,
  PLAN_BAD_NUMBER,
  PLAN_BAD_PAGES,
  PLAN_BAD_ROTATION,
  PLAN_BAD_SIZE,
  PLAN_BAD_VERSION,
  PLAN_BAD_VIEW,
  Plan,
  TYPE_F32,
  TYPE_Q4,
} from '../abi'
import { embedding, gateUpMatrix, HEAD_BYTES, layerAt, rotationAt, rotationOffset } from '../plan'
import { checkPlan } from '../plan-check'
import {
  ExpectedTensor,
  MATRIX_NAMES,
  NAME_EMBED,
  NAME_HEAD,
  NAME_HEAD_BIAS,
  NAME_INV_FREQ,
  NAME_NORM,
  NAME_NORM_BIAS,
  NAME_PLAN,
  NAME_POSITIONS,
  SCALES,
  U32,
  Walk,
} from '../plan-tensors'
import { isText, startsWith } from './bytes'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected, file, namePlace, tensorAt, WEIGHTS_F32, WEIGHTS_Q4 } from './model-file'
import { count, text } from './output'

/** Ends the command if the first tensor cannot be a plan. */
export function checkPlanTensor(): void {
  const t = file().count ? tensorAt(0) : null
  if (t && isText(t.name, t.nameLength, 'plan') && t.dtype == U32 && t.dims == 1 && t.bytes >= HEAD_BYTES) return
  beginBadFile('the first tensor')
  expected('the plan, found ')
  namePlace(0)
  endBadFile()
}

/** Checks the plan at `plan`, and returns the bytes of all tensors that it names: those that are to be loaded. */
export function checkTensors(plan: Plan): u64 {
  const w = changetype<Walk>(reserve(offsetof<Walk>()))
  w.room = file().count
  w.list = reserve((w.room as u64) * offsetof<ExpectedTensor>())
  // Of the plan no more than its own tensor is in memory.
  const bad = checkPlan(plan, tensorAt(0).bytes, file().size - file().dataStart, w)
  if (bad) refuse(bad)
  const layer = layerAt(plan, 0)
  const isF32 = embedding(plan).type == TYPE_F32
  const isQ4 = gateUpMatrix(layer).type == TYPE_Q4
  if (isF32 != (file().weights == WEIGHTS_F32) || isQ4 != (file().weights == WEIGHTS_Q4)) failAt('the weight type', 0)
  for (let i: u32 = 0; i < w.count; i++) {
    const wanted = changetype<ExpectedTensor>(w.list + (i as usize) * offsetof<ExpectedTensor>())
    const t = tensorAt(i)
    const isSame = t.dtype == wanted.dtype && t.dims == wanted.dims && t.rows == wanted.rows && t.cols == wanted.cols
    if (!isSame || t.begin != wanted.offset || !isNamed(i, wanted)) failAt(nameOf(wanted.name & ~SCALES), i)
  }
  return w.end
}

function refuse(code: u32): void {
  beginBadFile('the plan')
  if (code == PLAN_BAD_VERSION) expected('one that its sizes allow, found another version')
  else if (code == PLAN_BAD_LENGTH) expected('as long as its sizes say, found another length')
  else if (code == PLAN_BAD_SIZE) expected('one that its sizes allow, found an impossible size')
  else if (code == PLAN_BAD_FLAG) expected('one that its sizes allow, found an impossible flag')
  else if (code == PLAN_BAD_NUMBER) expected('one that its sizes allow, found a number that is not finite')
  else if (code == PLAN_BAD_VIEW) expected('one that its sizes allow, found an impossible view')
  else if (code == PLAN_BAD_HEAD) expected('one that its sizes allow, found a slot head that is not there')
  else if (code == PLAN_BAD_ROTATION) expected('one that its sizes allow, found an impossible rotation')
  else if (code == PLAN_BAD_KIND) expected('one that its sizes allow, found an impossible layer')
  else if (code == PLAN_BAD_PAGES) expected('one that its sizes allow, found impossible pages')
  else if (code == PLAN_BAD_BUFFER) expected('one that its sizes allow, found an impossible buffer')
  else expected('that of its tensors, found another one')
  endBadFile()
}

function failAt(what: string, index: u32): void {
  beginBadFile('the plan')
  expected('that of its tensors, found another one in ')
  text(what)
  text(', ')
  namePlace(index)
  endBadFile()
}

/** Is a tensor called `layers.OWNER.name`, `rotations.OWNER.name`, or as one of the model? */
function isNamed(index: u32, wanted: ExpectedTensor): bool {
  const t = tensorAt(index)
  const name = nameOf(wanted.name & ~SCALES)
  const end = wanted.name & SCALES ? '.scale' : ''
  let at = t.name
  let left: usize = t.nameLength
  if (wanted.name < NAME_PLAN || (wanted.name >= SCALES && wanted.name < SCALES + NAME_PLAN)) {
    if (!startsWith(at, left, 'layers.')) return false
    const digits = skipOwner(at + 7, left - 7, wanted.owner)
    if (!digits) return false
    at += 7 + digits
    left -= 7 + digits
  } else if (wanted.name == NAME_INV_FREQ) {
    if (!startsWith(at, left, 'rotations.')) return false
    const digits = skipOwner(at + 10, left - 10, wanted.owner)
    if (!digits) return false
    at += 10 + digits
    left -= 10 + digits
  }
  return startsWith(at, left, name) && isText(at + name.length, left - name.length, end)
}

/** Bytes of a number and the dot behind it; 0 if another is there. */
function skipOwner(at: usize, left: usize, owner: u32): usize {
  let unit: u32 = 1
  while (unit * 10 <= owner) unit *= 10
  let length: usize = 0
  for (; unit > 0; unit /= 10, length++)
    if (length >= left || load<u8>(at + length) != 48 + ((owner / unit) % 10)) return 0
  return length < left && load<u8>(at + length) == 46 ? length + 1 : 0
}

function nameOf(name: u32): string {
  if (name >= NAME_PLAN) return modelName(name)
  return name >= MATRIX_NAMES ? matrixName((name - MATRIX_NAMES) << 2) : vectorName(name << 2)
}

function modelName(name: u32): string {
  if (name == NAME_INV_FREQ) return 'inv_freq'
  if (name == NAME_EMBED) return 'embed'
  if (name == NAME_POSITIONS) return 'positions'
  if (name == NAME_NORM) return 'norm'
  if (name == NAME_NORM_BIAS) return 'norm_bias'
  if (name == NAME_HEAD) return 'head'
  return name == NAME_HEAD_BIAS ? 'head_bias' : 'plan'
}

function matrixName(field: usize): string {
  if (field == offsetof<LayerMatrices>('in')) return 'in'
  if (field == offsetof<LayerMatrices>('query')) return 'query'
  if (field == offsetof<LayerMatrices>('encoder')) return 'encoder'
  if (field == offsetof<LayerMatrices>('decoder')) return 'decoder'
  if (field == offsetof<LayerMatrices>('out')) return 'out'
  return field == offsetof<LayerMatrices>('gateUp') ? 'gate_up' : 'down'
}

function vectorName(field: usize): string {
  if (field == offsetof<Layer>('mixerInNorm')) return 'mixer_in_norm'
  if (field == offsetof<Layer>('mixerInNormBias')) return 'mixer_in_norm_bias'
  if (field == offsetof<Layer>('inBias')) return 'in_bias'
  if (field == offsetof<Layer>('lowNorm')) return 'low_norm'
  if (field == offsetof<Layer>('queryBias')) return 'query_bias'
  if (field == offsetof<Layer>('queryNorm')) return 'query_norm'
  if (field == offsetof<Layer>('slotNorm')) return 'slot_norm'
  if (field == offsetof<Layer>('decoderBias')) return 'decoder_bias'
  if (field == offsetof<Layer>('outBias')) return 'out_bias'
  if (field == offsetof<Layer>('mixerOutNorm')) return 'mixer_out_norm'
  if (field == offsetof<Layer>('mixerOutNormBias')) return 'mixer_out_norm_bias'
  if (field == offsetof<Layer>('ffnInNorm')) return 'ffn_in_norm'
  if (field == offsetof<Layer>('ffnInNormBias')) return 'ffn_in_norm_bias'
  if (field == offsetof<Layer>('gateUpBias')) return 'gate_up_bias'
  if (field == offsetof<Layer>('downBias')) return 'down_bias'
  return field == offsetof<Layer>('ffnOutNorm') ? 'ffn_out_norm' : 'ffn_out_norm_bias'
}

/** Frequencies whose angles an engine can reduce: a number that is none would trap there. */
export function checkFrequencies(plan: Plan): void {
  for (let r: u32 = 0; r < plan.nRotations; r++) {
    const rotation = rotationAt(plan, rotationOffset(plan, r))
    const at = changetype<usize>(plan) + rotation.invFreq
    for (let i: u32 = 0; i < rotation.dim >> 1; i++) {
      const value = load<f64>(at + (i << 3))
      if (!(value >= 0 && value <= 1e6)) {
        beginBadFile('tensor "inv_freq"')
        expected('frequencies from 0 to 1000000, found another number at index ')
        count(i)
        endBadFile()
      }
    }
  }
}
