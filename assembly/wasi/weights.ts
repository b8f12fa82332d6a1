/** The plan of a file, checked before anything is made from it, and the weights that it names. */
import {
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
} from '../abi'
import { embedding, rotationAt, rotationOffset } from '../plan'
import { checkPlan } from '../plan-check'
import { Walk } from '../plan-tensors'
import { reserve } from './memory'
import { beginBadFile, endBadFile, expected, file, header, read, unitBytes } from './model-file'
import { count } from './output'

/** Bytes of the tensor of the plan. */
function planBytes(): u64 {
  return unitBytes(header().planEnd - header().planBegin)
}

/** Bytes of the weights, the plan with them. */
export function weightBytes(): u64 {
  return unitBytes(header().weightsEnd - header().planBegin)
}

function weightsStart(): u64 {
  return file().dataStart + unitBytes(header().planBegin)
}

export function readPlan(): Plan {
  const at = reserve(planBytes())
  read(at, planBytes(), weightsStart())
  const plan = changetype<Plan>(at)
  const walk = changetype<Walk>(reserve(offsetof<Walk>()))
  const bad = checkPlan(plan, planBytes(), weightBytes(), walk)
  if (bad) refuse(bad)
  // The plan is the first tensor, this one the second.
  const second = plan.nRotations ? rotationAt(plan, rotationOffset(plan, 0)).invFreq : embedding(plan).data
  if (second != planBytes() || walk.end != weightBytes()) refuse(PLAN_BAD_LENGTH)
  return plan
}

/** What PLAN_BAD_… says. */
function refuse(code: u32): void {
  beginBadFile('the plan')
  if (code == PLAN_BAD_VERSION) expected('one of this version, found another version')
  else if (code == PLAN_BAD_LENGTH) expected('as long as its sizes say, found another length')
  else if (code == PLAN_BAD_SIZE) expected('one that can be, found an impossible size')
  else if (code == PLAN_BAD_FLAG) expected('one that can be, found an impossible flag')
  else if (code == PLAN_BAD_NUMBER) expected('one that can be, found a number that is not finite')
  else if (code == PLAN_BAD_VIEW) expected('one that can be, found an impossible view')
  else if (code == PLAN_BAD_HEAD) expected('one that can be, found a slot head that is not there')
  else if (code == PLAN_BAD_ROTATION) expected('one that can be, found an impossible rotation')
  else if (code == PLAN_BAD_KIND) expected('one that can be, found an impossible layer')
  else if (code == PLAN_BAD_PAGES) expected('one that can be, found impossible pages')
  else if (code == PLAN_BAD_BUFFER) expected('one that can be, found an impossible buffer')
  else expected('that of its tensors, found another one')
  endBadFile()
}

/** All tensors that the plan names, in one piece behind a copy of the plan: the file may have changed since that was read. */
export function readWeights(checked: Plan): Plan {
  const bytes = planBytes()
  const at = reserve(weightBytes())
  memory.copy(at, changetype<usize>(checked), bytes as usize)
  read(at + (bytes as usize), weightBytes() - bytes, weightsStart() + bytes)
  const plan = changetype<Plan>(at)
  checkFrequencies(plan)
  return plan
}

/** Frequencies whose angles an engine can reduce: a number that is none would trap there. */
function checkFrequencies(plan: Plan): void {
  for (let r: u32 = 0; r < plan.nRotations; r++) {
    const rotation = rotationAt(plan, rotationOffset(plan, r))
    const at = changetype<usize>(plan) + rotation.invFreq
    for (let i: u32 = 0; i < rotation.dim >> 1; i++) {
      const value = load<f64>(at + (i << 3))
      if (value >= 0 && value <= 1e6) continue
      beginBadFile('tensor "inv_freq"')
      expected('frequencies from 0 to 1000000, found another number at index ')
      count(i)
      endBadFile()
    }
  }
}
