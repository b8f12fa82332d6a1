/** In place of ../host.ts where there is no JavaScript: one rank, and the clock of WASI. */
import { CLOCK } from './addresses'
import { CLOCK_MONOTONIC, clock_time_get } from './wasi_snapshot_preview1'

export const rank: u32 = 0

/** Milliseconds. */
export function now(): f64 {
  clock_time_get(CLOCK_MONOTONIC, 1000, CLOCK)
  return (load<u64>(CLOCK) as f64) / 1e6
}
