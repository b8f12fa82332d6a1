/**
 * The team: every worker is one rank, with its own instance of this module over the same memory, and runs the same step.
 * A rank does its part of each loop; `barrier()` separates what one rank writes from what another reads.
 *
 *     word         writer                              meaning
 *     RANKS        the host, between steps             ranks of the step that runs
 *     NEXT         every rank, atomically              work handed out since the last barrier, which sets it to 0
 *     ARRIVED      every rank, atomically              ranks that have reached the barrier
 *     GENERATION   the last rank to arrive             counts barriers; the others wait for it to change
 *     SLEEPING     every rank, atomically              ranks that may be in a wait: without any, nobody is notified
 *     POISON       whoever sees a rank fail            the step is lost: ranks that wait give up with a trap
 *
 * Rows are dealt out: whatever is done to a row alone is done by the same rank, so that one step of it may follow the
 * other without a barrier. Rows of weights, blocks and pages go in pieces to whoever is free: a neighbour that takes a
 * core away from one rank slows that rank down, not all.
 */
import { TEAM } from './abi'
import { rank } from './host'
import { BARRIER, enter } from './profile'

// One cache line each: a rank that spins must not slow down the one that writes.
const RANKS: usize = TEAM
const ARRIVED: usize = TEAM + 64
const GENERATION: usize = TEAM + 128
const SLEEPING: usize = TEAM + 192
const POISON: usize = TEAM + 256
const NEXT: usize = TEAM + 320

/** Pieces for each rank, if all are equally fast. */
const PIECES: u32 = 16
/** Looks at the generation before a rank goes to sleep: some 50 µs, about what waking up costs (bench/LOG.md). */
const SPINS: u32 = 50000
/** Nanoseconds between two looks at the poison. */
export const PATIENCE: i64 = 20_000_000

/** Ranks of this step. */
export function ranks(): u32 {
  return load<u32>(RANKS)
}

export function setRanks(count: u32): void {
  store<u32>(RANKS, count)
}

/** Does this rank own the i-th row? */
export function isMine(i: u32): bool {
  return i % ranks() == rank
}

/** Index of the next piece of the work between two barriers, in whatever order the ranks come for it. */
export function next(): u32 {
  if (ASC_FEATURE_THREADS) return atomic.add<u32>(NEXT, 1)
  const index = load<u32>(NEXT)
  store<u32>(NEXT, index + 1)
  return index
}

/** Items in a piece of n, in whole units: small enough that the last one to finish is not waited for long. */
export function pieceOf(n: u32, unit: u32): u32 {
  const count = ranks()
  if (count == 1) return n
  const units = (n + unit - 1) / unit
  return max<u32>(1, units / (count * PIECES)) * unit
}

/** The first of n items that are this rank's, when each has a fixed span; `spanStart(n, unit, rank + 1)` is the end. */
export function spanStart(n: u32, unit: u32, which: u32): u32 {
  const units = (n + unit - 1) / unit
  return min<u32>(n, ((((units as u64) * which) / ranks()) as u32) * unit)
}

/** Returns when all ranks have arrived, and what they wrote is visible to all. Traps if one of them failed. */
export function barrier(): void {
  // A build without threads is one rank, and knows no atomics.
  if (!ASC_FEATURE_THREADS) {
    store<u32>(NEXT, 0)
    return
  }
  const count = ranks()
  if (count == 1) {
    store<u32>(NEXT, 0)
    return
  }
  const part = enter(BARRIER)
  const generation = atomic.load<u32>(GENERATION)
  if (atomic.add<u32>(ARRIVED, 1) == count - 1) {
    atomic.store<u32>(ARRIVED, 0)
    atomic.store<u32>(NEXT, 0)
    atomic.add<u32>(GENERATION, 1)
    if (atomic.load<u32>(SLEEPING)) atomic.notify(GENERATION, -1)
  } else {
    wait(generation)
  }
  enter(part)
}

function wait(generation: u32): void {
  for (let i: u32 = 0; i < SPINS; i++) if (atomic.load<u32>(GENERATION) != generation) return
  // Counted before the generation is looked at again, so that who changes it sees either a sleeper or none to wake.
  atomic.add<u32>(SLEEPING, 1)
  while (atomic.load<u32>(GENERATION) == generation) {
    giveUpIfPoisoned()
    atomic.wait<u32>(GENERATION, generation, PATIENCE)
  }
  atomic.sub<u32>(SLEEPING, 1)
}

/** Traps if the step is lost. */
export function giveUpIfPoisoned(): void {
  if (atomic.load<u32>(POISON)) unreachable()
}

/** Ends the step for all ranks: one of them failed or is gone. There is no way back. */
export function poison(): void {
  if (!ASC_FEATURE_THREADS) return
  atomic.store<u32>(POISON, 1)
  atomic.notify(GENERATION, -1)
}
