/**
 * What a debug build counts while it runs: multiply-adds and bytes, where they happen, to hold the analyzer against. In the
 * other builds every call lies behind a constant that is false, and nothing is left of it.
 *
 * Counters lie behind a rank's account (profile.ts), and begin at zero with it.
 */
import { arena } from './arena'
import { rank } from './host'
import { ACCOUNT_BYTES, COUNTERS } from './profile'

export const IS_COUNTING: bool = !ASC_NO_ASSERT

/** Counters, in the order in which tests read them. Multiply-adds: */
export const PRODUCTS: u32 = 0
export const SCORES: u32 = 1
export const VALUES: u32 = 2
/** Bytes: */
export const WEIGHTS: u32 = 3
export const CACHE_READ: u32 = 4
export const CACHE_WRITTEN: u32 = 5
/** Two sets of slot heads of the page that is swept: those of slot 0 and of slot 1 that were read. */
const SEEN: usize = 48

/** Address of f64[6] of a rank. */
export function counters(which: u32): usize {
  return arena().accounts + which * ACCOUNT_BYTES + COUNTERS
}

export function count(which: u32, amount: u64): void {
  const at = counters(rank) + (which << 3)
  store<f64>(at, load<f64>(at) + (amount as f64))
}

/** Another page, or the same one for another row. */
export function forgetHeads(): void {
  memory.fill(counters(rank) + SEEN, 0, 16)
}

/** A head of a page is read; maps that share it find it in the processor's cache, so it counts once. */
export function countHead(slot: u32, head: u32, bytes: u64): void {
  assert(head < 64)
  const at = counters(rank) + SEEN + (slot << 3)
  const seen = load<u64>(at)
  const bit = (1 as u64) << head
  if (seen & bit) return
  store<u64>(at, seen | bit)
  count(CACHE_READ, bytes)
}
