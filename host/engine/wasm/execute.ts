/** What an engine can be asked for: one rank's part of a request. */
import type { EngineExports } from './instance.ts'
import { CHECK, MEET, PROBE, STEP, TURN } from './protocol.ts'

/** Returns the status of the request; throws what the engine traps with. */
export function execute(
  engine: EngineExports,
  command: number,
  argument: number,
  second: number,
  third: number,
): number {
  if (command === STEP) return engine.step(argument)
  if (command === PROBE) return measure(engine, argument >>> 0, second >>> 0)
  if (command === CHECK) return engine.check()
  if (command === MEET) return measureBarrier(engine)
  if (command === TURN) {
    engine.turn(argument >>> 0, second >>> 0, third >>> 0)
    return 0
  }
  throw new Error(`unknown command ${command}`)
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
