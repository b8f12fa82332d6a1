/**
 * Byte-pair encoding of one piece of text: units become tokens, then the pair that comes first in the list of merges is
 * merged, of equal pairs the leftmost, until none is left. A heap keeps the pairs, so a whole document may be one piece.
 */
import { BYTE_LEVEL } from './abi'
import { release, reserve } from './memory'
import { addId, NONE, tables, tokenizer } from './tables'
import { charBytes } from './utf8'
import { findMerge, findToken } from './vocabulary'

/** A token of the piece so far, or one that was merged into its left neighbour. */
@unmanaged
class Part {
  /** NONE: no token, its bytes are spelt. */
  id: u32
  /** Index of the neighbour, NONE at the ends. */
  previous: u32
  next: u32
  isGone: u32
  at: usize
}

@unmanaged
class Work {
  parts: usize
  heap: usize
  pending: u32
}

/** Pieces of up to so many bytes share one scratch. */
const SHORT: usize = 1024

function workFor(units: usize): Work {
  const t = tokenizer()
  if (units <= SHORT && t.scratch) return changetype<Work>(t.scratch)
  const n = max(units, SHORT) as u64
  const work = changetype<Work>(reserve(offsetof<Work>()))
  work.parts = reserve(n * offsetof<Part>())
  // A pair per unit at first, and two more per merge.
  work.heap = reserve(3 * n * 8)
  if (units <= SHORT) t.scratch = changetype<usize>(work)
  return work
}

function partAt(work: Work, index: u32): Part {
  return changetype<Part>(work.parts + (index as usize) * offsetof<Part>())
}

/** Adds the ids of the text from `at` to `end`. */
export function encodePiece(at: usize, end: usize): void {
  if (at == end) return
  if (tables().ignoresMerges) {
    const id = findToken(at, end - at)
    if (id != NONE) {
      addId(id)
      return
    }
  }
  const work = workFor(end - at)
  const count = cut(work, at, end)
  work.pending = 0
  for (let i: u32 = 0; i + 1 < count; i++) offer(work, i)
  while (work.pending) merge(work)
  for (let i: u32 = 0; i != NONE; i = partAt(work, i).next) emit(partAt(work, i))
  // The last that was reserved; the shared one stays.
  if (end - at > SHORT) release(changetype<usize>(work))
}

/** Bytes of the unit that tokens begin from: a byte, or a character. */
function unitBytes(at: usize): u32 {
  return tables().kind == BYTE_LEVEL ? 1 : charBytes(load<u8>(at))
}

/** One part per unit. */
function cut(work: Work, at: usize, end: usize): u32 {
  const t = tokenizer()
  const isBytes = tables().kind == BYTE_LEVEL
  let count: u32 = 0
  while (at < end) {
    const s = partAt(work, count)
    const bytes = unitBytes(at)
    s.id = isBytes ? load<u32>(t.byteTokens + ((load<u8>(at) as usize) << 2)) : findToken(at, bytes)
    s.previous = count - 1
    s.next = count + 1
    s.isGone = 0
    s.at = at
    at += bytes
    count++
  }
  partAt(work, count - 1).next = NONE
  return count
}

/** Puts the pair of part `i` and its right neighbour on the heap, if it can be merged. */
function offer(work: Work, i: u32): void {
  const s = partAt(work, i)
  const next = partAt(work, s.next)
  // A part without a token would look like a free entry.
  if (s.id == NONE || next.id == NONE) return
  const entry = findMerge(s.id, next.id)
  if (load<u32>(entry) != NONE) pushPair(work, ((load<u32>(entry, 8) as u64) << 32) | i)
}

/** Takes the first pair off the heap, and merges it if it is still there. */
function merge(work: Work): void {
  const key = popPair(work)
  const i = key as u32
  const s = partAt(work, i)
  if (s.isGone || s.next == NONE) return
  const gone = partAt(work, s.next)
  if (s.id == NONE || gone.id == NONE) return
  const entry = findMerge(s.id, gone.id)
  if (load<u32>(entry) == NONE || load<u32>(entry, 8) != ((key >> 32) as u32)) return
  s.id = load<u32>(entry, 12)
  gone.isGone = 1
  s.next = gone.next
  if (s.next != NONE) {
    partAt(work, s.next).previous = i
    offer(work, i)
  }
  if (s.previous != NONE) offer(work, s.previous)
}

function emit(s: Part): void {
  if (s.id != NONE) {
    addId(s.id)
    return
  }
  const bytes = unitBytes(s.at)
  for (let i: u32 = 0; i < bytes; i++) addId(load<u32>(tokenizer().byteTokens + ((load<u8>(s.at + i) as usize) << 2)))
}

/** A heap of (rank << 32 | index), the least first. */
function pushPair(work: Work, key: u64): void {
  let i = work.pending++
  while (i > 0) {
    const parent = (i - 1) >> 1
    const above = load<u64>(work.heap + ((parent as usize) << 3))
    if (above <= key) break
    store<u64>(work.heap + ((i as usize) << 3), above)
    i = parent
  }
  store<u64>(work.heap + ((i as usize) << 3), key)
}

function popPair(work: Work): u64 {
  const first = load<u64>(work.heap)
  const n = --work.pending
  const key = load<u64>(work.heap + ((n as usize) << 3))
  let i: u32 = 0
  for (;;) {
    let child: u32 = 2 * i + 1
    if (child >= n) break
    let least = load<u64>(work.heap + ((child as usize) << 3))
    if (child + 1 < n && load<u64>(work.heap + (((child + 1) as usize) << 3)) < least) {
      child++
      least = load<u64>(work.heap + ((child as usize) << 3))
    }
    if (key <= least) break
    store<u64>(work.heap + ((i as usize) << 3), least)
    i = child
  }
  store<u64>(work.heap + ((i as usize) << 3), key)
  return first
}
