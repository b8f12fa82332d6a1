/**
 * The only rank of an engine whose memory is not shared. It runs where the host does, which a step blocks; between two of
 * them the host has a turn, so that it can be stopped.
 */
import { errors } from '../../errors.ts'
import { execute } from './execute.ts'
import { begin, end, holdMemory, type RankMemory } from './hold.ts'
import * as protocol from './protocol.ts'

export class Single implements protocol.Ranks {
  private held: RankMemory | undefined
  private failure: Error | undefined

  constructor(module: WebAssembly.Module, input: protocol.MemoryInput) {
    try {
      this.held = holdMemory(module, input, false)
    } catch (error) {
      if (!(error instanceof RangeError)) this.fail(errors.engineFailed(String(error)))
    }
  }

  async request(command: number, argument: number, ranks: number, second = 0, third = 0): Promise<number> {
    if (command === protocol.OPEN && !this.held && !this.failure) return 0
    await turn()
    if (this.failure || !this.held) throw this.failure
    try {
      const request: protocol.Request = { command, argument, second, third, ranks }
      begin(this.held, request)
      const status = execute(this.held, request)
      end(this.held, request)
      return status
    } catch (error) {
      throw this.fail(errors.engineFailed(String(error)))
    }
  }

  fail(error: Error): Error {
    this.failure ??= error
    this.held = undefined
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
