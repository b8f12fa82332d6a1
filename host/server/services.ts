/** What the endpoints of a server share. */
import type { GenerateOptions } from '../runtime/api.ts'
import type { Exchange } from './exchange.ts'
import type { Metrics } from './metrics.ts'
import type { ModelPool } from './model-pool.ts'

export interface Services {
  pool: ModelPool
  metrics: Metrics
  /** What the command line says for requests that do not say it themselves. */
  defaults: GenerateOptions
  /** False from the moment when the server ends. */
  isServing: boolean
}

/** Answers a request; `body` is the JSON object of a POST. */
export type Handler = (exchange: Exchange, services: Services, body: Record<string, unknown>) => Promise<void> | void
