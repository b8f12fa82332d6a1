/**
 * Where a step's time goes, rank by rank. Off, it costs a load per change of part; nothing is measured then.
 */
import { Times } from './abi'
import { arena } from './arena'
import { now, rank } from './host'
import { ACCOUNT_BYTES, ACCOUNT_TIMES } from './sizes'

/** Parts of a step: where each has its sum among the Times. */
export const REST: usize = offsetof<Times>('rest')
export const LINEAR: usize = offsetof<Times>('linear')
export const ATTENTION: usize = offsetof<Times>('attention')
export const VALUE_DECODER: usize = offsetof<Times>('valueDecoder')
export const BARRIER: usize = offsetof<Times>('barrier')
export const STREAM: usize = offsetof<Times>('stream')

/** One rank's account; its Times follow (sizes.ts). */
@unmanaged
class Account {
  part: usize
  since: f64
}

function account(): Account {
  return changetype<Account>(arena().accounts + rank * ACCOUNT_BYTES)
}

/** Address of the Times of a rank. */
export function times(which: u32): usize {
  return arena().accounts + which * ACCOUNT_BYTES + ACCOUNT_TIMES
}

/** Starts the accounts of all ranks from zero, or ends them. */
export function setProfile(isOn: u32): void {
  const a = arena()
  memory.fill(a.accounts, 0, a.maxRanks * ACCOUNT_BYTES)
  a.isProfiling = isOn
}

/** From now on the time is this part's; returns the part that it was until now. */
export function enter(part: usize): usize {
  if (!arena().isProfiling) return REST
  const mine = account()
  // The account began while this rank was still leaving the step before: nothing of that step is in it.
  if (mine.since == 0) return REST
  const time = now()
  const before = mine.part
  const sum = times(rank) + before
  store<f64>(sum, load<f64>(sum) + time - mine.since)
  mine.part = part
  mine.since = time
  return before
}

/** The time until now is nobody's. */
export function begin(): void {
  if (!arena().isProfiling) return
  const mine = account()
  mine.part = REST
  mine.since = now()
}
