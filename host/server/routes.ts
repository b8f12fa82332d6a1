/** Every endpoint of the server, in one table. */
import type { ErrorShape } from './errors.ts'
import { applyTemplate, detokenize, health, metrics, props, tokenize } from './llama.ts'
import { chat, generate } from './ollama/chat.ts'
import { running, show, tags, version } from './ollama/models.ts'
import { ollamaEmbed, ollamaEmbedOne } from './openai/embeddings.ts'
import { openaiEndpoints } from './openai/endpoints.ts'
import { listModels, showModel } from './openai/models.ts'
import { pageDocuments, pageHeaders } from './page/documents.ts'
import type { Handler } from './services.ts'

export interface Route {
  /** One that ends with /* stands for all that begin like it. */
  path: string
  method: 'GET' | 'POST'
  handle: Handler
  /** Without a key. */
  isOpen?: true
  /** Waits for a slot: while the queue is full it is refused before its body is read. */
  isQueued?: boolean
}

const get = (path: string, handle: Handler, more: { isOpen?: true } = {}): Route => ({
  path,
  method: 'GET',
  handle,
  ...more,
})
const post = (path: string, handle: Handler, isQueued = true): Route => ({ path, method: 'POST', handle, isQueued })

export const routes: readonly Route[] = [
  get('/health', health, { isOpen: true }),
  get('/metrics', metrics),
  get('/props', props),
  get('/v1/models', listModels),
  get('/v1/models/*', showModel),
  ...Object.entries(openaiEndpoints).map(([path, handle]) => post(path, handle)),
  post('/tokenize', tokenize),
  post('/detokenize', detokenize),
  post('/apply-template', applyTemplate),
  post('/api/chat', chat),
  post('/api/generate', generate),
  post('/api/embed', ollamaEmbed),
  post('/api/embeddings', ollamaEmbedOne),
  get('/api/tags', tags),
  get('/api/ps', running),
  post('/api/show', show, false),
  get('/api/version', version),
  ...Object.entries(pageDocuments).map(([path, { type, body }]) =>
    get(path, async (exchange) => exchange.text(await body(), type, 200, pageHeaders), { isOpen: true }),
  ),
]

const exact = new Map<string, Route[]>()
const beginnings = new Map<string, Route[]>()
for (const route of routes) {
  const isExact = !route.path.endsWith('/*')
  const table = isExact ? exact : beginnings
  const key = isExact ? route.path : route.path.slice(0, -1)
  table.set(key, [...(table.get(key) ?? []), route])
}

/** The routes of a path: one for each method that it has. */
export function routesOf(path: string): readonly Route[] {
  const found = exact.get(path)
  if (found) return found
  for (const [beginning, all] of beginnings)
    if (path.startsWith(beginning) && path.length > beginning.length) return all
  return []
}

export function shapeOf(path: string): ErrorShape {
  return path.startsWith('/api/') ? 'ollama' : 'openai'
}
