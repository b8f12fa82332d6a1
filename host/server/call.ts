/**
 * A request as endpoints that write see it: how long somebody waits for it, and where its answer goes. Over HTTP that is an
 * Exchange; in this process, where no socket is, a LocalCall.
 */
import type { Params } from './errors.ts'
import type { AnswerStream } from './streams.ts'

export interface Call {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** What the request calls what the library may refuse. */
  params: Params
  /** What streams the answer, once it does. */
  readonly stream: AnswerStream | undefined
  /** For the log and the metrics; never anything of the text. */
  readonly notes: Record<string, string | number>
  /** The answer, whole. */
  json(value: object): void
  /** Begins an answer that comes as events, with `ending` behind the last one. Throws 400 where answers come whole. */
  events(ending?: string): AnswerStream
}
