/** Endpoints as llama-server has them: health, properties, tokens, templates. */
import { version } from '../platform/version.ts'
import type { Exchange } from './exchange.ts'
import type { Services } from './services.ts'

/** GET /health: 200 as soon as there is a model in memory. */
export function health(exchange: Exchange, { pool, isServing }: Services): void {
  if (isServing && pool.isReady) {
    exchange.json({ status: 'ok' })
    return
  }
  const message = isServing ? 'Loading model' : 'Shutting down'
  exchange.json({ error: { code: 503, message, type: 'unavailable_error' } }, 503, { 'retry-after': '2' })
}

export async function metrics(exchange: Exchange, services: Services): Promise<void> {
  exchange.text(await services.metrics.text(services.pool), 'text/plain; version=0.0.4; charset=utf-8')
}

export function props(exchange: Exchange, { pool }: Services): void {
  const { name, context } = pool.factsOf(undefined)
  exchange.json({
    default_generation_settings: { n_ctx: context },
    total_slots: pool.slots,
    model_alias: name,
    build_info: `gta-edge ${version ?? 'from source'}`,
  })
}
