/**
 * Where a step's time goes, rank by rank. Off, it costs a load per change of part; nothing is measured then.
 */
import { arena } from './arena'
import { now, rank } from './host'

/** Parts of a step, in the order of the sums that the host reads. */
export const REST: u32 = 0
export const LINEAR: u32 = 1
export const ATTENTION: u32 = 2
export const VALUE_DECODER: u32 = 3
export const BARRIER: u32 = 4
/** Waiting for pages from a file. */
export const STREAM: u32 = 5

/** One rank's account. */
@unmanaged
class Account {
  part: u32
  since: f64
  // Six f64 follow: milliseconds spent in each part.
}

/** Where a debug build's counters lie, see count.ts. */
export const COUNTERS: usize = 64
export const ACCOUNT_BYTES: usize = ASC_NO_ASSERT ? 64 : COUNTERS + 64

function account(): Account {
  return changetype<Account>(arena().accounts + rank * ACCOUNT_BYTES)
}

/** Address of f64[6] of a rank. */
export function sums(which: u32): usize {
  return arena().accounts + which * ACCOUNT_BYTES + offsetof<Account>()
}

/** From now on the time is this part's; returns the part that it was until now. */
export function enter(part: u32): u32 {
  if (!arena().isProfiling) return REST
  const mine = account()
  // The account began while this rank was still leaving the step before: nothing of that step is in it.
  if (mine.since == 0) return REST
  const time = now()
  const before = mine.part
  const sum = sums(rank) + (before << 3)
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
