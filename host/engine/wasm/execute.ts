/** What an engine can be asked for: one rank's part of a request. */
import type { RankMemory } from './hold.ts'
import type { EngineExports } from './instance.ts'
import type { Mailbox } from './mailbox.ts'
import * as protocol from './protocol.ts'

/** Returns the status of the request; throws what the engine traps with. */
export function execute(held: RankMemory, request: protocol.Request): number {
  const { exports, mailbox } = held
  const { command, argument, second, third } = request
  switch (command) {
    case protocol.OPEN:
      return 1
    case protocol.STEP:
      return exports.step(argument)
    case protocol.PROBE:
      return measure(exports, argument >>> 0, second >>> 0)
    case protocol.CHECK:
      return exports.check()
    case protocol.MEET:
      return measureBarrier(exports)
    case protocol.TURN:
      exports.turn(argument >>> 0, second >>> 0, third >>> 0)
      return 0
    case protocol.PROFILE:
      exports.profile(argument)
      return 0
  }
  if (!mailbox) throw new Error(`unknown command ${command}`)
  if (command === protocol.WRITE) writePiece(held, mailbox, request)
  else if (command === protocol.READ) readRanges(held, mailbox, argument)
  else if (command === protocol.PROFILED) copyTimes(held, mailbox, argument)
  else if (command === protocol.WAKE) Atomics.notify(new Int32Array(held.memory.buffer), argument)
  else if (command !== protocol.MOVE) throw new Error(`unknown command ${command}`)
  return 0
}

/** Each rank a span: the first touch of memory takes longer than the copy. */
function writePiece({ memory, exports, rank }: RankMemory, mailbox: Mailbox, request: protocol.Request): void {
  const { argument: address, second: piece, third: bytes, ranks } = request
  const span = Math.ceil(bytes / ranks / 4096) * 4096
  const [from, to] = [Math.min(bytes, rank * span), Math.min(bytes, (rank + 1) * span)]
  new Uint8Array(memory.buffer, address >>> 0, bytes).set(mailbox.piece(piece).subarray(from, to), from)
  exports.meet(1)
}

/** The bytes of `count` ranges one behind the other, into piece 0; piece 1 holds their addresses and lengths. */
function readRanges({ memory }: RankMemory, mailbox: Mailbox, count: number): void {
  const [target, ranges] = [mailbox.piece(0), mailbox.piece(1)]
  const words = new Uint32Array(ranges.buffer, ranges.byteOffset, 2 * count)
  let at = 0
  for (let i = 0; i < words.length; i += 2) {
    const length = words[i + 1] as number
    target.set(new Uint8Array(memory.buffer, words[i] as number, length), at)
    at += length
  }
}

function copyTimes({ memory, exports }: RankMemory, { times }: Mailbox, ranks: number): void {
  const each = times.length / ranks
  for (let rank = 0; rank < ranks; rank++)
    times.set(new Float64Array(memory.buffer, exports.profiled(rank) >>> 0, each), rank * each)
}

/** Best of four readings by the whole team, in MB/s: the memory's speed, not that of its first touch. */
function measure(engine: EngineExports, from: number, bytes: number): number {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) {
    const start = performance.now()
    engine.readMemory(from, bytes)
    best = Math.min(best, performance.now() - start)
  }
  return Math.floor(bytes / best / 1000)
}

/** Nanoseconds of a barrier that everybody comes to at once: the median of many batches. */
function measureBarrier(engine: EngineExports): number {
  const times = Array.from({ length: 51 }, () => {
    const start = performance.now()
    engine.meet(100)
    return performance.now() - start
  })
  return Math.round((times.sort((a, b) => a - b)[25] as number) * 1e4)
}
