/**
 * The compute threads of one engine, seen from the host: starts a worker per rank, hands them requests, and turns
 * whatever happens to one of them into an error.
 */
import { platform } from '#platform'
import { errors } from '../../errors.ts'
import type { Thread } from '../../platform/platform.ts'
import * as protocol from './protocol.ts'

/** A team where threads can share the memory, else the only rank there is. The reader's port gets the memory too. */
export async function startRanks(
  isShared: boolean,
  module: WebAssembly.Module,
  input: protocol.MemoryInput,
  count: number,
  reader?: MessagePort,
): Promise<protocol.Ranks> {
  if (isShared) return new Team(module, input, count, reader)
  const { Single } = await import('./single.ts')
  return new Single(module, input)
}

export class Team implements protocol.Ranks {
  readonly size: number
  private readonly control = protocol.createControl()
  private readonly words = new Int32Array(this.control)
  private readonly workers: Thread[]
  /** Set once when a worker is gone or broken; every later request fails with it. */
  private failure: Error | undefined
  /** Ends the request that waits. One promise for all of them would remember each for as long as the team lives. */
  private giveUp: ((error: Error) => void) | undefined
  private ended: Promise<unknown> | undefined

  constructor(module: WebAssembly.Module, input: protocol.MemoryInput, size: number, reader?: MessagePort) {
    this.size = size
    const { control } = this
    const channels = Array.from({ length: size - 1 }, () => new MessageChannel())
    const ports = channels.map(({ port1 }) => port1)
    if (reader) ports.push(reader)
    const inputs: protocol.WorkerInput[] = [
      { module, control, rank: 0, input, ports },
      ...channels.map(({ port2 }, i) => ({ module, control, rank: i + 1, port: port2 })),
    ]
    this.workers = inputs.map((data) =>
      platform.startThread({
        kind: 'rank',
        name: `gta-edge ${data.rank}`,
        data,
        transfer: 'input' in data ? data.ports : [data.port],
        onError: (error) => this.fail(errors.engineFailed(error.message, error)),
        onExit: () => this.fail(errors.engineFailed('a worker ended')),
      }),
    )
    this.unref()
  }

  /** An idle team does not keep the app alive; a running request does. */
  private ref(): void {
    for (const worker of this.workers) worker.ref()
  }
  private unref(): void {
    // Workers that are being ended hold the app until they are.
    if (this.failure) return
    for (const worker of this.workers) worker.unref()
  }

  async request(command: number, argument: number, ranks: number, second = 0, third = 0): Promise<number> {
    if (this.failure) throw this.failure
    this.ref()
    try {
      const done = this.post(command, argument, ranks, second, third)
      // The notification of the request before may come as late as this: only the count itself says that this one is done.
      while (Atomics.load(this.words, protocol.DONE) === done) {
        const wait = Atomics.waitAsync(this.words, protocol.DONE, done)
        if (wait.async) await this.orFailure(wait.value)
        if (this.failure) throw this.failure
      }
      const status = Atomics.load(this.words, protocol.STATUS)
      if (status === protocol.STATUS_FAILED) throw this.fail(errors.engineFailed(this.failureText()))
      return status
    } finally {
      this.unref()
    }
  }

  async close(): Promise<void> {
    this.failure ??= errors.closed()
    await this.end()
  }

  /** Resolves with the promise, or is rejected when the team fails. */
  private orFailure(promise: Promise<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.giveUp = reject
      promise.then(resolve)
    })
  }

  private post(command: number, argument: number, ranks: number, second: number, third: number): number {
    const { words } = this
    const done = Atomics.load(words, protocol.DONE)
    Atomics.store(words, protocol.COMMAND, command)
    Atomics.store(words, protocol.ARGUMENT, argument)
    Atomics.store(words, protocol.SECOND, second)
    Atomics.store(words, protocol.THIRD, third)
    Atomics.store(words, protocol.RANKS, ranks)
    Atomics.add(words, protocol.NUMBER, 1)
    for (let rank = 0; rank < ranks; rank++) Atomics.add(words, protocol.REQUEST + rank, 1)
    for (let rank = 0; rank < ranks; rank++) Atomics.notify(words, protocol.REQUEST + rank)
    return done
  }

  private failureText(): string {
    const length = Atomics.load(this.words, protocol.TEXT_LENGTH)
    return (
      new TextDecoder().decode(new Uint8Array(this.control, protocol.TEXT * 4, length).slice()) || 'no reason given'
    )
  }

  /** Ranks that wait for the one that failed are ended with it. */
  fail(error: Error): Error {
    this.failure ??= error
    this.giveUp?.(this.failure)
    this.end()
    return this.failure
  }

  /** Once: every worker that ends comes here, and terminate() listens to each of the others again. */
  private end(): Promise<unknown> {
    this.ended ??= Promise.all(this.workers.map((worker) => worker.terminate()))
    return this.ended
  }
}
