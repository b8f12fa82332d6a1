/**
 * Brings memory into the cache, for want of a prefetch instruction: reads one number of every line. A product looks ahead
 * only as far as the processor's window of instructions reaches, a KB or less, and then waits for memory; this loop needs
 * so few instructions that dozens of lines are under way at once. Measured on x86_64, one thread: q4 rows from memory
 * 5.6 → 8.4 GB/s, q8 rows 8.3 → 10.
 */

const LINE: usize = 64

/** Touches `bytes` at `from`. The result is of no use, but must be used, or nothing would be read. */
export function touch(from: usize, bytes: usize): u32 {
  let a: u32 = 0
  let b: u32 = 0
  const end = from + bytes
  const pairs = from + (bytes & ~(2 * LINE - 1))
  for (; from < pairs; from += 2 * LINE) {
    a |= load<u32>(from)
    b |= load<u32>(from, LINE)
  }
  for (; from < end; from += LINE) a |= load<u32>(from)
  return a | b
}
