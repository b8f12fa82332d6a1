/**
 * The one script of all workers of a page: its first message says whether it is to hold a model, or to be a rank of the
 * team of another worker that does.
 */
import type { WorkerInput } from '../engine/wasm/protocol.ts'
import { serveRank } from '../engine/wasm/rank.ts'
import type { Answer, Message } from './protocol.ts'
import { Service } from './service.ts'

/** What of a worker's global scope is used: TypeScript knows that of a page here. */
interface Scope {
  onmessage: ((event: MessageEvent<Message | { rank: WorkerInput }>) => void) | null
  postMessage(answer: Answer): void
}

const scope = globalThis as unknown as Scope
const service = new Service((answer) => scope.postMessage(answer))
scope.onmessage = ({ data }) => {
  if ('rank' in data) serveRank(data.rank)
  else service.receive(data)
}
