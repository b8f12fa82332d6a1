/**
 * The only rank of an engine whose memory is not shared. It runs where the host does, which a step blocks; between two of
 * them the host has a turn, so that it can be stopped.
 */
import { errors } from '../../errors.ts'
import { execute } from './execute.ts'
import { type EngineExports, instantiate } from './instance.ts'
import type { Ranks } from './protocol.ts'

export class Single implements Ranks {
  private engine: EngineExports | undefined
  private failure: Error | undefined

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory) {
    this.engine = instantiate(module, memory, 0)
    this.engine.setTeam(1)
  }

  async request(command: number, argument: number, _ranks: number, second = 0, third = 0): Promise<number> {
    await turn()
    if (this.failure || !this.engine) throw this.failure
    try {
      return execute(this.engine, command, argument, second, third)
    } catch (error) {
      throw this.fail(errors.engineFailed(String(error)))
    }
  }

  fail(error: Error): Error {
    this.failure ??= error
    this.engine = undefined
    return this.failure
  }

  async close(): Promise<void> {
    this.fail(errors.closed())
  }
}

/** Events that wait come first. By message: timers of browsers that follow each other wait for 4 ms each. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      port1.close()
      resolve()
    }
    port2.postMessage(undefined)
  })
}
