/**
 * A handler of Express that streams text as server-sent events (npm install express).
 *
 *     node express.mjs [MODEL.gta]           PORT=8080 and HOST=127.0.0.1 unless the environment says otherwise
 *     curl -N --json '{"prompt":"The fox said","maxTokens":50}' http://127.0.0.1:8080/generate
 *
 * The events are those of http.mjs: {"text":"…"}, at the end {"done":true,…} or {"error":{"code","message"}}.
 */
import { once } from 'node:events'
import express from 'express'
import { defaultModel, GtaError, load } from 'gta-edge'

const MAX_TOKENS = 1000
/** Errors that have a status of their own; all others are 500. */
const statusOf = { BAD_OPTION: 400, BAD_PROMPT: 400, CONTEXT_FULL: 413, BUSY: 503, TOO_MANY: 503, OUT_OF_MEMORY: 503 }

const model = await load(process.argv[2] ?? defaultModel)
const app = express()

app.post('/generate', express.json({ limit: '100kb' }), async (request, response) => {
  const { prompt, maxTokens = 200, seed, temperature } = request.body ?? {}
  const gone = new AbortController()
  // Whoever leaves is not computed for any longer.
  response.on('close', () => gone.abort())
  const options = { maxTokens: Math.min(maxTokens, MAX_TOKENS), seed, temperature, signal: gone.signal }
  try {
    const pieces = model.generate(prompt, options)
    // Until there is a piece, an error can still have its own status.
    for await (const text of pieces) await event(response, { text }, gone.signal)
    const { finish, tokens } = await pieces.result
    await event(response, { done: true, finish, tokens: tokens.length }, gone.signal)
    response.end()
  } catch (error) {
    if (gone.signal.aborted) return
    if (!response.headersSent) throw error // to the handler of errors below
    response.end(`data: ${JSON.stringify({ error: describe(error).told })}\n\n`)
  }
})

app.use((error, _request, response, _next) => {
  const { status, told } = describe(error)
  response.status(status).json({ error: told })
})

/** Writes one event; waits where the reader is slower than the model. */
async function event(response, data, signal) {
  if (!response.headersSent)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
  if (!response.write(`data: ${JSON.stringify(data)}\n\n`)) await once(response, 'drain', { signal })
}

/** What the client may know of an error. */
function describe(error) {
  const { code, message } = error
  if (error instanceof GtaError) return { status: statusOf[code] ?? 500, told: { code, message } }
  // Of Express, about the body.
  if (error.expose) return { status: error.status, told: { code: 'BAD_REQUEST', message } }
  console.error(error)
  return { status: 500, told: { code: 'INTERNAL', message: 'failed' } }
}

const server = app.listen(Number(process.env.PORT ?? 8080), process.env.HOST ?? '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`listening on http://${server.address().address}:${server.address().port}`)
})
for (const name of ['SIGINT', 'SIGTERM'])
  process.once(name, () => {
    server.close(() => model.close())
    server.closeAllConnections()
  })
