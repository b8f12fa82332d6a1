/**
 * A compute thread, one rank of the team: waits for a request, runs it, and, being rank 0, says so. It blocks, so that
 * the app's event loop never does.
 */
import { workerData } from 'node:worker_threads'
import { instantiate } from './instance.ts'
import {
  ARGUMENT,
  CHECK,
  COMMAND,
  DONE,
  FAILED,
  MEET,
  PROBE,
  REQUEST,
  SECOND,
  STATUS,
  STATUS_FAILED,
  STEP,
  TEXT,
  TEXT_BYTES,
  TEXT_LENGTH,
  THIRD,
  TURN,
  type WorkerInput,
} from './protocol.ts'

/** Looks at the request word before going to sleep: some 40 µs, so that a small model's next token finds it awake. */
const SPINS = 4000

const { module, memory, control, rank } = workerData as WorkerInput
const words = new Int32Array(control)
const engine = instantiate(module, memory, rank)

serve()

function serve(): void {
  for (let seen = 0; ; seen = (seen + 1) | 0) {
    for (let i = 0; i < SPINS && Atomics.load(words, REQUEST + rank) === seen; i++);
    // A notification may come as late as this, when its request is done: only the count says that there is another.
    while (Atomics.load(words, REQUEST + rank) === seen) Atomics.wait(words, REQUEST + rank, seen)
    const status = execute(Atomics.load(words, COMMAND))
    if (rank !== 0) continue
    Atomics.store(words, STATUS, status)
    Atomics.add(words, DONE, 1)
    Atomics.notify(words, DONE)
  }
}

/** A trap in the engine is an error of this request, not the death of the process; ranks that wait for this one learn it. */
function execute(command: number): number {
  try {
    if (command === STEP) return engine.step(Atomics.load(words, ARGUMENT))
    if (command === PROBE) return measure()
    if (command === CHECK) return engine.check()
    if (command === MEET) return measureBarrier()
    if (command === TURN) return turn()
    throw new Error(`unknown command ${command}`)
  } catch (error) {
    if (Atomics.compareExchange(words, FAILED, 0, rank + 1) === 0) {
      const text = new TextEncoder().encode(String(error)).subarray(0, TEXT_BYTES)
      new Uint8Array(control).set(text, TEXT * 4)
      Atomics.store(words, TEXT_LENGTH, text.length)
    }
    engine.abandon()
    return STATUS_FAILED
  }
}

function turn(): number {
  const [from, to, delta] = [ARGUMENT, SECOND, THIRD].map((word) => Atomics.load(words, word) >>> 0)
  engine.turn(from as number, to as number, delta as number)
  return 0
}

/** Best of four readings by the whole team, in MB/s: the memory's speed, not that of its first touch. */
function measure(): number {
  const from = Atomics.load(words, ARGUMENT) >>> 0
  const bytes = Atomics.load(words, SECOND) >>> 0
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 4; i++) {
    const start = performance.now()
    engine.readMemory(from, bytes)
    best = Math.min(best, performance.now() - start)
  }
  return Math.floor(bytes / best / 1000)
}

/** Nanoseconds of a barrier that everybody comes to at once: the median of many batches. */
function measureBarrier(): number {
  const times = Array.from({ length: 51 }, () => {
    const start = performance.now()
    engine.meet(100)
    return performance.now() - start
  })
  return Math.round((times.sort((a, b) => a - b)[25] as number) * 1e4)
}
