/**
 * A compute thread, one rank of the team: waits for a request, runs it, and, being rank 0, says so. It blocks, so that
 * the app's event loop never does. Rank 0 makes the memory, which the workers alone have.
 */
import { execute } from './execute.ts'
import { begin, end, holdMemory, type RankMemory } from './hold.ts'
import { instantiate } from './instance.ts'
import { Mailbox } from './mailbox.ts'
import * as protocol from './protocol.ts'

/** Looks at a word before going to sleep: some 40 µs, so that a small model's next token finds it awake. */
const SPINS = 4000

/** Never returns once the rank has the memory. */
export function serveRank(input: protocol.WorkerInput): void {
  const { control, module, rank } = input
  const words = new Int32Array(control)
  if ('input' in input) serve(words, openFirst(words, input))
  else
    input.port.onmessage = ({ data }: MessageEvent<protocol.SharedMemory>) => {
      const { memory, mailbox } = data
      const exports = instantiate(module, memory, rank)
      serve(words, { memory, exports, rank, mailbox: mailbox && new Mailbox(mailbox.sizes, true, mailbox.buffer) })
    }
}

/** Undefined if the system gives no memory: OPEN tells the host. */
function openFirst(words: Int32Array, { module, input, ports }: protocol.FirstInput): RankMemory | undefined {
  try {
    const held = holdMemory(module, input, true)
    const shared: protocol.SharedMemory = {
      memory: held.memory,
      ...('buffer' in input ? { mailbox: { sizes: input.sizes, buffer: input.buffer } } : {}),
    }
    for (const port of ports) port.postMessage(shared)
    return held
  } catch (error) {
    // What V8 throws where there are not enough addresses, or not enough memory.
    if (!(error instanceof RangeError)) tellFailure(words, error, 0)
    return undefined
  }
}

function serve(words: Int32Array, held: RankMemory | undefined): void {
  const read = (word: number) => Atomics.load(words, word)
  const rank = held?.rank ?? 0
  for (let seen = 0; ; seen = (seen + 1) | 0) {
    // A notification may come as late as this, when its request is done: only the count says that there is another.
    waitWhile(words, protocol.REQUEST + rank, seen)
    let status = protocol.STATUS_FAILED
    // A trap in the engine is an error of this request, not the death of the process; ranks that wait for this one learn it.
    try {
      const request: protocol.Request = {
        command: read(protocol.COMMAND),
        argument: read(protocol.ARGUMENT),
        second: read(protocol.SECOND),
        third: read(protocol.THIRD),
        ranks: read(protocol.RANKS),
      }
      if (held) status = run(words, held, request)
      else status = read(protocol.FAILED) ? protocol.STATUS_FAILED : 0
    } catch (error) {
      tellFailure(words, error, rank)
      held?.exports.abandon()
    }
    if (rank !== 0) continue
    Atomics.store(words, protocol.STATUS, status)
    Atomics.add(words, protocol.DONE, 1)
    Atomics.notify(words, protocol.DONE)
  }
}

/** Rank 0 prepares the request; the others begin when it has. */
function run(words: Int32Array, held: RankMemory, request: protocol.Request): number {
  const number = Atomics.load(words, protocol.NUMBER)
  if (held.rank === 0) {
    begin(held, request)
    Atomics.store(words, protocol.BEGUN, number)
    if (request.ranks > 1) Atomics.notify(words, protocol.BEGUN)
  } else {
    for (let begun = begunOf(words); begun !== number; begun = begunOf(words)) waitWhile(words, protocol.BEGUN, begun)
  }
  const status = execute(held, request)
  if (held.rank === 0) end(held, request)
  return status
}

const begunOf = (words: Int32Array) => Atomics.load(words, protocol.BEGUN)

function waitWhile(words: Int32Array, word: number, value: number): void {
  for (let i = 0; i < SPINS && Atomics.load(words, word) === value; i++);
  while (Atomics.load(words, word) === value) Atomics.wait(words, word, value)
}

/** The first one to fail says why. */
function tellFailure(words: Int32Array, error: unknown, rank: number): void {
  if (Atomics.compareExchange(words, protocol.FAILED, 0, rank + 1) !== 0) return
  const text = new TextEncoder().encode(String(error)).subarray(0, protocol.TEXT_BYTES)
  new Uint8Array(words.buffer).set(text, protocol.TEXT * 4)
  Atomics.store(words, protocol.TEXT_LENGTH, text.length)
}
