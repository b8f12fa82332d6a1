/**
 * A compute thread, one rank of the team: waits for a request, runs it, and, being rank 0, says so. It blocks, so that
 * the app's event loop never does.
 */
import { execute } from './execute.ts'
import { instantiate } from './instance.ts'
import {
  ARGUMENT,
  COMMAND,
  DONE,
  FAILED,
  REQUEST,
  SECOND,
  STATUS,
  STATUS_FAILED,
  TEXT,
  TEXT_BYTES,
  TEXT_LENGTH,
  THIRD,
  type WorkerInput,
} from './protocol.ts'

/** Looks at the request word before going to sleep: some 40 µs, so that a small model's next token finds it awake. */
const SPINS = 4000

/** Never returns. */
export function serveRank({ module, memory, control, rank }: WorkerInput): void {
  const words = new Int32Array(control)
  const read = (word: number) => Atomics.load(words, word)
  const engine = instantiate(module, memory, rank)
  for (let seen = 0; ; seen = (seen + 1) | 0) {
    for (let i = 0; i < SPINS && Atomics.load(words, REQUEST + rank) === seen; i++);
    // A notification may come as late as this, when its request is done: only the count says that there is another.
    while (Atomics.load(words, REQUEST + rank) === seen) Atomics.wait(words, REQUEST + rank, seen)
    let status = STATUS_FAILED
    // A trap in the engine is an error of this request, not the death of the process; ranks that wait for this one learn it.
    try {
      status = execute(engine, read(COMMAND), read(ARGUMENT), read(SECOND), read(THIRD))
    } catch (error) {
      tellFailure(words, error, rank)
      engine.abandon()
    }
    if (rank !== 0) continue
    Atomics.store(words, STATUS, status)
    Atomics.add(words, DONE, 1)
    Atomics.notify(words, DONE)
  }
}

/** The first one to fail says why. */
function tellFailure(words: Int32Array<SharedArrayBuffer>, error: unknown, rank: number): void {
  if (Atomics.compareExchange(words, FAILED, 0, rank + 1) !== 0) return
  const text = new TextEncoder().encode(String(error)).subarray(0, TEXT_BYTES)
  new Uint8Array(words.buffer).set(text, TEXT * 4)
  Atomics.store(words, TEXT_LENGTH, text.length)
}
