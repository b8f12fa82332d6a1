/** Measures the memory, the meetings of the threads, and where the time of a step goes. */
import * as abi from '../../../assembly/abi.ts'
import { type Engine, type Probe, type StepProfile, stepParts } from '../engine.ts'
import type { CompiledBuild } from './builds.ts'
import type { Mailbox } from './mailbox.ts'
import * as protocol from './protocol.ts'
import { startRanks } from './team.ts'
import type { Transfer } from './transfer.ts'

/** Read for the bandwidth: weights if there are so many, else memory of its own; less would sit in a cache. */
const PROBE_BYTES = 2 ** 26

/** What is measured. */
export interface Probed extends Pick<Engine, 'facts' | 'threads'> {
  readonly compiled: CompiledBuild
  readonly transfer: Transfer
  readonly mailbox: Mailbox
  readonly weightBytes: number
  checkThreads(count: number): void
}

export class WasmProbe implements Probe {
  private readonly engine: Probed

  constructor(engine: Probed) {
    this.engine = engine
  }

  async measureBandwidth(threads = this.engine.threads.decode): Promise<number> {
    const { compiled, transfer, weightBytes } = this.engine
    this.engine.checkThreads(threads)
    const request = { command: protocol.PROBE, argument: abi.WEIGHTS, second: PROBE_BYTES, ranks: threads }
    if (weightBytes >= PROBE_BYTES) return (await transfer.request(request)) * 1e6
    const own = await startRanks(compiled.build.isShared, compiled.module, { bytes: PROBE_BYTES }, threads)
    try {
      return (await own.request(protocol.PROBE, abi.WEIGHTS, threads, PROBE_BYTES)) * 1e6
    } finally {
      await own.close()
    }
  }

  async measureBarrier(threads = this.engine.threads.decode): Promise<number> {
    this.engine.checkThreads(threads)
    return (await this.engine.transfer.request({ command: protocol.MEET, ranks: threads })) / 1e9
  }

  async profile(isOn: boolean): Promise<void> {
    await this.engine.transfer.request({ command: protocol.PROFILE, argument: isOn ? 1 : 0 })
  }

  async profiled(): Promise<StepProfile[]> {
    const { transfer, mailbox, facts } = this.engine
    const ranks = facts.maxThreads
    const sumsOf = (rank: number) => mailbox.times.subarray(rank * stepParts.length)
    const profileOf = (sums: Float64Array) =>
      Object.fromEntries(stepParts.map((part, i) => [part, (sums[i] as number) / 1000])) as StepProfile
    const finish = () => Array.from({ length: ranks }, (_, rank) => profileOf(sumsOf(rank)))
    return transfer.request({ command: protocol.PROFILED, argument: ranks }, { finish })
  }
}
