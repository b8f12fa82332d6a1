/** Measures the memory, the meetings of the threads, and where the time of a step goes. */
import * as abi from '../../../assembly/abi.ts'
import { type Engine, type Probe, type StepProfile, stepParts } from '../engine.ts'
import { createMemory, type EngineMemory, WASM_PAGE } from './memory.ts'
import * as protocol from './protocol.ts'
import { startRanks } from './team.ts'

/** Read for the bandwidth: weights if there are so many, else memory of its own; less would sit in a cache. */
const PROBE_BYTES = 2 ** 26

/** What is measured. */
export interface Probed extends Pick<Engine, 'facts' | 'threads'> {
  readonly module: WebAssembly.Module
  readonly isShared: boolean
  readonly team: protocol.Ranks
  readonly weightBytes: number
  /** Throws if the engine is closed. */
  readonly open: EngineMemory
  checkThreads(count: number): void
}

export class WasmProbe implements Probe {
  private readonly engine: Probed

  constructor(engine: Probed) {
    this.engine = engine
  }

  async measureBandwidth(threads = this.engine.threads.decode): Promise<number> {
    const { module, isShared, team, weightBytes } = this.engine
    this.engine.checkThreads(threads)
    if (weightBytes >= PROBE_BYTES) return readSpeed(team, threads)
    const memory = createMemory(Math.ceil((abi.WEIGHTS + PROBE_BYTES) / WASM_PAGE), isShared)
    new Uint8Array(memory.buffer).fill(1, abi.WEIGHTS)
    const own = startRanks(isShared, module, memory, threads)
    try {
      return await readSpeed(own, threads)
    } finally {
      await own.close()
    }
  }

  async measureBarrier(threads = this.engine.threads.decode): Promise<number> {
    this.engine.checkThreads(threads)
    return (await this.engine.team.request(protocol.MEET, 0, threads)) / 1e9
  }

  profile(isOn: boolean): void {
    this.engine.open.exports.profile(isOn ? 1 : 0)
  }

  profiled(): StepProfile[] {
    const { memory, exports } = this.engine.open
    return Array.from({ length: this.engine.facts.maxThreads }, (_, rank) => {
      const sums = new Float64Array(memory.buffer, exports.profiled(rank) >>> 0, stepParts.length)
      return Object.fromEntries(stepParts.map((part, i) => [part, (sums[i] as number) / 1000])) as StepProfile
    })
  }
}

/** Bytes per second. */
async function readSpeed(team: protocol.Ranks, threads: number): Promise<number> {
  return (await team.request(protocol.PROBE, abi.WEIGHTS, threads, PROBE_BYTES)) * 1e6
}
